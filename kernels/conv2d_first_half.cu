// conv2d_first_half.cu: the forward pass of conv2d_first.cu for float16 or bfloat16 by tensor cores, without conversions; NUMBER as
// in half_number.cuh. One group; up to 4 channels, K in vectors of 8, filter elements in a row side by side.
//   x (N, H, W, C)   y (N, P, Q, K)   weight (K, R, S, C)   bias (K) or null
// Formula as in conv2d_half.cu; as a product (outputs x slots) (slots x filters), slots and runs as in first_half.cuh.
// A block brings the part of x under a tile of outputs to shared memory once, and keeps its filters there, each lane's words side
// by side. A warp has an item of RUNS runs and COLUMNS filters at a time, those in such an order that a lane's 8 sums of an output are
// neighbours in y. Of a slot with one number the other one is masked: a weight of zero would make NaN of an infinity.
// TILE: COLUMNS. VECTORS as in first_half.cuh.
// Launch: grid = (blocks, filter tiles), block = THREADS.
// Resident on an SM of sm_90: 12 warps, or 16 with 32 columns.
// Bank conflicts: of two where four slots side by side are of two filter rows; none elsewhere, but for more than 8 numbers from an
//         output to the next.
// Traffic: x, y once and weight once a block.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory; PTX ISA, "Warp-level Matrix
//         Instructions".
#include "first_half.cuh"

enum { THREADS = 128, WARPS = THREADS / WARP };
enum { RUNS = 6, COLUMNS = TILE, DOWN = RUNS / 2, ACROSS = COLUMNS / 8 };  // of a warp: runs, filters; products
enum { FILTER_WORDS = COLUMNS * STEP };                                    // of a step of COLUMNS filters

// With g = lane / 4 and t = lane % 4, a lane has of each 8 outputs the g-th, and of each 32 columns, eight n-th and
// (n + 1)-th apart, sums of filters 8 t to 8 t + 7.
struct Sums {
    float of[DOWN][ACROSS][4];

    // In bytes from `shared`: `x` is the lane's output of an item's first run, `slots` its two slots, `filters` its words. `run` leads
    // from the first run to the others.
    template <bool MASKED>
    __device__ __forceinline__ void add_products(const char* shared, int x, const int (&run)[RUNS], int slots, int filters) {
        Vector<int, MASKED ? 4 : 2> slot = load<MASKED ? 4 : 2>(reinterpret_cast<const int*>(shared + slots));
        unsigned a[DOWN][4];
#pragma unroll
        for (int which = 0; which < 2; ++which) {
            const int at = settled(x + slot.v[which]);
#pragma unroll
            for (int i = 0; i < RUNS; ++i) a[i / 2][which * 2 + i % 2] = word(shared, at + run[i]);
        }
        if (MASKED)
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int part = 0; part < 4; ++part) a[i][part] &= slot.v[2 + part / 2];
#pragma unroll
        for (int j = 0; j < ACROSS / 2; ++j) {
            const Vector<unsigned, 4> b = load<4>(reinterpret_cast<const unsigned*>(shared + (filters + j * WARP * 16)));
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
    int* slots = reinterpret_cast<int*>(offsets + g.groups * COLUMNS);
    Vector<int, 4>* now = reinterpret_cast<Vector<int, 4>*>(slots + g.steps * STEP * 2);
    number* patch = reinterpret_cast<number*>(now + 1);
    const int lane = threadIdx.x % WARP;
    // The places and masks of a lane's two slots of a step, t and t + 4, are a vector.
    for (int i = threadIdx.x; i < g.steps * STEP / 2; i += THREADS) {
        const Slot slot(g, i / 4 * STEP + i % 4), other(g, i / 4 * STEP + i % 4 + 4);
        store(slots + i * 4, Vector<int, 4>{{slot.place(g), other.place(g), (int)slot.mask, (int)other.mask}});
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
    int run[RUNS];
#pragma unroll
    for (int i = 0; i < RUNS; ++i) run[i] = run_from_first(g, i);
    // All places are bytes from here, which is one addition in a load; from the first byte on ptxas works out anew where that is.
    const char* shared = reinterpret_cast<const char*>(slots);
    const int to_filters = -(g.groups * g.steps * FILTER_WORDS + g.groups * COLUMNS) * 4;
    const int to_patch = (int)(reinterpret_cast<const char*>(patch) - shared);
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int at = blockIdx.x * g.tiles_per_block; at < last; ++at) {
        const Tile tile(g, at);
        __syncthreads();  // the tile before has been read
        take_patch(patch, x, g, tile, THREADS);
        cp_async_commit();
        cp_async_wait<0>();
        if (threadIdx.x == 0) *now = {{tile.n, tile.p, tile.q}};  // which are out of the registers so until they are needed
        __syncthreads();
        for (int item = number_of_warp(); item < g.items; item += WARPS) {
            const RunPlace of = run_place(g, item);
            for (int group = 0; group < g.groups; ++group) {
                Sums sums = {};
                const int mine = to_patch + of.at + output_place(g, lane / 4);
                int filter = to_filters + (group * g.steps * FILTER_WORDS + lane * 4) * 4, slot = lane % 4 * 16;
                int step = 0;
#pragma unroll 1
                for (; step < g.plain; ++step, slot += STEP * 8, filter += FILTER_WORDS * 4)
                    sums.add_products<false>(shared, mine, run, slot, filter);
#pragma unroll 1
                for (; step < g.steps; ++step, slot += STEP * 8, filter += FILTER_WORDS * 4)
                    sums.add_products<true>(shared, mine, run, slot, filter);
                const Vector<int, 4> here = *now;
#pragma unroll
                for (int i = 0; i < RUNS; ++i) {
                    const int down = down_of(g, i), right = i - down * g.across;
                    const int p = here.v[1] + of.row + down, q = here.v[2] + of.column + right * RUN + lane / 4;
                    if (p >= g.P || q >= g.Q) continue;
                    const int k = first + group * COLUMNS + lane % 4 * 8;
                    unsigned short* out = y + (((size_t)here.v[0] * g.P + p) * g.Q + q) * g.K + k;
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
