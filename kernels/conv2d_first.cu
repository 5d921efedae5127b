// conv2d_first.cu: the convolution of a first layer: few channels, so few that vectors along them do not exist and a
// matrix product would spend its time finding out where each element lies.
//   x (N, H, W, C)   y, dy, dz (N, P, Q, K)   weight, dweight (K, R, S, C)   bias, dbias (K) or null
// Formulas and dz as in conv2d.cu; one group; the gradient of x, which a first layer seldom needs, is conv2d.cu's.
// A block brings the part of x under a tile of outputs to shared memory once, as it lies: then every product is of two
// numbers at places known in advance. Tiles are high x wide outputs; a block does several, one after the other.
//   forward: the block's filters stay in shared memory, [r,s,c][filter]; a thread has TM outputs in a row, `across`
//     apart, of TN filters
//   backward weight: dz of the tile beside x; a thread has TM elements of TN filters, and every lanes-th output
// Launch: forward grid = (blocks, filter tiles), block = across * high output groups x filter groups; backward weight grid
// = (blocks, filter tiles), block = filter groups * element groups * lanes.
// Counted by the emulator: no bank conflicts in forward's inner loop; in backward weight's none with three channels and
// 37 % more passes with one, whose filter elements fall on the same banks; some on the filters' way to shared memory,
// once a block. What a thread leaves in partial lies 4 * (TM * TN + TN) bytes apart: 50 % of ideal sectors.
// Traffic: forward x, y once and weight once a block; backward weight x, dy and y once, dz once, and a block's dweight.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory.
#include "common.cuh"

#ifndef TN
#define TN 4
#endif
enum { TM = 8, QUADS = TN / 4, PAD = 4, FAN = 16, TICKETS = 32 };  // PAD: rows stay aligned and change banks

struct FirstShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int high, wide;  // outputs of a tile
    int rows, columns;  // of x under it; columns count channels
    int tiles, tiles_per_block;
    int filter_groups, across;  // across: threads along a row of a tile; backward weight: groups of filter elements
    int lanes;  // backward weight: outputs at a time
    Divisor by_tiles_P, by_tiles_Q, by_wide, by_columns, by_filter_groups, by_across, by_SC, by_C, by_depth, by_filters;
};

struct Tile {
    int n, p, q;
    __device__ __forceinline__ Tile(const FirstShape& g, int number) {
        q = number;
        number = g.by_tiles_Q.split(q);
        p = number;
        n = g.by_tiles_P.split(p);
        p *= g.high, q *= g.wide;
    }
};

// Brings x under a tile to `patch` (rows, columns), zeros around the image.
__device__ __forceinline__ void take_patch(real* patch, const real* __restrict__ x, const FirstShape& g,
                                           const Tile& tile) {
    const int top = tile.p * g.stride_h - g.pad_h, left = (tile.q * g.stride_w - g.pad_w) * g.C, width = g.W * g.C;
    const real* image = x + (size_t)tile.n * g.H * width;
    for (int i = threadIdx.x; i < g.rows * g.columns; i += blockDim.x) {
        int w = i;
        const int h = top + g.by_columns.split(w);
        w += left;
        patch[i] = h >= 0 && h < g.H && w >= 0 && w < width ? image[(size_t)h * width + w] : real(0);
    }
}

// The filters of a group: QUADS times four that lie side by side, so that groups side by side read side by side.
__device__ __forceinline__ int filter_of(const FirstShape& g, int group, int quad) {
    return (quad * g.filter_groups + group) * 4;
}

extern "C" __global__ void __launch_bounds__(256, 1)
conv2d_first_forward(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight,
                     const real* __restrict__ bias, FirstShape g, int relu) {
    DYNAMIC_SHARED(real, shared);
    const int depth = g.R * g.S * g.C, filters = g.filter_groups * TN, pitch = filters + PAD;
    const int first = blockIdx.y * filters;
    real* patch = shared + depth * pitch;
    for (int i = threadIdx.x; i < depth * filters; i += blockDim.x) {
        int e = i;
        const int k = g.by_depth.split(e);
        shared[e * pitch + k] = first + k < g.K ? weight[(size_t)first * depth + i] : real(0);
    }
    int group = threadIdx.x;
    int column = g.by_filter_groups.split(group);
    const int row = g.by_across.split(column);
    const real* mine = patch + row * g.stride_h * g.columns + column * g.stride_w * g.C;
    const int apart = g.across * g.stride_w * g.C;
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int number = blockIdx.x * g.tiles_per_block; number < last; ++number) {
        const Tile tile(g, number);
        __syncthreads();  // the patch before has been read
        take_patch(patch, x, g, tile);
        __syncthreads();
        real sum[TM][TN];
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j) sum[i][j] = 0;
        const real* filter = shared + group * 4;
        for (int r = 0; r < g.R; ++r)
            for (int s = 0; s < g.S; ++s) {
                const real* under = mine + r * g.dilation_h * g.columns + s * g.dilation_w * g.C;
                for (int c = 0; c < g.C; ++c, ++under, filter += pitch) {
                    Vector<real, 4> f[QUADS];
                    real u[TM];
#pragma unroll
                    for (int quad = 0; quad < QUADS; ++quad) f[quad] = load<4>(filter + filter_of(g, 0, quad));
#pragma unroll
                    for (int i = 0; i < TM; ++i) u[i] = under[i * apart];
#pragma unroll
                    for (int i = 0; i < TM; ++i)
#pragma unroll
                        for (int j = 0; j < TN; ++j) sum[i][j] += u[i] * f[j / 4].v[j % 4];
                }
            }
        const int p = tile.p + row;
        if (p >= g.P) continue;
        real offset[TN];
#pragma unroll
        for (int j = 0; j < TN; ++j) {
            const int k = first + filter_of(g, group, j / 4) + j % 4;
            offset[j] = bias != nullptr && k < g.K ? bias[k] : real(0);
        }
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int q = tile.q + column + i * g.across;
            if (q >= g.Q) continue;
            real* out = y + (((size_t)tile.n * g.P + p) * g.Q + q) * g.K;
#pragma unroll
            for (int quad = 0; quad < QUADS; ++quad) {
                const int k = first + filter_of(g, group, quad);
                Vector<real, 4> v;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    v.v[j] = sum[i][quad * 4 + j] + offset[quad * 4 + j];
                    if (relu && v.v[j] < 0) v.v[j] = 0;
                }
                if (k + 4 <= g.K && g.K % 4 == 0) {
                    store(out + k, v);
                } else {
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        if (k + j < g.K) out[k + j] = v.v[j];
                }
            }
        }
    }
}

// A thread's sums of backward weight: TM filter elements of TN filters, and the filters' own.
struct Sums {
    enum { COUNT = TM * TN + TN };
    real of[COUNT];
    __device__ __forceinline__ void leave(real* to) const {
#pragma unroll
        for (int i = 0; i < COUNT; i += 4) {
            Vector<real, 4> v;
#pragma unroll
            for (int j = 0; j < 4; ++j) v.v[j] = of[i + j];
            store(to + i, v);
        }
    }
    __device__ __forceinline__ void take(const real* from) {
#pragma unroll
        for (int i = 0; i < COUNT; i += 4) {
            const Vector<real, 4> v = load<4>(from + i);
#pragma unroll
            for (int j = 0; j < 4; ++j) of[i + j] += v.v[j];
        }
    }
};

// partial (filter tiles, blocks, threads of a lane, COUNT); tickets (filter tiles, TICKETS).
extern "C" __global__ void __launch_bounds__(256, 1)
conv2d_first_backward_weight(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dz,
                             real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                             const real* __restrict__ dy, const real* __restrict__ y, const real* __restrict__ x,
                             FirstShape g) {
    DYNAMIC_SHARED(real, shared);
    const int depth = g.R * g.S * g.C, filters = g.filter_groups * TN, outputs = g.high * g.wide;
    const int first = blockIdx.y * filters;
    real* patch = shared + outputs * filters;
    const int threads = g.filter_groups * g.across;  // of a lane
    int group = threadIdx.x;
    int elements = g.by_filter_groups.split(group);
    const int lane = g.by_across.split(elements), thread = threadIdx.x - lane * threads;
    int place[TM];  // of a filter element in the patch
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        int e = min(elements + i * g.across, depth - 1);
        const int r = g.by_SC.split(e), s = g.by_C.split(e);
        place[i] = r * g.dilation_h * g.columns + s * g.dilation_w * g.C + e;
    }
    Sums sums = {};
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int number = blockIdx.x * g.tiles_per_block; number < last; ++number) {
        const Tile tile(g, number);
        __syncthreads();  // the tile before has been read
        take_patch(patch, x, g, tile);
        for (int i = threadIdx.x; i < outputs * filters; i += blockDim.x) {
            int k = i;
            int column = g.by_filters.split(k);
            const int p = tile.p + g.by_wide.split(column), q = tile.q + column;
            real d = 0;
            if (p < g.P && q < g.Q && first + k < g.K) {
                const size_t at = (((size_t)tile.n * g.P + p) * g.Q + q) * g.K + first + k;
                d = dy[at];
                if (y != nullptr) {
                    d = y[at] <= 0 ? real(0) : d;
                    if (dz != nullptr) dz[at] = d;
                }
            }
            shared[i] = d;
        }
        __syncthreads();
#pragma unroll 1  // more at a time need more registers than there are
        for (int o = lane; o < outputs; o += g.lanes) {
            int column = o;
            const int row = g.by_wide.split(column);
            const real* under = patch + row * g.stride_h * g.columns + column * g.stride_w * g.C;
            Vector<real, 4> d[QUADS];
            real u[TM];
#pragma unroll
            for (int quad = 0; quad < QUADS; ++quad) d[quad] = load<4>(shared + o * filters + filter_of(g, group, quad));
#pragma unroll
            for (int i = 0; i < TM; ++i) u[i] = under[place[i]];
#pragma unroll
            for (int j = 0; j < TN; ++j) {
                const real v = d[j / 4].v[j % 4];
#pragma unroll
                for (int i = 0; i < TM; ++i) sums.of[i * TN + j] += u[i] * v;
                sums.of[TM * TN + j] += v;
            }
        }
    }
    // The lanes, in their order, a filter at a time.
#pragma unroll
    for (int j = 0; j < TN; ++j) {
        __syncthreads();  // what lies there has been read
        if (lane > 0)
#pragma unroll
            for (int i = 0; i <= TM; ++i) shared[i * blockDim.x + threadIdx.x] = sums.of[i * TN + j];
        __syncthreads();
        if (lane == 0)
#pragma unroll 1
            for (int l = 1; l < g.lanes; ++l)
#pragma unroll
                for (int i = 0; i <= TM; ++i) sums.of[i * TN + j] += shared[i * blockDim.x + l * threads + thread];
    }
    // The blocks: the last of each FAN adds those, and the last of the results those.
    real* from = partial + ((size_t)blockIdx.y * gridDim.x * threads + thread) * Sums::COUNT;
    unsigned* ticket = tickets + blockIdx.y * TICKETS;
    size_t apart = (size_t)Sums::COUNT * threads;
    for (int number = blockIdx.x, count = gridDim.x; count > 1;) {
        const int fan = number / FAN, members = min((int)FAN, count - fan * FAN);
        if (lane == 0) sums.leave(from + number * apart);
        if (!last_block(ticket + fan, members)) return;
        if (lane == 0) {
            sums = {};
#pragma unroll 1
            for (int m = 0; m < members; ++m) sums.take(from + (fan * FAN + m) * apart);
        }
        // What is left next replaces the first of these sums, which no one needs any more.
        ticket += (count + FAN - 1) / FAN;
        number = fan, count = (count + FAN - 1) / FAN, apart *= FAN;
    }
    if (lane > 0) return;
#pragma unroll
    for (int j = 0; j < TN; ++j) {
        const int k = first + filter_of(g, group, j / 4) + j % 4;
        if (k >= g.K) continue;
        if (elements == 0 && dbias != nullptr) dbias[k] = sums.of[TM * TN + j];
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int e = elements + i * g.across;
            if (e < depth) dweight[(size_t)k * depth + e] = sums.of[i * TN + j];
        }
    }
}
