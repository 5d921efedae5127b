// gemm_tile.cuh: one tile of a matrix product, C = A B, in shared memory and registers. Matrix products,
// convolutions and their gradients differ only in where an element of A or B comes from: that is a
// Source (gemm_sources.cuh), which a panel brings to shared memory (gemm_panels.cuh); everything else is here.
//
// A block computes BM x BN elements of C. It walks the reduction in steps of BK: all threads
// together bring a BM x BK panel of A and a BK x BN panel of B to shared memory (with m or n contiguous,
// so that a thread reads its 4 neighbours as one vector, or as rows that lie, of which it reads 16 bytes at once);
// then each adds the products for its own TM x TN elements, held in registers. The next panels travel from global memory
// while the current ones are multiplied, and land in the other half of the double buffer: one barrier a step.
//
// What is not a multiplication is kept out of the loop. The first step is the one that may be short, so that no other
// looks for the end of the reduction. Rows and columns beyond the last read the last one's numbers, which are
// multiplied and never written. A thread holds 8 x 8 elements (tile 32: 8 x 4, doubles with the tile of 64 too): a smaller
// tile has its threads in PARTS instead, each of which multiplies a part of every step; at the end the parts exchange what they
// have.
//
// Registers (float), and with them warps that an SM holds. BLOCKS: gemm_nt's, 16 warps (tile 64: 12, tile 32: 16); with the
// tile of 128 it has 128 registers then, which are enough where NT_FITS, else 8 warps. COLUMN_BLOCKS: where a panel lies
// along C, which with the tile of 128 spills under 128 registers: 8 warps there. GRADIENT_BLOCKS: where dy and y are both
// on their way, or rows of A are not where the last step left them (convolutions): 8 warps (tile 32: 12), as all of that is
// held while the products before it are made, and nothing waits for it; rows that lie take registers too (LyingPanel).
// BOTH_BLOCKS: a convolution's gradients in one launch, 8 warps. Doubles take what they need.
//
// A reduction may be split into slices, a block each; the last block of a tile to finish adds what all of them left,
// in the order of the slices. So a small product fills a large card, in one launch, with the same bits every time.
// Design: NVIDIA's CUTLASS describes this hierarchy ("Efficient GEMM in CUDA"); sizes are ours.
#ifndef GPUNN_GEMM_TILE_CUH
#define GPUNN_GEMM_TILE_CUH
#include "common.cuh"

// What becomes a part of several kernels. For the emulator it is a function of its own, and simply compiled: g++ takes a
// third of the time.
#ifdef GPUNN_EMULATOR
#define PRODUCT __attribute__((noinline, optimize("O1")))
#else
#define PRODUCT __forceinline__
#endif

enum { WIDE = sizeof(real) / 4 };  // doubles: half as many a step, in the same memory
// Whether the elements are doubles, for the preprocessor.
#define KIND_float 0
#define KIND_double 1
#define KIND_OF(type) KIND_##type
#define IS_DOUBLE(type) KIND_OF(type)
#if VEC == 4 && (__CUDA_ARCH__ == 900 || __CUDA_ARCH__ == 1000)
enum { NT_FITS = 1 };
#else
enum { NT_FITS = 0 };
#endif
#if TILE == 128
enum { BM = 128, BN = 128, MOST_BK = 16 / WIDE, TM = 8, TN = 8, PARTS = 1 };
enum { BLOCKS = WIDE == 1 && NT_FITS ? 2 : 1, COLUMN_BLOCKS = 1, GRADIENT_BLOCKS = 1, BOTH_BLOCKS = 1 };
#elif TILE == 64
#if IS_DOUBLE(REAL)  // 8 x 8 of them do not fit in registers
enum { BM = 64, BN = 64, MOST_BK = 32 / WIDE, TM = 8, TN = 4, PARTS = 1 };
#else
enum { BM = 64, BN = 64, MOST_BK = 32 / WIDE, TM = 8, TN = 8, PARTS = 2 };
#endif
enum { BLOCKS = WIDE == 1 ? 3 : 1, COLUMN_BLOCKS = BLOCKS, GRADIENT_BLOCKS = WIDE == 1 ? 2 : 1 };
enum { BOTH_BLOCKS = GRADIENT_BLOCKS };
#elif TILE == 32  // for few columns: the 20 filters of a first layer
enum { BM = 64, BN = 32, MOST_BK = 32 / WIDE, TM = 8, TN = 4, PARTS = 2 };
enum { BLOCKS = WIDE == 1 ? 4 : 1, COLUMN_BLOCKS = BLOCKS, GRADIENT_BLOCKS = WIDE == 1 ? 3 : 1 };
enum { BOTH_BLOCKS = WIDE == 1 ? 2 : 1 };
#else
#error "TILE must be 128, 64 or 32"
#endif
// BK: at most 8 vectors, so that a warp's elements of a row's vectors can lie in 32 different banks.
enum { BK = MOST_BK < 8 * VEC ? MOST_BK : 8 * VEC, PER_ROW = BK / VEC };
enum { TEAM = (BM / TM) * (BN / TN), THREADS = TEAM * PARTS, KEPT = TM / PARTS };
enum { PER_K = THREADS / BK };   // threads that bring one k of a panel that lies along C
enum { SKEW = WARP / PER_ROW };  // a gap behind every VEC rows of a panel: other banks, and still aligned to 16 bytes
static_assert(BK % (2 * PARTS) == 0 && BM % WARP == 0 && BN % WARP == 0 && SKEW % 4 == 0, "panels");

#include "gemm_panels.cuh"

// Where a block's tile of C lies: its first row and column. Tiles are numbered along the rows of C: neighbours share
// A's panel, which then comes from the L2 cache.
struct Tile {
    int top, left;
};
__device__ __forceinline__ int count_tiles(int rows, int columns) {
    return (rows + BM - 1) / BM * ((columns + BN - 1) / BN);
}
__device__ __forceinline__ Tile tile_at(int number, int columns) {
    const int across = (columns + BN - 1) / BN;
    return {number / across * BM, number % across * BN};
}

#include "slices.cuh"

// This thread's TM x TN elements of C: groups of 4 x 4 spread over the tile, so that the vectors a
// warp reads from shared memory lie side by side: 4 of A, 8 of B. Of these a thread keeps KEPT rows in the end.
struct Accumulator {
    enum { ACROSS = BN / TN, DOWN_GROUPS = TM / 4, ACROSS_GROUPS = TN / 4, WARPS_ACROSS = ACROSS / 8 };
    enum { PARTIAL = BM * BN + BM };  // numbers that a slice's block leaves behind: its elements of C, its row sums
    enum { FAN = 16, TICKETS = 16 };  // enough for 240 slices
    enum { QUADS = BM / 4, SUMMERS = THREADS / QUADS };  // threads that sum the same 4 rows
    enum { EXCHANGE = PARTS == 1 ? 0 : THREADS * KEPT * TN };  // numbers in shared memory
    static_assert(PARTS <= 2 && ACROSS % 8 == 0 && TEAM % WARP == 0, "threads of a team");
    real sum[TM][TN];
    Vector<real, 4> total;  // of A's 4 rows that this thread sums, where rows are summed: every SUMMERS-th k
    real row_sum;           // of A's row thread() in the tile, in the end

    __device__ __forceinline__ static int part() { return PARTS == 1 ? 0 : thread() / TEAM; }
    __device__ __forceinline__ static int down() {
        return thread() % TEAM / WARP / WARPS_ACROSS * 4 + thread() % WARP / 8;
    }
    __device__ __forceinline__ static int across() {
        return thread() / WARP % WARPS_ACROSS * 8 + thread() % 8;
    }
    __device__ __forceinline__ static int multiplied_row(int i) {
        return i / 4 * (BM / DOWN_GROUPS) + down() * 4 + i % 4;
    }
    // Row i of those kept.
    __device__ __forceinline__ static int row(int i) {
        return PARTS == 1 ? multiplied_row(i) : part() * (BM / DOWN_GROUPS) + down() * 4 + i;
    }
    __device__ __forceinline__ static int column(int group) { return group * (BN / ACROSS_GROUPS) + across() * 4; }
    __device__ __forceinline__ void clear() {
        row_sum = 0;
#pragma unroll
        for (int j = 0; j < 4; ++j) total.v[j] = 0;
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j) sum[i][j] = 0;
    }
    // This part's share of a step; a and b are where this thread's first elements are.
    template <class A, class B>
    __device__ __forceinline__ void add_products(const real* a, const real* b) {
        enum { AHEAD = (int)A::AHEAD > (int)B::AHEAD ? (int)A::AHEAD : (int)B::AHEAD };
#if IS_DOUBLE(REAL)
#pragma unroll(VEC == 4 ? 2 / AHEAD : 1)  // what ptxas would read ahead for more does not fit in registers
#else
#pragma unroll
#endif
        for (int k = 0; k < BK / PARTS; k += AHEAD) {
            real u[DOWN_GROUPS][AHEAD][4], w[ACROSS_GROUPS][AHEAD][4];
#pragma unroll
            for (int i = 0; i < DOWN_GROUPS; ++i) A::read(u[i], a, k, i * (BM / DOWN_GROUPS));
#pragma unroll
            for (int j = 0; j < ACROSS_GROUPS; ++j) B::read(w[j], b, k, j * (BN / ACROSS_GROUPS));
#pragma unroll
            for (int ahead = 0; ahead < AHEAD; ++ahead)
#pragma unroll
                for (int i = 0; i < TM; ++i)
#pragma unroll
                    for (int j = 0; j < TN; ++j) sum[i][j] += u[i / 4][ahead][i % 4] * w[j / 4][ahead][j % 4];
        }
    }
    // Both parts' sums: the first half of the rows goes to part 0, the second to part 1. shared: EXCHANGE numbers.
    __device__ __forceinline__ void join(real* shared) {
        const bool first = part() == 0;
#pragma unroll
        for (int i = 0; i < KEPT; ++i)
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group) {
                Vector<real, 4> theirs;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const real low = sum[i][group * 4 + j], high = sum[i + TM - KEPT][group * 4 + j];
                    theirs.v[j] = first ? high : low;
                }
                store(shared + place(i, group), theirs);
            }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < KEPT; ++i)
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group) {
                const Vector<real, 4> more = load<4>(shared + place(i, group) + (first ? TEAM : -TEAM) * 4);
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const real low = sum[i][group * 4 + j], high = sum[i + TM - KEPT][group * 4 + j];
                    sum[i][group * 4 + j] = (first ? low : high) + more.v[j];
                }
            }
    }
    __device__ __forceinline__ void add_rows(const real* a) {
        static_assert(SUMMERS % VEC == 0, "place(k + mine) is place(k) + place(mine)");
        a += Panel<BM>::place(thread() / QUADS) + thread() % QUADS * 4;
#pragma unroll
        for (int k = 0; k < BK; k += SUMMERS) {
            const Vector<real, 4> more = load<4>(a + Panel<BM>::place(k));
#pragma unroll
            for (int j = 0; j < 4; ++j) total.v[j] += more.v[j];
        }
    }
    // What threads have summed apart comes together, through the panels, which are free. All threads of the block call it.
    __device__ __forceinline__ void finish(real* shared, bool sum_rows = false);
    // shared: SUMMERS * BM numbers.
    __device__ __forceinline__ void finish_rows(real* shared) {
        store(shared + thread() * 4, total);
        __syncthreads();
        if (thread() >= BM) return;
        for (int k = 0; k < SUMMERS; ++k) row_sum += shared[k * BM + thread()];
    }

    // The elements of C inside `rows` x `columns` of the tile, as vectors in an order of their own in which threads
    // lie side by side; after them the row sums.
    __device__ __forceinline__ static int place(int i, int group) {
        return ((i * ACROSS_GROUPS + group) * THREADS + thread()) * 4;
    }
    __device__ __forceinline__ void leave(real* partial, int rows, int columns, bool sum_rows) const {
#pragma unroll
        for (int i = 0; i < KEPT; ++i)
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group)
                if (row(i) < rows && column(group) < columns) {
                    Vector<real, 4> mine;
#pragma unroll
                    for (int j = 0; j < 4; ++j) mine.v[j] = sum[i][group * 4 + j];
                    store(partial + place(i, group), mine);
                }
        if (sum_rows && thread() < min((int)BM, rows)) partial[BM * BN + thread()] = row_sum;
    }
    __device__ __forceinline__ void take(const real* partial, int rows, int columns, bool sum_rows) {
#pragma unroll
        for (int i = 0; i < KEPT; ++i)
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group)
                if (row(i) < rows && column(group) < columns) {
                    const Vector<real, 4> more = load<4>(partial + place(i, group));
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[i][group * 4 + j] += more.v[j];
                }
        if (sum_rows && thread() < min((int)BM, rows)) row_sum += partial[BM * BN + thread()];
    }

    // Adds up the slices of tile `number`; false in all blocks but one, which has the tile's sums then. The last of each
    // FAN slices adds those, and the last of the results those: nobody goes through more than FAN at a time.
    // partial (tiles, slices, PARTIAL), tickets (tiles, TICKETS). All threads of the block call it.
    __device__ __forceinline__ bool combine(real* __restrict__ partial, unsigned* __restrict__ tickets,
                                            const Slices& slices, int number, int rows, int columns, bool sum_rows) {
        if (TILE == 128) return true;  // only small products are split
        real* first = partial + (size_t)number * slices.count * PARTIAL;
        unsigned* ticket = tickets + number * TICKETS;
        size_t apart = PARTIAL;
        for (int mine = slices.mine, count = slices.count; count > 1;) {
            const int group = mine / FAN, groups = (count + FAN - 1) / FAN, members = min((int)FAN, count - group * FAN);
            leave(first + mine * apart, rows, columns, sum_rows);
            if (!last_block(ticket + group, members)) return false;
            clear();
            const real* from = first + group * FAN * apart;
#pragma unroll 2
            for (int s = 0; s < members; ++s) take(from + s * apart, rows, columns, sum_rows);
            mine = group, count = groups, ticket += groups, apart *= FAN;
        }
        return true;
    }

    // Four columns' bias, 0 where there is none. It is aligned where its first number is: n is a multiple of four.
    static __device__ __forceinline__ Vector<real, 4> columns_of(const real* __restrict__ bias, int n, int columns) {
        if (bias != nullptr && n + 4 <= columns && reinterpret_cast<size_t>(bias) % 16 == 0) return load<4>(bias + n);
        Vector<real, 4> found;
#pragma unroll
        for (int j = 0; j < 4; ++j) found.v[j] = bias != nullptr && n + j < columns ? bias[n + j] : real(0);
        return found;
    }

    // Row m of C begins where target.find(m) says, if it does; c itself is aligned to 16 bytes, what
    // follows need not be. bias per column, may be null. more, laid out as C, is added to it; may be null; where it is
    // not, VEC divides `columns` and all starts of rows.
    template <class Target>
    __device__ __forceinline__ void write(real* __restrict__ c, const Target& target, const Tile& tile, int columns,
                                          const real* __restrict__ bias, bool relu,
                                          const real* __restrict__ more = nullptr) const {
        Vector<real, 4> added[ACROSS_GROUPS];
#pragma unroll
        for (int group = 0; group < ACROSS_GROUPS; ++group)
            added[group] = columns_of(bias, tile.left + column(group), columns);
#pragma unroll
        for (int i = 0; i < KEPT; ++i) {
            size_t start;
            if (!target.find(tile.top + row(i), start)) continue;
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group) {
                const int n = tile.left + column(group);
                const size_t at = start + n;
                Vector<real, 4> out;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    out.v[j] = sum[i][group * 4 + j] + added[group].v[j];
                    if (relu && out.v[j] < 0) out.v[j] = 0;
                }
                if (more != nullptr) {
#pragma unroll
                    for (int j = 0; j < 4; j += VEC)
                        if (n + j < columns) {
                            const Load other = load<VEC>(more + at + j);
#pragma unroll
                            for (int i = 0; i < VEC; ++i) out.v[j + i] = other.v[i] + out.v[j + i];
                        }
                }
                if (n + 4 <= columns && at % 4 == 0) {
                    store(c + at, out);
                } else {
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        if (n + j < columns) c[at + j] = out.v[j];
                }
            }
        }
    }
    // sums[row of A] for those below `rows`.
    __device__ __forceinline__ void write_row_sums(real* __restrict__ sums, int top, int rows) const {
        const int m = top + thread();
        if (thread() < BM && m < rows) sums[m] = row_sum;
    }
};

// The panels in shared memory, A's and B's, each twice; afterwards what parts exchange. A function of its own, so that a
// kernel whose blocks compute one or another product has one set of them.
template <int PANELS>
__device__ __forceinline__ real* shared_panels() {
    __shared__ __align__(16) real panels[2 * PANELS > Accumulator::EXCHANGE ? 2 * PANELS : Accumulator::EXCHANGE];
    return panels;
}
template <class A, class B>
__device__ __forceinline__ real* panels_of() {
    return shared_panels<(int)A::Shared::SIZE + (int)B::Shared::SIZE>();
}

__device__ __forceinline__ void Accumulator::finish(real* shared, bool sum_rows) {
    if (PARTS > 1) join(shared);
    if (sum_rows) {
        if (PARTS > 1) __syncthreads();
        finish_rows(shared);
    }
}

// Adds the products of panels A and B over k_begin <= k < k_end, in increasing k by each part; with sum_rows also A's
// rows. All threads of the block call it.
template <class A, class B>
__device__ __forceinline__ void add_product(Accumulator& c, A& a, B& b, int k_begin, int k_end, bool sum_rows = false) {
    typedef typename A::Shared ShareA;
    typedef typename B::Shared ShareB;
    enum { B_PANEL = ShareA::SIZE, PANELS = (int)ShareA::SIZE + (int)ShareB::SIZE };
    real* panels = panels_of<A, B>();
    const int first = k_end > k_begin ? (k_end - k_begin - 1) % BK + 1 : 0;
    a.seek(k_begin);
    b.seek(k_begin);
    a.fetch(first);
    b.fetch(first);
    a.put(panels, first);
    b.put(panels + B_PANEL, first);
    __syncthreads();
    a.seek(k_begin + first);
    b.seek(k_begin + first);
    const real* a_now = panels + ShareA::first(c.part(), c.multiplied_row(0));
    const real* b_now = panels + B_PANEL + ShareB::first(c.part(), c.column(0));
    real* next = panels + PANELS;
    int turn = PANELS;  // to the other half of the double buffer
    for (int left = k_end - k_begin; left > 0; left -= BK) {
        const bool more = left > BK;
        if (more) {
            a.fetch();  // in flight during the products
            b.fetch();
        }
        c.template add_products<ShareA, ShareB>(a_now, b_now);
        if (sum_rows) c.add_rows(next - turn);
        if (more) {
            a.put(next);  // whose readers all passed the barrier of the step before
            b.put(next + B_PANEL);
            a.advance();
            b.advance();
            __syncthreads();
        }
        a_now += turn, b_now += turn, next -= turn, turn = -turn;
    }
    __syncthreads();  // the panels are free
}

// The products of panels A and B over k_begin <= k < k_end.
template <class A, class B>
__device__ __forceinline__ void multiply(Accumulator& c, A& a, B& b, int k_begin, int k_end, bool sum_rows = false) {
    c.clear();
    add_product(c, a, b, k_begin, k_end, sum_rows);
    c.finish(panels_of<A, B>(), sum_rows);
}

#include "gemm_sources.cuh"

#endif  // GPUNN_GEMM_TILE_CUH
