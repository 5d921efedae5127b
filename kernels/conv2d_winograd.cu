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

// Each of the following is one of the matrices times a vector, of FROM numbers to TO.

// o = Bt d: inputs.
struct Input {
    enum { FROM = IN, TO = IN };
    static __device__ __forceinline__ void apply(real (&o)[TO], const real (&d)[FROM]) {
        const real a = d[3] - d[1], b = d[4] - d[2];
        o[0] = d[0] + d[4] - 2 * d[2] + real(1.5) * a;
        o[1] = d[4] - d[1] + real(0.5) * d[2] + real(2.5) * d[3];
        o[2] = d[4] + d[1] - real(2.5) * d[2] + real(0.5) * d[3];
        o[3] = b + 2 * a;
        o[4] = b - real(0.5) * a;
        o[5] = d[1] + d[5] - 2 * d[3] + real(1.5) * b;
    }
};

// o = G g: filters.
struct Filter {
    enum { FROM = TAPS, TO = IN };
    static __device__ __forceinline__ void apply(real (&o)[TO], const real (&g)[FROM]) {
        const real even = (g[0] + g[2]) * real(1.0 / 3), odd = g[1] * real(1.0 / 3);
        o[0] = g[0];
        o[1] = even + odd;
        o[2] = odd - even;
        o[3] = real(-16.0 / 15) * (g[0] + real(0.5) * g[1] + real(0.25) * g[2]);
        o[4] = real(1.0 / 15) * (g[0] - 2 * g[1] + 4 * g[2]);
        o[5] = g[2];
    }
};

// o = At m: products, to outputs.
struct Output {
    enum { FROM = IN, TO = OUT };
    static __device__ __forceinline__ void apply(real (&o)[TO], const real (&m)[FROM]) {
        const real sum = m[1] + m[2], difference = m[1] - m[2];
        o[0] = m[0] + sum + m[3] + m[4];
        o[1] = difference + real(0.5) * m[3] - 2 * m[4];
        o[2] = sum + real(0.25) * m[3] + 4 * m[4];
        o[3] = difference + real(0.125) * m[3] - 8 * m[4] + m[5];
    }
};

// o = A d: the output's gradient.
struct Gradient {
    enum { FROM = OUT, TO = IN };
    static __device__ __forceinline__ void apply(real (&o)[TO], const real (&d)[FROM]) {
        const real even = d[0] + d[2], odd = d[1] + d[3];
        o[0] = d[0];
        o[1] = even + odd;
        o[2] = even - odd;
        o[3] = d[0] + real(0.5) * d[1] + real(0.25) * d[2] + real(0.125) * d[3];
        o[4] = d[0] - 2 * d[1] + 4 * d[2] - 8 * d[3];
        o[5] = d[3];
    }
};

// o = Gt m: products, to a filter's gradient.
struct FilterGradient {
    enum { FROM = IN, TO = TAPS };
    static __device__ __forceinline__ void apply(real (&o)[TO], const real (&m)[FROM]) {
        const real sum = (m[1] + m[2]) * real(1.0 / 3), difference = (m[1] - m[2]) * real(1.0 / 3);
        o[0] = m[0] + difference - real(16.0 / 15) * m[3] + real(1.0 / 15) * m[4];
        o[1] = sum - real(8.0 / 15) * m[3] - real(2.0 / 15) * m[4];
        o[2] = difference - real(4.0 / 15) * m[3] + real(4.0 / 15) * m[4] + m[5];
    }
};

template <class Matrix>
__device__ __forceinline__ void multiply(Numbers (&o)[Matrix::TO], const Numbers (&d)[Matrix::FROM]) {
#pragma unroll
    for (int j = 0; j < VEC; ++j) {
        real from[Matrix::FROM], to[Matrix::TO];
#pragma unroll
        for (int i = 0; i < Matrix::FROM; ++i) from[i] = d[i].v[j];
        Matrix::apply(to, from);
#pragma unroll
        for (int i = 0; i < Matrix::TO; ++i) o[i].v[j] = to[i];
    }
}

// A matrix times a square of numbers times the matrix's transpose, the square column by column, the result row by row.
template <class Matrix>
struct Square {
    Numbers half[Matrix::TO][Matrix::FROM];  // the matrix times the square
    __device__ __forceinline__ void take_column(int s, const Numbers (&d)[Matrix::FROM]) {
        Numbers column[Matrix::TO];
        multiply<Matrix>(column, d);
#pragma unroll
        for (int i = 0; i < Matrix::TO; ++i) half[i][s] = column[i];
    }
    __device__ __forceinline__ void row(Numbers (&o)[Matrix::TO], int i) const { multiply<Matrix>(o, half[i]); }
};

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

// The pixels of a tile, zeros where there is no image, to 36 numbers.
template <class Matrix>
__device__ __forceinline__ void transform_tiles(real* __restrict__ to, const real* __restrict__ from,
                                                const WinogradShape& g, int threads) {
    const int thread = blockIdx.x * THREADS + threadIdx.x;
    if (thread >= threads) return;
    const Mine mine(g, thread);
    const int top = mine.top - g.pad_h, left = mine.left - g.pad_w;
    const real* image = from + (size_t)mine.n * g.H * g.W * g.C + mine.channel;
    Square<Matrix> square;
#pragma unroll
    for (int s = 0; s < Matrix::FROM; ++s) {
        Numbers d[Matrix::FROM];
#pragma unroll
        for (int r = 0; r < Matrix::FROM; ++r) {
            d[r] = {};
            const int h = top + r * (int)g.step_h.value, w = left + s * (int)g.step_w.value;
            if ((unsigned)h < (unsigned)g.H && (unsigned)w < (unsigned)g.W)
                d[r] = load<VEC>(image + ((size_t)h * g.W + w) * g.C);
        }
        square.take_column(s, d);
    }
    const size_t apart = (size_t)threads * VEC;
#pragma unroll
    for (int i = 0; i < IN; ++i) {
        Numbers o[IN];
        square.row(o, i);
#pragma unroll
        for (int s = 0; s < IN; ++s) store(to + (i * IN + s) * apart + mine.at, o[s]);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
winograd_input(real* __restrict__ tiles, const real* __restrict__ x, WinogradShape g, int threads) {
    transform_tiles<Input>(tiles, x, g, threads);
}

extern "C" __global__ void __launch_bounds__(THREADS)
winograd_gradient(real* __restrict__ tiles, const real* __restrict__ dz, WinogradShape g, int threads) {
    transform_tiles<Gradient>(tiles, dz, g, threads);
}

// filters = G w Gt, of one filter and VEC channels; turned: w by 180 degrees.
extern "C" __global__ void __launch_bounds__(THREADS)
winograd_filters(real* __restrict__ filters, const real* __restrict__ weight, Divisor by_vectors, int turned, int threads) {
    const int thread = blockIdx.x * THREADS + threadIdx.x;
    if (thread >= threads) return;
    int vector = thread;
    const int k = by_vectors.split(vector), C = by_vectors.value * VEC;
    const real* from = weight + (size_t)k * TAPS * TAPS * C + vector * VEC;
    Square<Filter> square;
#pragma unroll
    for (int s = 0; s < TAPS; ++s) {
        Numbers g[TAPS];
#pragma unroll
        for (int r = 0; r < TAPS; ++r) {
            const int tap = r * TAPS + s;
            g[r] = load<VEC>(from + (size_t)(turned ? TAPS * TAPS - 1 - tap : tap) * C);
        }
        square.take_column(s, g);
    }
#pragma unroll
    for (int i = 0; i < IN; ++i) {
        Numbers o[IN];
        square.row(o, i);
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
    Square<Output> square;
#pragma unroll
    for (int s = 0; s < IN; ++s) {
        Numbers m[IN];
#pragma unroll
        for (int r = 0; r < IN; ++r) m[r] = load<VEC>(from + (r * IN + s) * apart);
        square.take_column(s, m);
    }
    Numbers offset = {};
    if (bias != nullptr) offset = load<VEC>(bias + mine.channel);
#pragma unroll
    for (int i = 0; i < OUT; ++i) {
        Numbers o[OUT];
        square.row(o, i);
#pragma unroll
        for (int s = 0; s < OUT; ++s)
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const real value = o[s].v[j] + offset.v[j];
                o[s].v[j] = relu && value < 0 ? real(0) : value;
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
        Numbers column[IN], half[TAPS];
#pragma unroll
        for (int i = 0; i < IN; ++i) column[i] = sums[i * IN + place][threadIdx.x];
        multiply<FilterGradient>(half, column);
#pragma unroll
        for (int r = 0; r < TAPS; ++r) sums[r * IN + place][threadIdx.x] = half[r];
    }
    __syncthreads();
    if (place >= TAPS || thread >= threads) return;
    int vector = thread;
    const int k = by_vectors.split(vector), C = by_vectors.value * VEC;
    Numbers row[IN], o[TAPS];
#pragma unroll
    for (int s = 0; s < IN; ++s) row[s] = sums[place * IN + s][threadIdx.x];
    multiply<FilterGradient>(o, row);
    real* to = dweight + ((size_t)(k * TAPS + place) * TAPS) * C + vector * VEC;
#pragma unroll
    for (int s = 0; s < TAPS; ++s) store(to + s * C, o[s]);
}
