// conv2d_first_half_weight.cu: the weight gradient of conv2d_first.cu for float16 or bfloat16 by tensor cores, without conversions;
// NUMBER as in half_number.cuh. What conv2d_first_half.cu takes.
//   x (N, H, W, C)   dz (N, P, Q, K), the gradient of y before its ReLU   dweight (K, R, S, C)
// Formula as in conv2d_half.cu; as a product (filters x outputs) (outputs x slots), slots and runs as in first_half.cuh.
// A block brings dz of a tile of outputs, FILTERS of them, to shared memory beside x under it, tile after tile. A step is two runs.
// A warp has PARTS groups of 8 slots of all filters, and does an item of RUNS runs at a time; of a block's warps `across` are side by
// side, `deep` take every deep-th item.
// Slots are words of two numbers; products want the same number of two outputs, so two words are taken apart and paired anew. What is
// beside a filter's numbers in a slot is added up too, and not written.
// TILE: FILTERS. VECTORS as in first_half.cuh.
// Sums are added up warp after warp, then block after block by the last of each FAN blocks: partial (filter tiles, blocks, sums of a
// warp side by side), tickets (filter tiles, TICKETS) of zeros.
// Launch: grid = (blocks, filter tiles), block = WARP * across * deep.
// Bank conflicts: of two where eight slots side by side are of two filter rows, and for many numbers from an output to the next.
// Traffic: dz and x once, a block's sums twice.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory; PTX ISA, "Warp-level Matrix
//         Instructions".
#include "first_half.cuh"

enum { FILTERS = TILE, DOWN = FILTERS / 16, VECTORS_OF_FILTERS = FILTERS / EACH };  // rows of products
enum { RUNS = PARTS == 1 ? 8 : 4, OUTPUTS = RUNS * RUN };  // of an item
enum { FAN = 16, TICKETS = 32 };

// dz of an item in shared memory, in numbers: planes of 16 filters, in which an output has two vectors. All of a lane's vectors are so
// at places known in advance from its first one. Planes are so far apart that vectors side by side in dz are in different banks.
enum { PLANE = OUTPUTS * 16 + (FILTERS == 64 ? 16 : 32), ITEM = DOWN * PLANE };
// Where vector `vector` of output `at` lies: such that 8 outputs' are in different banks.
__device__ __forceinline__ int place_of(int at, int vector) {
    return vector / 2 * PLANE + at * 16 + (vector % 2 ^ at / 4 % 2) * EACH;
}

// Starts to bring dz of a tile, zeros beyond the last output and filter.
__device__ __forceinline__ void take_gradient(number* to, const number* __restrict__ dz, const FirstHalfShape& g,
                                              const Tile& tile, int first) {
    for (int i = threadIdx.x; i < g.items * OUTPUTS * VECTORS_OF_FILTERS; i += blockDim.x) {
        const int vector = i % VECTORS_OF_FILTERS, at = i / VECTORS_OF_FILTERS, k = first + vector * EACH;
        const RunPlace of = run_place(g, at / OUTPUTS);
        const int run = at / RUN % RUNS, down = down_of(g, run);
        const int p = tile.p + of.row + down, q = tile.q + of.column + (run - down * g.across) * RUN + at % RUN;
        const bool inside = p < g.P && q < g.Q && k < g.K;
        const number* from = dz + (inside ? (((size_t)tile.n * g.P + p) * g.Q + q) * g.K + k : 0);
        cp_async_16(to + at / OUTPUTS * ITEM + place_of(at % OUTPUTS, vector), from, inside ? 16 : 0);
    }
}

// With g = lane / 4 and t = lane % 4, a lane has of 16 filters and of each number of 8 slots the sums of filters g and g + 8, and of
// slots 2 t and 2 t + 1.
struct Sums {
    enum { COUNT = DOWN * PARTS * 2 * 4 };
    float of[DOWN][PARTS][2][4];

    // Of an item's outputs. In bytes from `shared`: `filters` is where the lane's vector of its first outputs and filters lies, `item`
    // where the item's place is written, `words` the lane's words under the first two outputs of the tile. `run` leads from an item's
    // first run to the others.
    __device__ __forceinline__ void add_products(const char* shared, int filters, int item, const int (&words)[2][PARTS],
                                                 const int (&run)[RUNS]) {
        const int place = *reinterpret_cast<const int*>(shared + item);
        int at[2][PARTS];
#pragma unroll
        for (int n = 0; n < PARTS; ++n) at[0][n] = settled(place + words[0][n]), at[1][n] = settled(place + words[1][n]);
#pragma unroll
        for (int step = 0; step < RUNS / 2; ++step) {
            unsigned b[PARTS][2][2];
#pragma unroll
            for (int n = 0; n < PARTS; ++n)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const unsigned first = word(shared, at[0][n] + run[step * 2 + half]);
                    const unsigned second = word(shared, at[1][n] + run[step * 2 + half]);
                    b[n][0][half] = __byte_perm(first, second, 0x5410);  // both lower halves
                    b[n][1][half] = __byte_perm(first, second, 0x7632);  // both upper ones
                }
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
                unsigned a[4];
                ldmatrix_x4_trans(a, shared + (filters + (i * PLANE + step * 2 * RUN * 16) * 2));
#pragma unroll
                for (int n = 0; n < PARTS; ++n)
#pragma unroll
                    for (int which = 0; which < 2; ++which) {
#if NUMBER == BFLOAT16
                        mma_m16n8k16_bf16(of[i][n][which], a, b[n][which]);
#else
                        mma_m16n8k16_f16(of[i][n][which], a, b[n][which]);
#endif
                    }
            }
        }
    }
    // In memory the same four of all `threads` lie side by side.
    __device__ __forceinline__ void leave(float* to, int threads) const {
#pragma unroll
        for (int i = 0; i < COUNT / 4; ++i) {
            Vector<float, 4> mine;
#pragma unroll
            for (int c = 0; c < 4; ++c) mine.v[c] = of[i / (PARTS * 2)][i / 2 % PARTS][i % 2][c];
            store(to + i * threads * 4, mine);
        }
    }
    __device__ __forceinline__ void take(const float* from, int threads) {
#pragma unroll
        for (int i = 0; i < COUNT / 4; ++i) {
            const Vector<float, 4> more = load<4>(from + i * threads * 4);
#pragma unroll
            for (int c = 0; c < 4; ++c) of[i / (PARTS * 2)][i / 2 % PARTS][i % 2][c] += more.v[c];
        }
    }
};

extern "C" __global__ void __launch_bounds__(PARTS < 3 ? 160 : 256, PARTS < 3 ? 3 : 1)
conv2d_first_half_backward_weight(unsigned short* __restrict__ dweight, float* __restrict__ partial,
                                  INOUT unsigned* __restrict__ tickets, const unsigned short* __restrict__ dz,
                                  const unsigned short* __restrict__ x, FirstHalfShape g, int across, int deep) {
    DYNAMIC_SHARED(number, gradient);
    int* places = reinterpret_cast<int*>(gradient + g.items * ITEM);
    number* patch = reinterpret_cast<number*>(places + (g.items + 3) / 4 * 4);
    const int lane = threadIdx.x % WARP, warp = number_of_warp(), part = warp % across, depth = warp / across;
    const int first = blockIdx.y * FILTERS;
    // All places are bytes from here, which is one addition in a load; from the first byte on ptxas works out anew where that is.
    const char* shared = reinterpret_cast<const char*>(places);
    const int to_gradient = -g.items * ITEM * 2, to_patch = (int)(reinterpret_cast<const char*>(patch) - shared);
    for (int i = threadIdx.x; i < g.items; i += blockDim.x) places[i] = run_place(g, i).at;
    int run[RUNS];
#pragma unroll
    for (int i = 0; i < RUNS; ++i) run[i] = run_from_first(g, i);
    // The lane's words: of slot g of each group, under outputs 2 t and 2 t + 1 of a run.
    int words[2][PARTS];
#pragma unroll
    for (int n = 0; n < PARTS; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
            words[e][n] =
                to_patch + Slot(g, (part * PARTS + n) * STEP + lane / 4).place(g) + output_place(g, lane % 4 * 2 + e);
    const int mine = place_of(lane % 8 + lane / 16 * 8, lane / 8 % 2) * 2 + to_gradient;
    Sums sums = {};
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int at = blockIdx.x * g.tiles_per_block; at < last; ++at) {
        const Tile tile(g, at);
        __syncthreads();  // the tile before has been read
        take_patch(patch, x, g, tile, blockDim.x);
        take_gradient(gradient, dz, g, tile, first);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        int filters = mine + depth * ITEM * 2;
#pragma unroll 1
        for (int item = depth * 4; item < g.items * 4; item += deep * 4, filters += deep * ITEM * 2)
            sums.add_products(shared, filters, item, words, run);
    }
    // The warps that are one behind the other, in their order.
    float* warps = reinterpret_cast<float*>(gradient);
    const int threads = across * WARP, thread = part * WARP + lane;
    for (int d = 1; d < deep; ++d) {
        __syncthreads();  // what lies there has been read
        if (depth == d) sums.leave(warps + thread * 4, threads);
        __syncthreads();
        if (depth == 0) sums.take(warps + thread * 4, threads);
    }
    // The blocks: the last of each FAN adds those, and the last of the results those.
    float* left = partial + (size_t)blockIdx.y * gridDim.x * threads * Sums::COUNT + thread * 4;
    unsigned* ticket = tickets + blockIdx.y * TICKETS;
    size_t apart = (size_t)Sums::COUNT * threads;
    for (int number = blockIdx.x, count = gridDim.x; count > 1;) {
        const int fan = number / FAN, members = min((int)FAN, count - fan * FAN);
        if (depth == 0) sums.leave(left + number * apart, threads);
        if (!last_block(ticket + fan, members)) return;
        if (depth == 0) {
            sums = {};
#pragma unroll 1
            for (int m = 0; m < members; ++m) sums.take(left + (fan * FAN + m) * apart, threads);
        }
        // What is left next replaces the first of these sums, which no one needs any more.
        ticket += (count + FAN - 1) / FAN;
        number = fan, count = (count + FAN - 1) / FAN, apart *= FAN;
    }
    if (depth > 0) return;
#pragma unroll
    for (int n = 0; n < PARTS; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
            const Slot slot(g, (part * PARTS + n) * STEP + lane % 4 * 2 + e);
#pragma unroll
            for (int which = 0; which < 2; ++which) {
                if ((slot.mask >> 16 * which & 0xffffu) == 0) continue;
#pragma unroll
                for (int i = 0; i < DOWN * 2; ++i) {
                    const int k = first + i * 8 + lane / 4;
                    if (k < g.K)
                        dweight[((size_t)k * g.R + slot.row) * g.length + slot.number + which] =
                            rounded(sums.of[i / 2][n][which][i % 2 * 2 + e]);
                }
            }
        }
}
