// conv2d_first_data.cu: the gradient of a first layer's images, and so the output of a last transposed convolution: so few
// channels that a matrix product would have next to no columns.
//   dx, more (N, H, W, C) or null   dz (N, P, Q, K)   weight (K, R, S, C)   C = CHANNELS, one group
//   dx[n, h, w, c] = more[n, h, w, c] + sum over r, s, k of dz[n, p, q, k] weight[k, r, s, c],
//     where h + pad_h = stride_h p + dilation_h r, and likewise w
// Pixels a stride apart, a phase, are under every step-th filter element, at outputs `reach` apart. With h + pad_h =
// stride_h u + phase, u counts the pixels of a phase: its filter element r0 + j step lies over output u + output - j reach.
// A thread has all channels of PIXELS pixels in a row, of all phases along it where GEOMETRY = 10 * STRIDE + TAPS says at
// compile time which filter elements those have; dilation_w is 1 there. So dz that one pixel reads, its neighbours read from
// the same registers. In GEOMETRY 1 a block has one phase along the row, and goes through its filter elements one by one.
// A block brings dz under its tile to shared memory, 4 or 8 of K at a time, and the filter elements it needs of these;
// four of K are a vector. dx goes through shared memory too: pixels that lie side by side in memory are written side by side.
// Launch: grid = tiles of all phases and images, block = high * groups of PIXELS pixels.
// Counted by the emulator: no bank conflicts in the loop; rows of dz are an odd number of vectors apart.
// Resident on an SM of sm_90, float: 12 to 16 warps.
// Traffic: dz once for each phase of rows, and what tiles share; weight once a block; dx once.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory.
#include "shared_place.cuh"

#ifndef CHANNELS
#define CHANNELS 3
#endif
#ifndef GEOMETRY
#define GEOMETRY 1
#endif
enum { STRIDE = GEOMETRY / 10, TAPS = GEOMETRY % 10 };
enum { WIDE = sizeof(real) / sizeof(float) };  // registers of a number
// With one filter element at a time and few channels a vector of dz is in few products: more pixels share the filter's.
enum { PIXELS = (GEOMETRY == 1 && CHANNELS <= 2 ? 16 : 8) / WIDE, MOST_THREADS = 128 };
enum { PHASES = STRIDE ? STRIDE : 1, BACK = STRIDE ? (TAPS + PHASES - 1) / PHASES - 1 : 0 };  // BACK: outputs beside a thread's
enum { NUMBERS = PIXELS * PHASES * CHANNELS, APART = NUMBERS | 1 };  // of a thread; from one to the next: other banks
enum { BYTES = 4 * sizeof(real) };                                   // of a vector

// Pixels of one phase along an axis: what its filter elements are, and which outputs they lead to.
struct Axis {
    int tap, taps, output;
    __device__ __forceinline__ Axis(int phase, int stride, int dilation, int step, int length) : tap(0), taps(0), output(0) {
        while (tap < step && (phase - tap * dilation) % stride != 0) ++tap;
        if (tap >= step || tap >= length) return;  // no window has these pixels
        taps = (length - tap + step - 1) / step;
        output = (phase - tap * dilation) / stride;
    }
};

struct FirstDataShape {
    int N, H, W, C, K, R, S, P, Q;  // C is CHANNELS
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int step_h, step_w, reach_h, reach_w;
    int first_h, first_w;  // u of the first pixel
    int high, wide;        // pixels of a tile, of one phase
    int rows, columns;     // of dz under it
    int pitch, plane;      // vectors from row to row, and from four of K to the next
    int planes, aligned;   // planes: 1 or 2; aligned: whether four of K are a vector in memory
    Divisor by_tiles_w, by_phases_w, by_phases_h, by_tiles_h, by_columns, by_high, by_line, by_filter_row;
};

struct Sums {
    real of[PIXELS][PHASES][CHANNELS];
    // Adds a row of filter elements, or one of GEOMETRY 1: of four of K. `seen`: dz under the last one.
    __device__ __forceinline__ void add(SharedPlace seen, SharedPlace filter) {
        Vector<real, 4> d[PIXELS + BACK];
#pragma unroll
        for (int i = 0; i < PIXELS + BACK; ++i) d[i] = load<4>(seen + i * BYTES);
#pragma unroll
        for (int s = 0; s < TAPS; ++s)
#pragma unroll
            for (int c = 0; c < CHANNELS; ++c) {
                const Vector<real, 4> f = load<4>(filter + (s * CHANNELS + c) * BYTES);
#pragma unroll
                for (int k = 0; k < 4; ++k)
#pragma unroll
                    for (int i = 0; i < PIXELS; ++i)
                        of[i][s % PHASES][c] += d[i + BACK - s / PHASES].v[k] * f.v[k];
            }
    }
};

// Brings four numbers of K, from `k` on: zeros beyond the last.
__device__ __forceinline__ Vector<real, 4> four(const real* from, int k, const FirstDataShape& g) {
    Vector<real, 4> v = {};
    if (g.aligned) {
        if (k < g.K) v = load<4>(from);
    } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (k + j < g.K) v.v[j] = from[j];
    }
    return v;
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, WIDE == 1 ? NUMBERS > 48 ? 3 : 4 : 1)
conv2d_first_backward_data(real* __restrict__ dx, const real* __restrict__ dz, const real* __restrict__ weight,
                           const real* __restrict__ more, FirstDataShape g) {
    DYNAMIC_SHARED(real, shared);
    int u_w = blockIdx.x;
    int phase_w = g.by_tiles_w.split(u_w), phase_h = STRIDE ? phase_w : g.by_phases_w.split(phase_w);
    if (STRIDE) phase_w = 0;
    int u_h = g.by_phases_h.split(phase_h);
    const int n = g.by_tiles_h.split(u_h);
    u_h = g.first_h + u_h * g.high, u_w = g.first_w + u_w * g.wide;
    const Axis down(phase_h, g.stride_h, g.dilation_h, g.step_h, g.R);
    const Axis right(phase_w, g.stride_w, g.dilation_w, g.step_w, g.S);
    // The first output that some pixel of the tile reads.
    const int top = u_h + down.output - (down.taps - 1) * g.reach_h;
    const int left = u_w + right.output - (STRIDE ? (int)BACK : (right.taps - 1) * g.reach_w);
    const int filter_row = g.S * CHANNELS, depth = g.R * filter_row;
    real* filters = shared + g.planes * g.plane * 4;
    int row = threadIdx.x;
    const int group = g.by_high.split(row);
    const SharedPlace mine(shared + (row * g.pitch + group * PIXELS) * 4), first_filter(filters);
    Sums sums = {};
    const int taps_w = STRIDE ? 1 : right.taps;
    for (int k = 0; k < g.K && down.taps * taps_w > 0; k += 4 * g.planes) {
        __syncthreads();  // what was there before has been read
        const int brought = g.rows * g.columns * g.planes;
#pragma unroll 4
        for (int i = threadIdx.x; i < brought; i += blockDim.x) {
            int column = i >> (g.planes - 1);
            const int plane = i & (g.planes - 1), line = g.by_columns.split(column), p = top + line, q = left + column;
            Vector<real, 4> v = {};
            if ((unsigned)p < (unsigned)g.P && (unsigned)q < (unsigned)g.Q)
                v = four(dz + ((size_t)(n * g.P + p) * g.Q + q) * g.K + k + plane * 4, k + plane * 4, g);
            store(shared + (plane * g.plane + line * g.pitch + column) * 4, v);
        }
        for (int i = threadIdx.x; i < down.taps * filter_row * g.planes; i += blockDim.x) {
            int e = i;
            int j = g.by_filter_row.split(e), of = k;
            if (j >= down.taps) j -= down.taps, of += 4;
            const real* from = weight + (size_t)of * depth + (down.tap + j * g.step_h) * filter_row + e;
            Vector<real, 4> v;
#pragma unroll
            for (int kk = 0; kk < 4; ++kk) v.v[kk] = of + kk < g.K ? from[(size_t)kk * depth] : real(0);
            store(filters + i * 4, v);
        }
        __syncthreads();
        SharedPlace filter = first_filter;
        for (int plane = 0; plane < g.planes; ++plane) {
            SharedPlace seen = mine + (plane * g.plane + (down.taps - 1) * g.reach_h * g.pitch) * (int)BYTES;
#pragma unroll 1
            for (int j = 0; j < down.taps; ++j) {
                if (STRIDE) {
                    sums.add(seen, filter);
                } else {
                    SharedPlace at = seen + (taps_w - 1) * g.reach_w * (int)BYTES, tap = filter + right.tap * CHANNELS * (int)BYTES;
#pragma unroll 1
                    for (int t = 0; t < taps_w; ++t) {
                        sums.add(at, tap);
                        at += -g.reach_w * (int)BYTES, tap += g.step_w * CHANNELS * (int)BYTES;
                    }
                }
                seen += -g.reach_h * g.pitch * (int)BYTES, filter += filter_row * (int)BYTES;
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < NUMBERS; ++i)
        shared[threadIdx.x * APART + i] = sums.of[i / CHANNELS / PHASES][i / CHANNELS % PHASES][i % CHANNELS];
    __syncthreads();
    const int numbers = g.wide * PHASES * CHANNELS, line = g.W * CHANNELS;
    for (int i = threadIdx.x; i < g.high * numbers; i += blockDim.x) {
        int at = i;
        const int owner_row = g.by_line.split(at), h = g.stride_h * (u_h + owner_row) + phase_h - g.pad_h;
        const int owner = at / NUMBERS * g.high + owner_row, number = at % NUMBERS;
        at = STRIDE ? (STRIDE * u_w - g.pad_w) * CHANNELS + at
                    : (g.stride_w * (u_w + at / CHANNELS) + phase_w - g.pad_w) * CHANNELS + at % CHANNELS;
        if ((unsigned)h >= (unsigned)g.H || (unsigned)at >= (unsigned)line) continue;
        const size_t to = (size_t)(n * g.H + h) * line + at;
        const real v = shared[owner * APART + number];
        dx[to] = more == nullptr ? v : v + more[to];
    }
}
