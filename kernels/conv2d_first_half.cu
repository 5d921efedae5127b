// conv2d_first_half.cu: conv2d_first.cu for float16 or bfloat16 by tensor cores, without conversions; NUMBER as in
// half_number.cuh. One group; up to 4 channels, K in vectors of 8, filter elements in a row side by side.
//   x (N, H, W, C)   y, dz (N, P, Q, K)   weight, dweight (K, R, S, C)   bias (K) or null
// Formulas as in conv2d_half.cu.
// A filter row of S * C numbers is contiguous in x, under each output. It is cut into slots of two numbers that are one word of
// shared memory, as tensor cores take them: 147 numbers of a filter of 7 x 7 x 3 become 77 slots. The first number of a row, or
// its last, may be alone in its slot: the other one is masked, not multiplied by zero, which would turn infinity into NaN. Such
// slots come last, and what is left of the last step of 8 slots is no slot.
// A block brings the part of x under a tile of outputs to shared memory once, and keeps its filters there, each lane's words side
// by side. Runs of 8 outputs in a row are the rows of products. Where a run's outputs begin at odd numbers, every second one
// reads a copy of x that lies one number further on.
//   forward         (outputs x slots) (slots x filters): a warp has RUNS runs and COLUMNS filters at a time. Filters are in such
//                   an order that a lane's 8 sums of an output are neighbours in y.
// VEC: x comes in vectors of 8 numbers, or number by number.
// Launch: forward grid = (blocks, filter tiles), block = THREADS.
// Resident on an SM of sm_90: 12 warps, or 16 with 32 columns.
// Bank conflicts: of two where four slots side by side are of two filter rows; none elsewhere, but for 16 or more numbers from an
//         output to the next.
// Traffic: forward x, y once and weight once a block.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory; PTX ISA, "Warp-level Matrix
//         Instructions".
#include "half_number.cuh"

enum { THREADS = 128, WARPS = THREADS / WARP };
enum { RUN = 8, RUNS = 6, DOWN = RUNS / 2, ACROSS = COLUMNS / 8 };  // outputs of a run; a warp's: runs, pairs of them, columns
enum { EACH = 8, STEP = 8 };                                        // numbers of a vector; slots of a step
enum { FILTER_WORDS = COLUMNS * STEP };                             // of a step of COLUMNS filters

struct FirstHalfShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h;
    int line, length;           // numbers of a row of x, of a filter row
    int high, wide;             // outputs of a tile
    int rows, pitch;            // of x under it; numbers from row to row
    int copies, apart;          // of x; numbers from one to the next
    int lead, front, full;      // numbers before the first output's; alone in the first slot; whole slots of a filter row
    int plain, steps;           // steps of whole slots; all
    int tiles, tiles_per_block;
    int groups;                 // of COLUMNS filters, of a block
    Divisor by_tiles_P, by_tiles_Q, by_runs, by_full, by_parts;  // runs of a row; vectors or words of x in a row
};

struct Tile {
    int n, p, q;
    __device__ __forceinline__ Tile(const FirstHalfShape& g, int number) {
        q = number;
        number = g.by_tiles_Q.split(q);
        p = number;
        n = g.by_tiles_P.split(p);
        p *= g.high, q *= g.wide;
    }
};

// A slot: its filter row, its first number there, and which of both it has.
struct Slot {
    int row, number;
    unsigned mask;
    __device__ __forceinline__ Slot(const FirstHalfShape& g, int slot) : row(0), number(g.front), mask(0) {
        if (slot < g.R * g.full) {
            number = slot;
            row = g.by_full.split(number);
            number = g.front + 2 * number;
            mask = ~0u;
            return;
        }
        slot -= g.R * g.full;
        if (g.front != 0) {
            if (slot < g.R) {
                row = slot, number = -1, mask = 0xffff0000u;
                return;
            }
            slot -= g.R;
        }
        if ((g.length - g.front) % 2 != 0 && slot < g.R) row = slot, number = g.length - 1, mask = 0xffffu;
    }
    // Bytes from the first output's place in shared memory.
    __device__ __forceinline__ int place(const FirstHalfShape& g) const {
        return (row * g.dilation_h * g.pitch + g.lead + number) * 2;
    }
};

// Starts to bring x under a tile to `patch`, zeros around the image.
__device__ __forceinline__ void take_patch(number* patch, const number* __restrict__ x, const FirstHalfShape& g,
                                           const Tile& tile) {
    const int top = tile.p * g.stride_h - g.pad_h, first = (tile.q * g.stride_w - g.pad_w) * g.C - g.lead;
    const number* image = x + (size_t)tile.n * g.H * g.line;
    const int parts = g.rows * (int)g.by_parts.value;
#if VEC == 8
    for (int i = threadIdx.x; i < parts; i += THREADS) {
        int at = i;
        const int row = g.by_parts.split(at), h = top + row, from = first + at * EACH;
        const bool inside = (unsigned)h < (unsigned)g.H && (unsigned)from < (unsigned)g.line;
        cp_async_16(patch + row * g.pitch + at * EACH, image + (inside ? (size_t)h * g.line + from : 0), inside ? 16 : 0);
    }
    cp_async_commit();
    cp_async_wait<0>();
#else
    for (int copy = 0; copy < g.copies; ++copy)
#pragma unroll 4
        for (int i = threadIdx.x; i < parts; i += THREADS) {
            int at = i;
            const int row = g.by_parts.split(at), h = top + row, from = first + copy + at * 2;
            const bool there = (unsigned)h < (unsigned)g.H;
            const number* of = image + (there ? (size_t)h * g.line : 0);
            const unsigned low = there && (unsigned)from < (unsigned)g.line ? of[from] : 0;
            const unsigned high = there && (unsigned)(from + 1) < (unsigned)g.line ? of[from + 1] : 0;
            *reinterpret_cast<unsigned*>(patch + copy * g.apart + row * g.pitch + at * 2) = high << 16 | low;
        }
#endif
}

__device__ __forceinline__ unsigned word(const char* shared, int at) {
    return *reinterpret_cast<const unsigned*>(shared + at);
}

// Where in the patch the first slot of this lane's output lies, of run `i` of the tile, in bytes.
__device__ __forceinline__ int run_place(const FirstHalfShape& g, int i) {
    const int row = g.by_runs.split(i);
    const int at = (i * RUN + (int)threadIdx.x % WARP / 4) * g.stride_w * g.C;
    const int copy = g.copies > 1 ? at & 1 : 0;
    return (row * g.stride_h * g.pitch + at - copy + copy * g.apart) * 2;
}

// With g = lane / 4 and t = lane % 4, a lane has of each 8 outputs the g-th, and of each 32 columns, eight n-th and
// (n + 1)-th apart, sums of filters 8 t to 8 t + 7.
struct Sums {
    float of[DOWN][ACROSS][4];

    template <bool MASKED>
    __device__ __forceinline__ void add_products(const char* patch, const int (&run)[RUNS], const unsigned* filters,
                                                 const int* places, const unsigned* masks) {
        const Vector<int, 2> place = load<2>(places);
        unsigned a[DOWN][4];
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int part = 0; part < 4; ++part) a[i][part] = word(patch, run[2 * i + part % 2] + place.v[part / 2]);
        if (MASKED) {
            const Vector<unsigned, 2> mask = load<2>(masks);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int part = 0; part < 4; ++part) a[i][part] &= mask.v[part / 2];
        }
#pragma unroll
        for (int j = 0; j < ACROSS / 2; ++j) {
            const Vector<unsigned, 4> b = load<4>(filters + j * WARP * 4);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const unsigned mine[2] = {b.v[2 * half], b.v[2 * half + 1]};
#if NUMBER == BFLOAT16
                    mma_m16n8k16_bf16(of[i][2 * j + half], a[i], mine);
#else
                    mma_m16n8k16_f16(of[i][2 * j + half], a[i], mine);
#endif
                }
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, COLUMNS == 64 ? 3 : 4)
conv2d_first_half_forward(unsigned short* __restrict__ y, const unsigned short* __restrict__ x,
                          const unsigned short* __restrict__ weight, const unsigned short* __restrict__ bias,
                          FirstHalfShape g, int relu) {
    DYNAMIC_SHARED(unsigned, filters);
    const int depth = g.R * g.length, first = blockIdx.y * g.groups * COLUMNS;
    float* offsets = reinterpret_cast<float*>(filters + g.groups * g.steps * FILTER_WORDS);
    int* places = reinterpret_cast<int*>(offsets + g.groups * COLUMNS);
    unsigned* masks = reinterpret_cast<unsigned*>(places + g.steps * STEP);
    number* patch = reinterpret_cast<number*>(masks + g.steps * STEP);
    const int lane = threadIdx.x % WARP;
    // A lane's two slots of a step lie side by side: t and t + 4.
    for (int i = threadIdx.x; i < g.steps * STEP; i += THREADS) {
        const Slot slot(g, i / STEP * STEP + i % STEP / 2 + i % 2 * 4);
        places[i] = slot.place(g);
        masks[i] = slot.mask;
    }
    for (int i = threadIdx.x; i < g.groups * COLUMNS; i += THREADS)
        offsets[i] = bias != nullptr && first + i < g.K ? value_of(bias[first + i]) : 0.0f;
    // Of a step, a thread brings words of one slot: of k 0 to 7 or 8 to 15, of one column of 8, in every other 8 columns.
    static_assert(THREADS == WARP * 4, "a thread for each word of a pair of 8 columns");
    for (int group = 0; group < g.groups; ++group)
#pragma unroll 2
        for (int step = 0; step < g.steps; ++step) {
            const int owner = threadIdx.x / 4, part = threadIdx.x % 4;
            const Slot slot(g, step * STEP + owner % 4 + part % 2 * 4);
            unsigned* to = filters + (group * g.steps + step) * FILTER_WORDS + threadIdx.x;
#pragma unroll
            for (int j = 0; j < ACROSS / 2; ++j) {
                const int k = first + group * COLUMNS + j / 2 * 32 + owner / 8 * 8 + j % 2 * 4 + part / 2 * 2 + owner / 4 % 2;
                const number* from = weight + (size_t)k * depth + slot.row * g.length + slot.number;
                const unsigned low = k < g.K && (slot.mask & 0xffffu) != 0 ? from[0] : 0;
                const unsigned high = k < g.K && (slot.mask >> 16) != 0 ? from[1] : 0;
                to[j * THREADS] = high << 16 | low;
            }
        }
    const int per_row = g.by_runs.value, runs = g.high * per_row, items = (runs + RUNS - 1) / RUNS;
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int number = blockIdx.x * g.tiles_per_block; number < last; ++number) {
        const Tile tile(g, number);
        __syncthreads();  // the tile before has been read
        take_patch(patch, x, g, tile);
        __syncthreads();
        for (int item = threadIdx.x / WARP; item < items; item += WARPS) {
            int run[RUNS];
#pragma unroll
            for (int i = 0; i < RUNS; ++i) run[i] = run_place(g, min(item * RUNS + i, runs - 1));
            for (int group = 0; group < g.groups; ++group) {
                Sums sums = {};
                const unsigned* filter = filters + group * g.steps * FILTER_WORDS + lane * 4;
                const int* place = places + lane % 4 * 2;
                const unsigned* mask = masks + lane % 4 * 2 + g.plain * STEP;
                const char* from = reinterpret_cast<const char*>(patch);
#pragma unroll 1
                for (int step = 0; step < g.plain; ++step, filter += FILTER_WORDS, place += STEP)
                    sums.add_products<false>(from, run, filter, place, nullptr);
#pragma unroll 1
                for (int step = g.plain; step < g.steps; ++step, filter += FILTER_WORDS, place += STEP, mask += STEP)
                    sums.add_products<true>(from, run, filter, place, mask);
#pragma unroll
                for (int i = 0; i < RUNS; ++i) {
                    int column = item * RUNS + i;
                    if (column >= runs) continue;
                    const int p = tile.p + g.by_runs.split(column), q = tile.q + column * RUN + lane / 4;
                    if (p >= g.P || q >= g.Q) continue;
                    const int k = first + group * COLUMNS + lane % 4 * 8;
                    unsigned short* out = y + (((size_t)tile.n * g.P + p) * g.Q + q) * g.K + k;
#pragma unroll
                    for (int part = 0; part < COLUMNS / 32; ++part) {
                        if (k + part * 32 >= g.K) continue;
                        Vector<float, 4> more[2];
#pragma unroll
                        for (int j = 0; j < 2; ++j)
                            more[j] = load<4>(offsets + group * COLUMNS + part * 32 + lane % 4 * 8 + j * 4);
                        Vector<unsigned, 4> v;
#pragma unroll
                        for (int j = 0; j < 4; ++j) {
                            float low = sums.of[i / 2][part * 4 + j][i % 2 * 2] + more[j / 2].v[j % 2 * 2];
                            float high = sums.of[i / 2][part * 4 + j][i % 2 * 2 + 1] + more[j / 2].v[j % 2 * 2 + 1];
                            if (relu && low < 0) low = 0;
                            if (relu && high < 0) high = 0;
                            v.v[j] = pack(low, high);
                        }
                        store(reinterpret_cast<unsigned*>(out + part * 32), v);
                    }
                }
            }
        }
    }
}
