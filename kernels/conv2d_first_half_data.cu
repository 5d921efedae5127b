// conv2d_first_half_data.cu: the gradient of a first layer's images for float16 or bfloat16 by tensor cores, without conversions;
// NUMBER as in half_number.cuh. One group, no dilation; up to 4 channels, K in vectors of 8, up to TAPS filter elements apart.
//   dx, more (N, H, W, C) or null   dz (N, P, Q, K)   weight (K, R, S, C)
// Formula as in conv2d_first_data.cu; as a product (pixels x taps K) (taps K x columns). With h + shift_h = stride_h u + phase,
// and likewise w, dz at u - j and u - t meets filter row j stride_h + phase - lead_h, and there the stride_w C numbers from
// (t stride_w - lead_w) C on, zeros beside the filter: one for each of the stride_w C numbers of dx at u. Eight of these, of one
// phase of rows, are the columns of a product; a block has TOGETHER of them.
// A warp has 8 rows of 16 u: its 16 x 8 fragments hold every eighth u of a row. So what is at u - t is another fragment that
// is there already, for all but TAPS - 1 of them.
// A block keeps its filters in shared memory, each lane's words side by side, and brings dz under a tile 16 of K at a time. It does
// several tiles, one after the other. Sums go through shared memory, so that pixels are written side by side.
// Of zeros beside the filter an infinity makes NaN: such a number of dx is computed again, by its formula.
// Launch: grid = (blocks, groups of columns / TOGETHER), block = warps of a tile, at most 8.
// Resident on an SM of sm_90: 16 warps.
// Counted by the emulator: no bank conflicts; rows of dz are an odd number of vectors apart.
// Traffic: dz once for each pair of column groups, and what tiles share; weight once a block; dx once.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory; PTX ISA, "Warp-level Matrix
//         Instructions".
#include "half_number.cuh"
#include "shared_place.cuh"

#ifndef TAPS
#define TAPS 4
#endif
#ifndef TOGETHER
#define TOGETHER 2
#endif
enum { MOST_THREADS = 256, DEPTH = 16, EACH = 8 };   // of K: of a step, of a vector
enum { PIXELS = 8, HIGH = 8, WIDE = 16 };            // of a warp: fragments; rows, pixels of a row
enum { COLUMNS = 8, PAIRS = (TAPS + 1) / 2 };        // columns of a group; pairs of taps
enum { FILTER = PAIRS * WARP * 4 };                  // words of a step, a filter row and a group
enum { ROW = WIDE * COLUMNS + 8, STAGED = HIGH * ROW };  // of a warp's sums on their way out: rows begin in other banks

struct FirstHalfDataShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, lead_h, lead_w, shift_h, shift_w;
    int first_h, first_w;       // u of the first pixel
    int taps_h, steps;          // filter rows that a phase has at most; steps of K
    int numbers, of_row, all;   // of dx at one u of a row; groups of columns: of a phase of rows, of all
    int high, wide;             // u of a tile
    int rows, columns;          // of dz under it
    int pitch, plane;           // vectors from row to row, and from 8 of K to the next
    int tiles, tiles_per_block;
    int pairs;                  // whether two numbers of dx are a word in memory
    Divisor by_tiles_w, by_tiles_h, by_columns, by_across, by_of_row, by_taps_h, by_groups;
};

// A group of columns: its phase of rows, its first number of dx at a u, how many it has.
struct Group {
    int phase, first, count;
    __device__ __forceinline__ Group(const FirstHalfDataShape& g, int number) : first(number), count(0) {
        phase = g.by_of_row.split(first);
        first *= COLUMNS;
        if (number < g.all) count = min((int)COLUMNS, g.numbers - first);
    }
    __device__ __forceinline__ int filter_row(const FirstHalfDataShape& g, int j) const {
        return j * g.stride_h + phase - g.lead_h;
    }
    __device__ __forceinline__ bool has(const FirstHalfDataShape& g, int j) const {
        return count > 0 && (unsigned)filter_row(g, j) < (unsigned)g.R;
    }
};

// A block's tile: its image, its first u. Worked out again where it is asked for: sums leave few registers to hold it.
struct Tile {
    int n, u_h, u_w;
    __device__ __forceinline__ Tile(const FirstHalfDataShape& g, int number) {
#ifndef GPUNN_EMULATOR
        asm volatile("" : "+r"(number));
#endif
        u_w = blockIdx.x * g.tiles_per_block + number;
        u_h = g.by_tiles_w.split(u_w);
        n = g.by_tiles_h.split(u_h);
        u_h = g.first_h + u_h * g.high, u_w = g.first_w + u_w * g.wide;
    }
};

// Where a warp's first row and u lie in a tile.
struct WarpPlace {
    int down, across;
    __device__ __forceinline__ WarpPlace(const FirstHalfDataShape& g, int thread) : across(thread / WARP) {
        down = g.by_across.split(across) * HIGH;
        across *= WIDE;
    }
};

// With q = lane / 4 and t = lane % 4, a lane has in fragment i the columns 2 t and 2 t + 1 of row q, at u = i and 8 + i.
struct Sums {
    float of[TOGETHER][PIXELS][4];

    // Adds a filter row to groups FROM to TO - 1: `filter` and `seen`, this lane's row of dz under the last tap, are places in
    // `filters` and in `patch`.
    template <int FROM, int TO>
    __device__ __forceinline__ void add_products(const number* patch, int seen, const unsigned* filters, int filter) {
        Vector<unsigned, 4> b[TOGETHER][PAIRS];
#pragma unroll
        for (int z = FROM; z < TO; ++z)
#pragma unroll
            for (int pair = 0; pair < PAIRS; ++pair) b[z][pair] = load<4>(filters + filter + z * FILTER + pair * WARP * 4);
#pragma unroll
        for (int at = 0; at < PIXELS + TAPS - 1; ++at) {
            // Reads do not move across it. Else ptxas reads so much ahead that it spills what is needed after the loop.
            if (at % 2 == 1) __syncwarp();
            unsigned a[4];
            ldmatrix_x4(a, patch + seen + at * EACH);
#pragma unroll
            for (int z = FROM; z < TO; ++z)
#pragma unroll
                for (int tap = 0; tap < TAPS; ++tap) {
                    const int i = at + tap - (TAPS - 1);
                    if (i < 0 || i >= PIXELS) continue;
                    const unsigned mine[2] = {b[z][tap / 2].v[tap % 2 * 2], b[z][tap / 2].v[tap % 2 * 2 + 1]};
#if NUMBER == BFLOAT16
                    mma_m16n8k16_bf16(of[z][i], a, mine);
#else
                    mma_m16n8k16_f16(of[z][i], a, mine);
#endif
                }
        }
    }
};

// One number of dx by its formula: number `at` of row h.
__device__ __forceinline__ float one_sum(const number* __restrict__ dz, const number* __restrict__ weight,
                                      const FirstHalfDataShape& g, int n, int h, int at) {
    const int w = at / g.C, c = at % g.C;
    float sum = 0;
    for (int r = 0; r < g.R; ++r) {
        const int below = h + g.shift_h - g.lead_h - r, p = below / g.stride_h;
        if (below < 0 || p * g.stride_h != below || p >= g.P) continue;
        for (int s = 0; s < g.S; ++s) {
            const int right = w + g.shift_w - g.lead_w - s, q = right / g.stride_w;
            if (right < 0 || q * g.stride_w != right || q >= g.Q) continue;
            const number* of = dz + ((size_t)(n * g.P + p) * g.Q + q) * g.K;
            for (int k = 0; k < g.K; ++k) sum += value_of(of[k]) * value_of(weight[((k * g.R + r) * g.S + s) * g.C + c]);
        }
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 2)
conv2d_first_half_backward_data(unsigned short* __restrict__ dx, const unsigned short* __restrict__ dz,
                                const unsigned short* __restrict__ weight, const unsigned short* __restrict__ more,
                                FirstHalfDataShape g) {
    DYNAMIC_SHARED(unsigned, filters);
    const int filter_row = g.S * g.C, first = blockIdx.y * TOGETHER;
    number* patch = reinterpret_cast<number*>(filters + g.steps * g.taps_h * TOGETHER * FILTER);
    for (int i = threadIdx.x; i < g.steps * g.taps_h * TOGETHER * FILTER; i += blockDim.x) {
        const int part = i % 4, owner = i / 4 % WARP, tap = i / (4 * WARP) % PAIRS * 2 + part / 2;
        int z = i / FILTER;
        int j = g.by_groups.split(z);
        const int step = g.by_taps_h.split(j), k = step * DEPTH + part % 2 * 8 + owner % 4 * 2;
        const Group group(g, first + z);
        const int column = owner / 4, e = (tap * g.stride_w - g.lead_w) * g.C + group.first + column;
        unsigned word = 0;
        if (tap < TAPS && k < g.K && column < group.count && group.has(g, j) && (unsigned)e < (unsigned)filter_row) {
            const number* from = weight + (k * g.R + group.filter_row(g, j)) * filter_row + e;
            word = (unsigned)from[g.R * filter_row] << 16 | from[0];
        }
        filters[i] = word;
    }
    // A lane gives the row of one fragment's part: 8 rows of dz, 8 u further on, or 8 of K further on.
    const WarpPlace in_tile(g, threadIdx.x);
    const int row = threadIdx.x % 8, right = threadIdx.x / 8 % 2 * PIXELS, plane = threadIdx.x / 16 % 2;
    const int mine = (plane * g.plane + (in_tile.down + row + g.taps_h - 1) * g.pitch + in_tile.across + right) * EACH;
    for (int number = 0; number < g.tiles_per_block; ++number) {
        if (number + blockIdx.x * g.tiles_per_block >= g.tiles) break;
        Sums sums = {};
        for (int step = 0; step < g.steps; ++step) {
            __syncthreads();  // what was there before has been read
            const Tile tile(g, number);
#pragma unroll 1  // nothing waits for a copy here, and sums leave few registers
            for (int i = threadIdx.x; i < g.rows * g.columns * 2; i += blockDim.x) {
                int column = i / 2;
                const int line = g.by_columns.split(column), k = step * DEPTH + i % 2 * EACH;
                const int p = tile.u_h - (g.taps_h - 1) + line, q = tile.u_w - (TAPS - 1) + column;
                const bool inside = (unsigned)p < (unsigned)g.P && (unsigned)q < (unsigned)g.Q && k < g.K;
                cp_async_16(patch + (i % 2 * g.plane + line * g.pitch + column) * EACH,
                            dz + (inside ? ((tile.n * g.P + p) * g.Q + q) * g.K + k : 0), inside ? 16 : 0);
            }
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();
            int filter = step * g.taps_h * TOGETHER * FILTER + threadIdx.x % WARP * 4, seen = mine;
#pragma unroll 1
            for (int j = 0; j < g.taps_h; ++j, seen -= g.pitch * EACH, filter += TOGETHER * FILTER) {
                const bool lower = Group(g, first).has(g, j), upper = TOGETHER == 2 && Group(g, first + 1).has(g, j);
                if (lower && upper) sums.add_products<0, TOGETHER>(patch, seen, filters, filter);
                else if (lower) sums.add_products<0, 1>(patch, seen, filters, filter);
                else if (upper) sums.add_products<TOGETHER - 1, TOGETHER>(patch, seen, filters, filter);
            }
        }
        __syncthreads();
        const Tile tile(g, number);
        const int thread = asked_again(), lane = thread % WARP;
        const WarpPlace place(g, thread);
        float* staged = reinterpret_cast<float*>(patch) + thread / WARP * (TOGETHER * STAGED);
#pragma unroll
        for (int z = 0; z < TOGETHER; ++z)
#pragma unroll
            for (int i = 0; i < PIXELS; ++i)
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    store(staged + z * STAGED + lane / 4 * ROW + (half * PIXELS + i) * COLUMNS + lane % 4 * 2,
                          Vector<float, 2>{{sums.of[z][i][half * 2], sums.of[z][i][half * 2 + 1]}});
        __syncwarp();
#pragma unroll 1
        for (int z = 0; z < TOGETHER; ++z) {
            const Group group(g, first + z);
            const int each = g.pairs ? 2 : 1;
#pragma unroll 1
            for (int row = 0; row < HIGH; ++row) {
                const int h = g.stride_h * (tile.u_h + place.down + row) + group.phase - g.shift_h;
                if ((unsigned)h >= (unsigned)g.H) continue;
                const int line = (tile.n * g.H + h) * g.W * g.C;
#pragma unroll 1
                for (int i = lane * each; i < WIDE * group.count; i += WARP * each) {
                    const int u = i / group.count, column = i % group.count;
                    const int at = (g.stride_w * (tile.u_w + place.across + u) - g.shift_w) * g.C + group.first + column;
                    if ((unsigned)at >= (unsigned)(g.W * g.C)) continue;
                    const auto whole = [&](int part) {
                        float v = staged[z * STAGED + row * ROW + u * COLUMNS + column + part];
                        if (v != v) v = one_sum(dz, weight, g, tile.n, h, at + part);
                        return more == nullptr ? v : v + value_of(more[line + at + part]);
                    };
                    if (g.pairs)
                        *reinterpret_cast<unsigned*>(dx + line + at) = pack(whole(0), whole(1));
                    else
                        dx[line + at] = rounded(whole(0));
                }
            }
        }
    }
}
