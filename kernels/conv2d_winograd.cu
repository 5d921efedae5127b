// conv2d_winograd.cu: the transforms of 3 x 3 convolutions with stride 1 by Winograd's minimal filtering, F(4 x 4, 3 x 3).
// A tile of 6 x 6 inputs yields 4 x 4 outputs by 36 multiplications, where a direct convolution has 144. Over all channels these
// are 36 products of matrices, by gemm_batched.cu:
//   y  = At [ (Bt x B) (G w Gt) ] A     Bt x B (36, tiles, C)   G w Gt (36, K, C)   product (36, tiles, K)
//   dx = the same of dz, with filters turned by 180 degrees
//   dw = Gt [ sum over tiles of (A dz At) (Bt x B) ] G           A dz At (36, tiles, K)   product (36, slices, K, C)
// The matrices belong to the points 0, 1, -1, 1/2, -2 and infinity: other small numbers have twice the error.
//   x (N, H, W, C)   y, dz (N, P, Q, K)   w (K, 3, 3, C)   bias (K) or null   more, which is added to dx, or null
// Tiles follow one another along rows, then down, then from image to image. VEC channels a thread. With dilation a tile's pixels lie
// so far apart, and tiles in between one another: a row of tiles begins in each row of pixels until the first tiles' second one.
// Launch: one thread for VEC channels of a tile, or of a filter; block = THREADS. winograd_weight_gradient: 36 threads for VEC
//         channels of a filter; block = (LANES, PLACES).
// Resident on an SM of sm_90: 16 warps. With four channels a thread there would be 8.
// Traffic: what is transformed about once (tiles overlap by two pixels, in cache), its transform once.
// Source: Winograd 1980; Lavin and Gray 2015, arXiv:1509.09308; on the points Barabasz et al. 2018, arXiv:1803.10986.
#include "windows.cuh"

enum { THREADS = 128, IN = 6, OUT = 4, TAPS = 3, PLACES = IN * IN, LANES = 16 };

typedef Vector<real, VEC> Numbers;

struct WinogradShape {
    int H, W, C, pad_h, pad_w;  // of what is cut into tiles: pixels, channels, zeros in front
    Divisor step_h, step_w;     // from a tile's pixel to the next: the dilation
    Spread over;                // vectors of channels, tiles across, tiles down
};

// o = Bt d: tiles of inputs.
__device__ __forceinline__ void transform_input(real (&o)[IN], const real (&d)[IN]) {
    const real a = d[3] - d[1], b = d[4] - d[2];
    o[0] = d[0] + d[4] - 2 * d[2] + real(1.5) * a;
    o[1] = d[4] - d[1] + real(0.5) * d[2] + real(2.5) * d[3];
    o[2] = d[4] + d[1] - real(2.5) * d[2] + real(0.5) * d[3];
    o[3] = b + 2 * a;
    o[4] = b - real(0.5) * a;
    o[5] = d[1] + d[5] - 2 * d[3] + real(1.5) * b;
}

// o = G g: filters.
__device__ __forceinline__ void transform_filter(real (&o)[IN], const real (&g)[TAPS]) {
    const real even = (g[0] + g[2]) * real(1.0 / 3), odd = g[1] * real(1.0 / 3);
    o[0] = g[0];
    o[1] = even + odd;
    o[2] = odd - even;
    o[3] = real(-16.0 / 15) * (g[0] + real(0.5) * g[1] + real(0.25) * g[2]);
    o[4] = real(1.0 / 15) * (g[0] - 2 * g[1] + 4 * g[2]);
    o[5] = g[2];
}

// o = At m: products, to outputs.
__device__ __forceinline__ void transform_output(real (&o)[OUT], const real (&m)[IN]) {
    const real sum = m[1] + m[2], difference = m[1] - m[2];
    o[0] = m[0] + sum + m[3] + m[4];
    o[1] = difference + real(0.5) * m[3] - 2 * m[4];
    o[2] = sum + real(0.25) * m[3] + 4 * m[4];
    o[3] = difference + real(0.125) * m[3] - 8 * m[4] + m[5];
}

// o = A d: tiles of the output's gradient.
__device__ __forceinline__ void transform_gradient(real (&o)[IN], const real (&d)[OUT]) {
    const real even = d[0] + d[2], odd = d[1] + d[3];
    o[0] = d[0];
    o[1] = even + odd;
    o[2] = even - odd;
    o[3] = d[0] + real(0.5) * d[1] + real(0.25) * d[2] + real(0.125) * d[3];
    o[4] = d[0] - 2 * d[1] + 4 * d[2] - 8 * d[3];
    o[5] = d[3];
}

// o = Gt m: products, to a filter's gradient.
__device__ __forceinline__ void transform_filter_gradient(real (&o)[TAPS], const real (&m)[IN]) {
    const real sum = (m[1] + m[2]) * real(1.0 / 3), difference = (m[1] - m[2]) * real(1.0 / 3);
    o[0] = m[0] + difference - real(16.0 / 15) * m[3] + real(1.0 / 15) * m[4];
    o[1] = sum - real(8.0 / 15) * m[3] - real(2.0 / 15) * m[4];
    o[2] = difference - real(4.0 / 15) * m[3] + real(4.0 / 15) * m[4] + m[5];
}

// The tile and channels of a thread.
struct Mine {
    int n, top, left, channel;  // its first output's place
    int at;                     // in a matrix of all tiles
    __device__ __forceinline__ Mine(const WinogradShape& g, int thread) : at(thread * VEC) {
        const Place place = g.over.place(thread);
        int row = place.row, column = place.column;  // become which of the tiles that lie in between one another
        n = place.n, channel = place.c * VEC;
        top = g.step_h.split(row) * OUT * (int)g.step_h.value;
        left = g.step_w.split(column) * OUT * (int)g.step_w.value;
        top += row, left += column;
    }
};

// The pixels of a tile of SIZE x SIZE, zeros where there is no image, transformed to 6 x 6 numbers; f is one of the above.
template <int SIZE, class F>
__device__ __forceinline__ void transform_tiles(real* __restrict__ to, const real* __restrict__ from,
                                                const WinogradShape& g, int threads, F f) {
    const int thread = blockIdx.x * THREADS + threadIdx.x;
    if (thread >= threads) return;
    const Mine mine(g, thread);
    const int top = mine.top - g.pad_h, left = mine.left - g.pad_w;
    const real* image = from + (size_t)mine.n * g.H * g.W * g.C + mine.channel;
    Numbers half[IN][SIZE];  // transformed along the columns
#pragma unroll
    for (int s = 0; s < SIZE; ++s) {
        Numbers d[SIZE];
#pragma unroll
        for (int r = 0; r < SIZE; ++r) {
            d[r] = {};
            const int h = top + r * (int)g.step_h.value, w = left + s * (int)g.step_w.value;
            if ((unsigned)h < (unsigned)g.H && (unsigned)w < (unsigned)g.W)
                d[r] = load<VEC>(image + ((size_t)h * g.W + w) * g.C);
        }
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            real column[SIZE], found[IN];
#pragma unroll
            for (int r = 0; r < SIZE; ++r) column[r] = d[r].v[j];
            f(found, column);
#pragma unroll
            for (int i = 0; i < IN; ++i) half[i][s].v[j] = found[i];
        }
    }
    const size_t apart = (size_t)threads * VEC;
#pragma unroll
    for (int i = 0; i < IN; ++i) {
        Numbers o[IN];
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            real row[SIZE], found[IN];
#pragma unroll
            for (int s = 0; s < SIZE; ++s) row[s] = half[i][s].v[j];
            f(found, row);
#pragma unroll
            for (int s = 0; s < IN; ++s) o[s].v[j] = found[s];
        }
#pragma unroll
        for (int s = 0; s < IN; ++s) store(to + (i * IN + s) * apart + mine.at, o[s]);
    }
}

struct Input {
    __device__ __forceinline__ void operator()(real (&o)[IN], const real (&d)[IN]) const { transform_input(o, d); }
};
struct Gradient {
    __device__ __forceinline__ void operator()(real (&o)[IN], const real (&d)[OUT]) const { transform_gradient(o, d); }
};

extern "C" __global__ void __launch_bounds__(THREADS)
winograd_input(real* __restrict__ tiles, const real* __restrict__ x, WinogradShape g, int threads) {
    transform_tiles<IN>(tiles, x, g, threads, Input());
}

extern "C" __global__ void __launch_bounds__(THREADS)
winograd_gradient(real* __restrict__ tiles, const real* __restrict__ dz, WinogradShape g, int threads) {
    transform_tiles<OUT>(tiles, dz, g, threads, Gradient());
}

// filters = G w Gt, of one filter and VEC channels; turned: w by 180 degrees.
extern "C" __global__ void __launch_bounds__(THREADS)
winograd_filters(real* __restrict__ filters, const real* __restrict__ weight, Divisor by_vectors, int turned, int threads) {
    const int thread = blockIdx.x * THREADS + threadIdx.x;
    if (thread >= threads) return;
    int vector = thread;
    const int k = by_vectors.split(vector), C = by_vectors.value * VEC;
    const real* from = weight + (size_t)k * TAPS * TAPS * C + vector * VEC;
    Numbers half[IN][TAPS];
#pragma unroll
    for (int s = 0; s < TAPS; ++s) {
        Numbers g[TAPS];
#pragma unroll
        for (int r = 0; r < TAPS; ++r) {
            const int tap = r * TAPS + s;
            g[r] = load<VEC>(from + (size_t)(turned ? TAPS * TAPS - 1 - tap : tap) * C);
        }
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            const real column[TAPS] = {g[0].v[j], g[1].v[j], g[2].v[j]};
            real found[IN];
            transform_filter(found, column);
#pragma unroll
            for (int i = 0; i < IN; ++i) half[i][s].v[j] = found[i];
        }
    }
#pragma unroll
    for (int i = 0; i < IN; ++i) {
        Numbers o[IN];
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            const real row[TAPS] = {half[i][0].v[j], half[i][1].v[j], half[i][2].v[j]};
            real found[IN];
            transform_filter(found, row);
#pragma unroll
            for (int s = 0; s < IN; ++s) o[s].v[j] = found[s];
        }
#pragma unroll
        for (int s = 0; s < IN; ++s) store(filters + ((size_t)(i * IN + s) * threads + thread) * VEC, o[s]);
    }
}

// y = act(At products A + bias) + more.
extern "C" __global__ void __launch_bounds__(THREADS)
winograd_output(real* __restrict__ y, const real* __restrict__ products, const real* __restrict__ bias,
                const real* __restrict__ more, WinogradShape g, int relu, int threads) {
    const int thread = blockIdx.x * THREADS + threadIdx.x;
    if (thread >= threads) return;
    const Mine mine(g, thread);
    const real* from = products + mine.at;
    const size_t apart = (size_t)threads * VEC;
    Numbers half[OUT][IN];  // transformed along the columns
#pragma unroll
    for (int s = 0; s < IN; ++s) {
        Numbers m[IN];
#pragma unroll
        for (int r = 0; r < IN; ++r) m[r] = load<VEC>(from + (r * IN + s) * apart);
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            real column[IN], found[OUT];
#pragma unroll
            for (int r = 0; r < IN; ++r) column[r] = m[r].v[j];
            transform_output(found, column);
#pragma unroll
            for (int i = 0; i < OUT; ++i) half[i][s].v[j] = found[i];
        }
    }
    Numbers offset = {};
    if (bias != nullptr) offset = load<VEC>(bias + mine.channel);
#pragma unroll
    for (int i = 0; i < OUT; ++i) {
        Numbers o[OUT];
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            real row[IN], found[OUT];
#pragma unroll
            for (int s = 0; s < IN; ++s) row[s] = half[i][s].v[j];
            transform_output(found, row);
#pragma unroll
            for (int s = 0; s < OUT; ++s) {
                const real value = found[s] + offset.v[j];
                o[s].v[j] = relu && value < 0 ? real(0) : value;
            }
        }
#pragma unroll
        for (int s = 0; s < OUT; ++s) {
            const int h = mine.top + i * (int)g.step_h.value, w = mine.left + s * (int)g.step_w.value;
            if (h >= g.H || w >= g.W) continue;
            const size_t at = (((size_t)mine.n * g.H + h) * g.W + w) * g.C + mine.channel;
            if (more != nullptr) {
                const Numbers waiting = load<VEC>(more + at);
#pragma unroll
                for (int j = 0; j < VEC; ++j) o[s].v[j] += waiting.v[j];
            }
            store(y + at, o[s]);
        }
    }
}

// dweight = Gt products G, where products (parts, 36, slices, K, C) are added over parts and slices, in their order.
extern "C" __global__ void __launch_bounds__(LANES * PLACES)
winograd_weight_gradient(real* __restrict__ dweight, const real* __restrict__ products, Divisor by_vectors, int parts,
                         int slices, int threads) {
    __shared__ Numbers sums[PLACES][LANES];
    const int thread = blockIdx.x * LANES + threadIdx.x, place = threadIdx.y;
    const size_t apart = (size_t)threads * VEC;  // from slice to slice
    if (thread < threads) {
        Numbers sum = {};
        for (int part = 0; part < parts; ++part) {
            const real* from = products + ((size_t)part * PLACES + place) * slices * apart + (size_t)thread * VEC;
#pragma unroll 4
            for (int slice = 0; slice < slices; ++slice) {
                const Numbers one = load<VEC>(from + slice * apart);
#pragma unroll
                for (int j = 0; j < VEC; ++j) sum.v[j] += one.v[j];
            }
        }
        sums[place][threadIdx.x] = sum;
    }
    __syncthreads();
    // Six threads have one of the six columns of sums each, and leave three numbers of it; then three a row of those.
    if (place < IN && thread < threads) {
        Numbers half[TAPS];
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            real column[IN], found[TAPS];
#pragma unroll
            for (int i = 0; i < IN; ++i) column[i] = sums[i * IN + place][threadIdx.x].v[j];
            transform_filter_gradient(found, column);
#pragma unroll
            for (int r = 0; r < TAPS; ++r) half[r].v[j] = found[r];
        }
#pragma unroll
        for (int r = 0; r < TAPS; ++r) sums[r * IN + place][threadIdx.x] = half[r];
    }
    __syncthreads();
    if (place >= TAPS || thread >= threads) return;
    int vector = thread;
    const int k = by_vectors.split(vector), C = by_vectors.value * VEC;
    Numbers o[TAPS];
#pragma unroll
    for (int j = 0; j < VEC; ++j) {
        real row[IN], found[TAPS];
#pragma unroll
        for (int s = 0; s < IN; ++s) row[s] = sums[place * IN + s][threadIdx.x].v[j];
        transform_filter_gradient(found, row);
#pragma unroll
        for (int s = 0; s < TAPS; ++s) o[s].v[j] = found[s];
    }
    real* to = dweight + ((size_t)(k * TAPS + place) * TAPS) * C + vector * VEC;
#pragma unroll
    for (int s = 0; s < TAPS; ++s) store(to + s * C, o[s]);
}
