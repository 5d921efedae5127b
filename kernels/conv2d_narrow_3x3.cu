// conv2d_narrow_3x3.cu: 3 x 3 filters, STRIDE 1 or 2, of convolutions whose groups have few channels: what most networks
// with such layers have. Everything else narrow is conv2d_depthwise.cu's.
//   x, dx (N, H, W, C)   y, dy, dz (N, P, Q, K)   weight, dweight (K, 3, 3, C/groups)   bias, dbias (K) or null, all of type stored
// Formulas and dz as in conv2d.cu; C, K and with DEPTHWISE=0 the channels of a group are multiples of four, a quad.
// DEPTHWISE=1: one channel in, one out; a product is of two quads. DEPTHWISE=0: of a quad with the 4 x 4 filter elements
// that lead to another quad, for each quad (`chunk`) of the group.
// A thread computes one quad of T columns, of two rows where rows share what they read. All places of the filter are
// known to the compiler, so what a thread has loaded serves all products that it stands in, out of registers, and the
// only loop is that over chunks.
//   backward data, STRIDE 1: a forward pass with the filter turned round
//   backward data, STRIDE 2: 2 x 2 pixels meet 1, 2, 2 and 4 of the filter's elements, and 2 x 2 outputs
//   backward weight: a thread walks along rows of y, and keeps the sums of all nine elements (DEPTHWISE), or of the
//     three of a filter row, for 4 x 4 channels
// Launch: forward, backward data: grid = tile of places * channel tile, block = (quads, places: T columns of a row or
// two) and the filters of the channel tile in shared memory; backward weight: grid = (channel tiles, slices of the
// N * P rows), block = (quads, parts: chunk and filter row, rows at a time).
// Traffic: forward x and weight about once, y once; backward data dz and dx alike; backward weight x, dy and y once, dz
// once. A block's threads read the same lines at about the same time, so the rest comes from L1.
// Resident on an SM of sm_90: 16 warps of blocks of up to 256 threads; more registers would pay more than more warps.
// Source: Howard et al. 2017, "MobileNets", arXiv:1704.04861, and Xie et al. 2017, "ResNeXt", arXiv:1611.05431, for the
// layers.
#define VEC 4
#include "stored.cuh"

#ifndef STRIDE
#define STRIDE 1
#endif
#ifndef DEPTHWISE
#define DEPTHWISE 1
#endif
enum { BLOCK = 192 };  // threads at most: two blocks leave 168 registers for each
enum { T = 4, SIDE = 3, TAPS = SIDE * SIDE };
enum { FILTERS = DEPTHWISE ? 1 : 4 };          // quads of filter elements between two quads of channels
enum { ROWS = DEPTHWISE ? SIDE : 1 };          // filter rows of a thread of backward weight
enum { UNROLL_R = DEPTHWISE ? SIDE : 1 };         // filter rows at once: more of them would not leave enough registers
enum { SUMS = ROWS * SIDE * FILTERS + 1 };     // its quads of sums, with the bias

struct Narrow3x3Shape {
    int N, H, W, C, K, R, S, P, Q;
    int pad_h, pad_w, group_C, group_K;
    Divisor by_P, by_group_C, by_group_K;
    Divisor by_channel_tiles, by_columns, by_rows;  // the last two: of threads
};

typedef Vector<real, 4> Quad;

__device__ __forceinline__ void clear(Quad& v) {
#pragma unroll
    for (int j = 0; j < 4; ++j) v.v[j] = 0;
}
__device__ __forceinline__ void add(Quad& sum, const Quad& more) {
#pragma unroll
    for (int j = 0; j < 4; ++j) sum.v[j] += more.v[j];
}
// Filter elements lie as in memory: f[k] has four channels of x of channel k of y.
template <bool BACK>
__device__ __forceinline__ void add_product(Quad& sum, const Quad& u, const Quad (&f)[FILTERS]) {
#pragma unroll
    for (int i = 0; i < FILTERS; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int to = DEPTHWISE || BACK ? j : i, from = BACK && !DEPTHWISE ? i : j;
            sum.v[to] += u.v[from] * f[i].v[j];
        }
}

// A row of an image; zero outside it.
struct Row {
    const stored* data;
    int columns, channels;
    __device__ __forceinline__ Row() {}
    __device__ __forceinline__ Row(const stored* image, int h, int rows, int columns, int channels) : channels(channels) {
        const bool inside = (unsigned)h < (unsigned)rows;
        data = image + (size_t)(inside ? h : 0) * columns * channels;
        this->columns = inside ? columns : 0;
    }
    __device__ __forceinline__ Quad read(int w) const {
        Quad u;
        clear(u);
        if ((unsigned)w < (unsigned)columns) u = load<4>(data + w * channels);
        return u;
    }
};

// Where a thread is at work: its image, its numbers of rows and of T columns, its channel. A block has whole warps of
// places that follow one another, from row to row and from image to image.
struct Place {
    int n, row, column, channel;
    bool beyond;  // all places: has only filters to bring
    __device__ __forceinline__ Place(const Narrow3x3Shape& g, int places) {
        channel = blockIdx.x;
        column = g.by_channel_tiles.split(channel) * blockDim.y + threadIdx.y;
        channel = (channel * blockDim.x + threadIdx.x) * 4;
        beyond = column >= places;
        row = g.by_columns.split(column);
        n = g.by_rows.split(row);
    }
};

// Brings the filters of this block's quads to shared memory, [chunk][tap][FILTERS][quad]; turned: the last tap first.
template <bool BACK>
__device__ __forceinline__ void take_filters(Quad* filters, const stored* __restrict__ weight, const Narrow3x3Shape& g,
                                             int channel, int chunks) {
    const bool there = channel < (BACK ? g.C : g.K), turned = BACK && STRIDE == 1;
    int first = channel, inner = 0;  // the filter, and the channel in it
    if (BACK && !DEPTHWISE) inner = channel, first = g.by_group_C.split(inner) * g.group_K;
    for (int i = threadIdx.y; i < chunks * TAPS; i += blockDim.y) {
        const int chunk = i / TAPS, tap = turned ? TAPS - 1 - i % TAPS : i % TAPS;
#pragma unroll
        for (int j = 0; j < FILTERS; ++j) {
            Quad f;
            clear(f);
            if (there && DEPTHWISE) {
#pragma unroll
                for (int k = 0; k < 4; ++k) f.v[k] = weight[(size_t)(channel + k) * TAPS + tap];
            } else if (there) {
                const int k = first + j + (BACK ? chunk * 4 : 0), c = BACK ? inner : chunk * 4;
                f = load<4>(weight + ((size_t)k * TAPS + tap) * g.group_C + c);
            }
            filters[(i * FILTERS + j) * blockDim.x + threadIdx.x] = f;
        }
    }
    __syncthreads();
}

// This thread's filter elements between two quads, for one tap.
__device__ __forceinline__ void take(Quad (&f)[FILTERS], const Quad* filters, int tap) {
#pragma unroll
    for (int i = 0; i < FILTERS; ++i) f[i] = filters[(tap * FILTERS + i) * blockDim.x];
}

// The sums of outputs HIGH x T, from h and w of what is read on.
template <bool BACK, int STEP, int HIGH>
__device__ __forceinline__ void gather(Quad (&sum)[HIGH][T], const stored* image, int h, int w, int rows, int columns,
                                       int channels, const Quad* filters, int chunks) {
    enum { SEEN = (T - 1) * STEP + SIDE };
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk, image += 4, filters += TAPS * FILTERS * blockDim.x) {
        Quad held[HIGH][SEEN];
#pragma unroll
        for (int i = 0; i + 1 < HIGH; ++i) {
            const Row row(image, h + i, rows, columns, channels);
#pragma unroll
            for (int c = 0; c < SEEN; ++c) held[i][c] = row.read(w + c);
        }
#pragma unroll(UNROLL_R)
        for (int r = 0; r < SIDE; ++r) {
            const Row row(image, h + HIGH - 1 + r, rows, columns, channels);
#pragma unroll
            for (int c = 0; c < SEEN; ++c) held[HIGH - 1][c] = row.read(w + c);
#pragma unroll
            for (int s = 0; s < SIDE; ++s) {
                Quad f[FILTERS];
                take(f, filters, r * SIDE + s);
#pragma unroll
                for (int i = 0; i < HIGH; ++i)
#pragma unroll
                    for (int t = 0; t < T; ++t) add_product<BACK>(sum[i][t], held[i][t * STEP + s], f);
            }
#pragma unroll
            for (int i = 0; i + 1 < HIGH; ++i)
#pragma unroll
                for (int c = 0; c < SEEN; ++c) held[i][c] = held[i + 1][c];
        }
    }
}

// Backward data of stride 2: pixels 2 x T, of which the first has an even distance from the first pixel that output
// 0 would see if that had infinitely many before it. p, q: the last outputs that it meets.
__device__ __forceinline__ void scatter(Quad (&sum)[2][T], const stored* image, int p, int q, int rows, int columns,
                                        int channels, const Quad* filters, int chunks) {
    enum { SEEN = T / 2 + 1 };
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk, image += 4, filters += TAPS * FILTERS * blockDim.x) {
        Quad held[2][SEEN];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const Row row(image, p - 1 + i, rows, columns, channels);
#pragma unroll
            for (int c = 0; c < SEEN; ++c) held[i][c] = row.read(q - 1 + c);
        }
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap) {
            const int r = tap / SIDE, s = tap % SIDE;
            Quad f[FILTERS];
            take(f, filters, tap);
#pragma unroll
            for (int t = 0; t < T / 2; ++t)  // the last tap in a row meets the output before
                add_product<true>(sum[r % 2][2 * t + s % 2], held[r < 2][t + (s < 2)], f);
        }
    }
}

// Writes HIGH x T quads; those outside are left out.
template <int HIGH>
__device__ __forceinline__ void write(stored* image, const Quad (&sum)[HIGH][T], int h, int w, int rows, int columns,
                                      int channels) {
#pragma unroll
    for (int i = 0; i < HIGH; ++i) {
        if ((unsigned)(h + i) >= (unsigned)rows) continue;
        stored* row = image + (size_t)(h + i) * columns * channels;
#pragma unroll
        for (int t = 0; t < T; ++t)
            if ((unsigned)(w + t) < (unsigned)columns) store(row + (w + t) * channels, sum[i][t]);
    }
}

template <int HIGH>
__device__ __forceinline__ void clear(Quad (&sum)[HIGH][T]) {
#pragma unroll
    for (int i = 0; i < HIGH; ++i)
#pragma unroll
        for (int t = 0; t < T; ++t) clear(sum[i][t]);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
conv2d_narrow_3x3_forward(stored* __restrict__ y, const stored* __restrict__ x, const stored* __restrict__ weight,
                          const stored* __restrict__ bias, Narrow3x3Shape g, int places, int relu) {
    enum { HIGH = STRIDE == 1 ? 2 : 1 };
    DYNAMIC_SHARED(Quad, filters);
    const Place at(g, places);
    const int chunks = DEPTHWISE ? 1 : g.group_C / 4, p = at.row * HIGH, q = at.column * T;
    take_filters<false>(filters, weight, g, at.channel, chunks);
    if (at.channel >= g.K || at.beyond) return;
    const int from = DEPTHWISE ? at.channel : g.by_group_K.quotient(at.channel) * g.group_C;
    Quad sum[HIGH][T];
    clear(sum);
    gather<false, STRIDE>(sum, x + (size_t)at.n * g.H * g.W * g.C + from, p * STRIDE - g.pad_h, q * STRIDE - g.pad_w, g.H,
                          g.W, g.C, filters + threadIdx.x, chunks);
    Quad shift;
    clear(shift);
    if (bias != nullptr) shift = load<4>(bias + at.channel);
    const real least = relu ? real(0) : real(-INFINITY);
#pragma unroll
    for (int i = 0; i < HIGH; ++i)
#pragma unroll
        for (int t = 0; t < T; ++t)
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const real value = sum[i][t].v[j] + shift.v[j];
                sum[i][t].v[j] = value < least ? least : value;  // NaN stays
            }
    write(y + (size_t)at.n * g.P * g.Q * g.K + at.channel, sum, p, q, g.P, g.Q, g.K);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
conv2d_narrow_3x3_backward_data(stored* __restrict__ dx, const stored* __restrict__ dz, const stored* __restrict__ weight,
                                Narrow3x3Shape g, int places) {
    DYNAMIC_SHARED(Quad, filters);
    const Place at(g, places);
    const int chunks = DEPTHWISE ? 1 : g.group_K / 4;
    take_filters<true>(filters, weight, g, at.channel, chunks);
    // With stride 2 the first row may be one before the image.
    const int h = at.row * 2 - (STRIDE == 2 ? g.pad_h % 2 : 0), w = at.column * T - (STRIDE == 2 ? g.pad_w % 2 : 0);
    if (at.channel >= g.C || at.beyond) return;
    const int from = DEPTHWISE ? at.channel : g.by_group_C.quotient(at.channel) * g.group_K;
    const stored* image = dz + (size_t)at.n * g.P * g.Q * g.K + from;
    Quad sum[2][T];
    clear(sum);
    if (STRIDE == 1)
        gather<true, 1>(sum, image, h + g.pad_h - (SIDE - 1), w + g.pad_w - (SIDE - 1), g.P, g.Q, g.K,
                        filters + threadIdx.x, chunks);
    else
        scatter(sum, image, (h + g.pad_h) / 2, (w + g.pad_w) / 2, g.P, g.Q, g.K, filters + threadIdx.x, chunks);
    write(dx + (size_t)at.n * g.H * g.W * g.C + at.channel, sum, h, w, g.H, g.W, g.C);
}

// Adds up what the block's rows at a time have, always in the same order; threads with z = 0 get the sums.
__device__ __forceinline__ void sum_rows(Quad (&sum)[SUMS], Quad* shared) {
    const int across = blockDim.x * blockDim.y, mine = threadIdx.y * blockDim.x + threadIdx.x, z = threadIdx.z;
    for (int rows = blockDim.z; rows > 1;) {
        const int half = (rows + 1) / 2;
        if (z >= half && z < rows)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) shared[((z - half) * SUMS + i) * across + mine] = sum[i];
        __syncthreads();
        if (z + half < rows)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) add(sum[i], shared[(z * SUMS + i) * across + mine]);
        __syncthreads();
        rows = half;
    }
}

// partial (slices, channel tiles, SUMS, threads with z = 0), as quads; tickets (channel tiles). MASKED: y is given.
template <bool MASKED>
__device__ __forceinline__ void backward_weight(stored* __restrict__ dweight, stored* __restrict__ dbias,
                                                stored* __restrict__ dz, real* __restrict__ partial, unsigned* tickets,
                                                const stored* __restrict__ dy, const stored* __restrict__ y,
                                                const stored* __restrict__ x, const Narrow3x3Shape& g,
                                                int rows_per_slice) {
    // Outputs for which it loads at once, as many as registers allow, and columns of x under them.
    enum { TURNS = STRIDE == 2 || (DEPTHWISE && MASKED) ? 2 : 4, SEEN = (TURNS - 1) * STRIDE + SIDE };
    DYNAMIC_SHARED(Quad, shared);
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
    const int part = DEPTHWISE ? 0 : threadIdx.y, chunk = part / SIDE, r = part % SIDE;
    const bool keeps = part == 0;
    const int from = DEPTHWISE ? channel : g.by_group_K.quotient(channel) * g.group_C + chunk * 4;
    const int first = blockIdx.y * rows_per_slice, last = min(g.N * g.P, first + rows_per_slice);
    Quad sum[SUMS];
#pragma unroll
    for (int i = 0; i < SUMS; ++i) clear(sum[i]);
    if (channel < g.K) {
#pragma unroll 1
        for (int row = first + threadIdx.z; row < last; row += blockDim.z) {
            int p = row;
            const int n = g.by_P.split(p), h = p * STRIDE - g.pad_h + r;
            Row rows[ROWS];
            Quad held[ROWS][SEEN];
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                rows[i] = Row(x + (size_t)n * g.H * g.W * g.C + from, h + i, g.H, g.W, g.C);
#pragma unroll
                for (int c = 0; c < SIDE - STRIDE; ++c) held[i][c] = rows[i].read(c - g.pad_w);
            }
            const size_t begin = (size_t)row * g.Q * g.K + channel;
#pragma unroll 1
            for (int q = 0; q < g.Q; q += TURNS) {
                Quad d[TURNS], u[TURNS];  // all loads come before the products
#pragma unroll
                for (int t = 0; t < TURNS; ++t) {
                    clear(d[t]);
                    if (q + t < g.Q) {
                        d[t] = load<4>(dy + begin + (q + t) * g.K);
                        if (MASKED) u[t] = load<4>(y + begin + (q + t) * g.K);
                    }
                }
#pragma unroll
                for (int i = 0; i < ROWS; ++i)
#pragma unroll
                    for (int c = SIDE - STRIDE; c < SEEN; ++c) held[i][c] = rows[i].read(q * STRIDE + c - g.pad_w);
#pragma unroll
                for (int t = 0; t < TURNS; ++t) {
                    if (q + t >= g.Q) break;
                    if (MASKED) {
#pragma unroll
                        for (int j = 0; j < 4; ++j) d[t].v[j] = u[t].v[j] <= 0 ? real(0) : d[t].v[j];
                        if (keeps && dz != nullptr) store(dz + begin + (q + t) * g.K, d[t]);
                    }
                    if (keeps) add(sum[SUMS - 1], d[t]);
#pragma unroll
                    for (int i = 0; i < ROWS; ++i)
#pragma unroll
                        for (int s = 0; s < SIDE; ++s)
#pragma unroll
                            for (int k = 0; k < FILTERS; ++k)
#pragma unroll
                                for (int j = 0; j < 4; ++j)
                                    sum[(i * SIDE + s) * FILTERS + k].v[j] +=
                                        d[t].v[DEPTHWISE ? j : k] * held[i][t * STRIDE + s].v[j];
                }
#pragma unroll
                for (int i = 0; i < ROWS; ++i)
#pragma unroll
                    for (int c = 0; c < SIDE - STRIDE; ++c) held[i][c] = held[i][TURNS * STRIDE + c];
            }
        }
    }
    sum_rows(sum, shared);
    if (gridDim.y > 1) {
        const int across = blockDim.x * blockDim.y, mine = threadIdx.y * blockDim.x + threadIdx.x;
        const size_t apart = (size_t)gridDim.x * SUMS * across * 4;  // from slice to slice
        real* left = partial + ((size_t)blockIdx.x * SUMS * across + mine) * 4;
        if (threadIdx.z == 0)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) store(left + blockIdx.y * apart + i * across * 4, sum[i]);
        if (!last_block(&tickets[blockIdx.x], gridDim.y)) return;
#pragma unroll
        for (int i = 0; i < SUMS; ++i) clear(sum[i]);
#pragma unroll 1
        for (int slice = threadIdx.z; slice < (int)gridDim.y; slice += blockDim.z)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) add(sum[i], load<4>(left + slice * apart + i * across * 4));
        sum_rows(sum, shared);
    }
    if (threadIdx.z > 0 || channel >= g.K) return;
    if (keeps && dbias != nullptr) store(dbias + channel, sum[SUMS - 1]);
#pragma unroll
    for (int i = 0; i < ROWS * SIDE; ++i)
#pragma unroll
        for (int k = 0; k < FILTERS; ++k) {
            const Quad& of = sum[i * FILTERS + k];
            if (DEPTHWISE)
#pragma unroll
                for (int j = 0; j < 4; ++j) dweight[(size_t)(channel + j) * TAPS + i] = of.v[j];
            else
                store(dweight + ((size_t)(channel + k) * TAPS + r * SIDE + i) * g.group_C + chunk * 4, of);
        }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2)
conv2d_narrow_3x3_backward_weight(stored* __restrict__ dweight, stored* __restrict__ dbias, real* __restrict__ partial,
                                  INOUT unsigned* __restrict__ tickets, const stored* __restrict__ dy,
                                  const stored* __restrict__ x, Narrow3x3Shape g, int rows_per_slice) {
    backward_weight<false>(dweight, dbias, nullptr, partial, tickets, dy, nullptr, x, g, rows_per_slice);
}

// Behind a ReLU: y is its output; leaves dz, unless that is null.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
conv2d_narrow_3x3_backward_weight_relu(stored* __restrict__ dweight, stored* __restrict__ dbias, stored* __restrict__ dz,
                                       real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                                       const stored* __restrict__ dy, const stored* __restrict__ y,
                                       const stored* __restrict__ x, Narrow3x3Shape g, int rows_per_slice) {
    backward_weight<true>(dweight, dbias, dz, partial, tickets, dy, y, x, g, rows_per_slice);
}
