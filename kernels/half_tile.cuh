// half_tile.cuh: one tile of a matrix product, C = A B, of 16-bit numbers by tensor cores: in memory, in shared memory and in
// registers they stay as they are, sums are float, and what comes out is rounded once. NUMBER as in
// half_number.cuh. SPLIT: whether reductions are cut into several slices. mma_tile.cuh is the same for float.
//
// A block computes BM x BN elements of C, a warp 64 x 64 of them: 128 sums a lane. It walks the reduction in steps of BK through
// STAGES stages of shared memory (tensor_walk.cuh). A copy is a vector of 8 numbers, so rows of A and B in memory begin at
// multiples of 16 bytes and are whole vectors. Rows and columns beyond C's are copies of its last: their sums go nowhere. The
// first step is the one that may be short.
//
// An SM holds 8 warps, not 12 or more, on all architectures: shared memory, not latency, is what is short. An instruction's
// operands take 1 pass over the banks with 64 x 64 (the copies' writes half of one more), 1.5 with 64 x 32, for which 128
// registers and 16 warps would do; an H200 has time for 1.7 by mma.sync's rate. And a warp has 32 products in flight that do
// not wait for one another.
//
// Fragments come from ldmatrix, without a conversion: of panels whose numbers lie along the reduction ("upright") as they are,
// of those that lie along C ("lying") transposed on the way. Shared memory holds vectors in a swizzled order (`place`), in
// which neither the copies' writes nor the 8 rows of a matrix meet in a bank.
//
// No product is rounded: those of two numbers of 16 bits are exact in float, infinity and NaN are what IEEE has. Tensor cores
// round towards zero where they add, which the emulator does not: far below 16 bits.
// Source: PTX ISA, "Warp-level Matrix Instructions"; NVIDIA's CUTLASS describes the hierarchy ("Efficient GEMM in CUDA").
#ifndef GPUNN_HALF_TILE_CUH
#define GPUNN_HALF_TILE_CUH
#include "half_number.cuh"

enum { BM = ROWS, BN = COLUMNS, BK = 32, STAGES = 3, STAGE = (BM + BN) * BK, PLACE = 1 };
enum { EACH = 8 };  // numbers of a vector
enum { WARP_ROWS = 64, WARP_COLUMNS = 64, WARPS_ACROSS = BN / WARP_COLUMNS };
enum { THREADS = WARP * (BM / WARP_ROWS) * WARPS_ACROSS, BLOCKS = 256 / THREADS };
enum { DOWN = WARP_ROWS / 16, ACROSS = WARP_COLUMNS / 8, DEPTH = 16 };  // of instructions: a warp's, and how deep one is
static_assert(BM % WARP_ROWS == 0 && BN % WARP_COLUMNS == 0 && BLOCKS >= 1, "whole warps");

#include "tensor_walk.cuh"

typedef Vector<number, EACH> Numbers;

// ---- panels in shared memory ----------------------------------------------------------------------------

// Places are numbers of 16 bits from the begin of shared memory, the panel's own included, which is a multiple of 128. What is
// different from step to step is put into them when they are used: addresses that are worked out ahead take registers.
//
// An instruction takes a 16 x 16 piece of A as four matrices: rows 0 to 7, 8 to 15, and the same 8 places further on in k;
// of B 16 x 8. So four matrices of B are two pieces, side by side: k 0 to 7, 8 to 15 of the first, then of the second.

// LENGTH rows of A, or columns of B, i in memory with k contiguous: element (i, k). Two rows fill all banks once.
template <int LENGTH>
struct UprightPanel {
    __device__ __forceinline__ static int place(int i, int k) {
        return i * BK + ((k / EACH ^ i / 2 % 4) * EACH | k % EACH);
    }
    // Where the row lies that this lane names, of matrices from row or column `first` on.
    __device__ __forceinline__ static int place_in_a(int first) {
        const int lane = threadIdx.x % WARP;
        return place(first + lane % 16, lane / 16 * 8);
    }
    __device__ __forceinline__ static int place_in_b(int first) {
        const int lane = threadIdx.x % WARP;
        return place(first + lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8);
    }
    // Four matrices, 16 * group rows or columns further on, in the step-th DEPTH of the panel.
    __device__ __forceinline__ static void read(const number* stages, int at, int group, int step, unsigned (&found)[4]) {
        ldmatrix_x4(found, stages + (at ^ step * DEPTH) + group * 16 * BK);
    }
};

// The same where i is contiguous in memory. A matrix is turned on the way: its rows are of one k each. `first` is a multiple of
// a warp's rows or columns.
template <int LENGTH>
struct LyingPanel {
    __device__ __forceinline__ static int place(int i, int k) {
        return k * LENGTH + ((i / EACH ^ k % 8) * EACH | i % EACH);
    }
    __device__ __forceinline__ static int place_in_a(int first) {
        const int lane = threadIdx.x % WARP;
        return place(first + lane / 8 % 2 * 8, lane % 8 + lane / 16 * 8);
    }
    __device__ __forceinline__ static int place_in_b(int first) {
        const int lane = threadIdx.x % WARP;
        return place(first + lane / 16 * 8, lane % 16);
    }
    __device__ __forceinline__ static void read(const number* stages, int at, int group, int step, unsigned (&found)[4]) {
        ldmatrix_x4_trans(found, stages + (at ^ group * 16) + step * DEPTH * LENGTH);
    }
};

// ---- copies ---------------------------------------------------------------------------------------------

__device__ __forceinline__ void copy_vector(number* shared, const number* global, bool inside) {
    cp_async_16(shared, global, inside ? 16 : 0);
}

// Brings a panel whose Source is contiguous along the reduction.
// Source: `Row row(int i)` of any i >= 0; `void seek(int k)`; `void advance(int by)`; `const number* at(const Row&, bool&
// inside)`, the address at k, if `inside`, which it may set to false: the numbers are zero then, and nothing is read.
template <int LENGTH, class Source>
struct UprightCopies : UprightPanel<LENGTH> {
    enum { PER_ROW = BK / EACH, STEP = THREADS / PER_ROW, LOADS = LENGTH / STEP };
    static_assert(STEP % 8 == 0 && LENGTH % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Row row[LOADS];

    __device__ __forceinline__ UprightCopies(const Source& from, int first) : source(from) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) row[l] = source.row(first + threadIdx.x / PER_ROW + l * STEP);
    }
    __device__ __forceinline__ void seek(int k) { source.seek(k + threadIdx.x % PER_ROW * EACH); }
    template <bool WHOLE>
    __device__ __forceinline__ void copy(number* stages, int panel, int length) {
        const bool wanted = WHOLE || (int)threadIdx.x % PER_ROW * EACH < length;
        number* to = stages + panel + this->place(threadIdx.x / PER_ROW, threadIdx.x % PER_ROW * EACH);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            bool inside = wanted;
            const number* from = source.at(row[l], inside);
            copy_vector(to + l * STEP * BK, from, inside);
        }
        source.advance(WHOLE ? (int)BK : length);
    }
};

// Brings a panel whose Source is contiguous along C's rows or columns. A thread brings vectors of one k only, so that it finds
// the place of one.
// Source: `Column column(int i)` of any i >= 0; `void seek(int k)`; `void advance(int by)`; `const number* at(const Column&,
// bool& inside)` as above.
template <int LENGTH, class Source>
struct LyingCopies : LyingPanel<LENGTH> {
    enum { PER_K = THREADS / BK, LOADS = LENGTH / EACH / PER_K };
    static_assert((PER_K == 4 || PER_K == 2) && LENGTH % (EACH * PER_K) == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Column column[LOADS];

    __device__ __forceinline__ LyingCopies(const Source& from, int first) : source(from) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) column[l] = source.column(first + (threadIdx.x % PER_K + l * PER_K) * EACH);
    }
    // Eight threads that write at once have 2 or 4 k: such as lie in different banks.
    __device__ __forceinline__ static int k() {
        const int at = threadIdx.x / PER_K;
        return at / 8 * 8 + (PER_K == 4 ? at % 2 * 4 + at / 2 % 4 : at % 4 * 2 + at / 4 % 2);
    }
    __device__ __forceinline__ void seek(int to) { source.seek(to + k()); }
    template <bool WHOLE>
    __device__ __forceinline__ void copy(number* stages, int panel, int length) {
        const bool wanted = WHOLE || k() < length;
        const int mine = panel + this->place(threadIdx.x % PER_K * EACH, k());
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            bool inside = wanted;
            const number* from = source.at(column[l], inside);
            copy_vector(stages + (mine ^ l * PER_K * EACH), from, inside);
        }
        source.advance(WHOLE ? (int)BK : length);
    }
};

// ---- sums -----------------------------------------------------------------------------------------------

// With g = lane / 4 and t = lane % 4, a lane has of each 16 x 8 elements of the warp's 64 x 64 those of rows g and g + 8 and
// columns 2 t and 2 t + 1.
struct Accumulator {
    float sum[DOWN][ACROSS][4];

    __device__ __forceinline__ static int warp_top() { return threadIdx.x / WARP / WARPS_ACROSS * WARP_ROWS; }
    __device__ __forceinline__ static int warp_left() { return threadIdx.x / WARP % WARPS_ACROSS * WARP_COLUMNS; }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[i][j][c] = 0;
    }

    template <class A, class B>
    __device__ __forceinline__ void add_products(const number* stages, int a, int b) {
        a += A::place_in_a(warp_top());
        b += B::place_in_b(warp_left());
#pragma unroll
        for (int step = 0; step < BK / DEPTH; ++step) {
            unsigned right[ACROSS / 2][4];
#pragma unroll
            for (int j = 0; j < ACROSS / 2; ++j) B::read(stages, b, j, step, right[j]);
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
                unsigned left[4];
                A::read(stages, a, i, step, left);
#pragma unroll
                for (int j = 0; j < ACROSS; ++j) {
                    const unsigned mine[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
#if NUMBER == BFLOAT16
                    mma_m16n8k16_bf16(sum[i][j], left, mine);
#else
                    mma_m16n8k16_f16(sum[i][j], left, mine);
#endif
                }
            }
        }
    }

    // All sums, as vectors in an order of their own in which threads lie side by side.
    __device__ __forceinline__ static int place(int i, int j) { return ((i * ACROSS + j) * THREADS + threadIdx.x) * 4; }
    __device__ __forceinline__ void leave(float* partial) const {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) {
                Vector<float, 4> mine;
#pragma unroll
                for (int c = 0; c < 4; ++c) mine.v[c] = sum[i][j][c];
                store(partial + place(i, j), mine);
            }
    }
    __device__ __forceinline__ void take(const float* partial) {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) {
                const Vector<float, 4> more = load<4>(partial + place(i, j));
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[i][j][c] += more.v[c];
            }
    }

    // Adds a number per column; bias may be null.
    __device__ __forceinline__ void add_bias(const number* __restrict__ bias, int left, int columns) {
        if (bias == nullptr) return;
#pragma unroll
        for (int j = 0; j < ACROSS; ++j) {
            const int n = left + warp_left() + j * 8 + threadIdx.x % 4 * 2;
            if (n >= columns) continue;
            const Vector<number, 2> more = load<2>(bias + n);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[i][j][c] += value_of(more.v[c % 2]);
        }
    }

    // Four lanes have two columns each of a row's 4 x 8; then v[s] is what lane s had in v[this one]: a vector of 8 columns.
    __device__ __forceinline__ static void gather(float (&v)[4][2]) {
#pragma unroll
        for (int bit = 1; bit < 4; bit *= 2) {
            const bool high = threadIdx.x & bit;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (j & bit) continue;
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const float found = __shfl_xor_sync(FULL_MASK, high ? v[j][e] : v[j | bit][e], bit);
                    if (high)
                        v[j][e] = found;
                    else
                        v[j | bit][e] = found;
                }
            }
        }
    }

    // Row m of C begins where target.find(m) says, if it does, at a multiple of 8 numbers, and so does each row of `more`, laid
    // out as C, which is added; it may be null. 8 divides `columns`. All lanes call it.
    template <class Target>
    __device__ __forceinline__ void write(number* __restrict__ c, const Target& target, const Tile& tile, int columns,
                                          bool relu, const number* __restrict__ more) const {
        const int lane = threadIdx.x % WARP;
#pragma unroll
        for (int r = 0; r < 2 * DOWN; ++r) {
            size_t start;
            const bool there = target.find(tile.top + warp_top() + r / 2 * 16 + r % 2 * 8 + lane / 4, start);
#pragma unroll
            for (int group = 0; group < ACROSS / 4; ++group) {
                float v[4][2];
#pragma unroll
                for (int j = 0; j < 4; ++j)
#pragma unroll
                    for (int e = 0; e < 2; ++e) v[j][e] = sum[r / 2][group * 4 + j][r % 2 * 2 + e];
                gather(v);
                const int n = tile.left + warp_left() + group * 32 + lane % 4 * EACH;
                if (!there || n >= columns) continue;
                Numbers other;
                if (more != nullptr) other = load<EACH>(more + start + n);
                Vector<unsigned, 4> out;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
#pragma unroll
                    for (int e = 0; e < 2; ++e) {
                        if (relu && v[j][e] < 0) v[j][e] = 0;
                        if (more != nullptr) v[j][e] = value_of(other.v[2 * j + e]) + v[j][e];
                    }
                    out.v[j] = pack(v[j][0], v[j][1]);
                }
                store(reinterpret_cast<unsigned*>(c + start + n), out);
            }
        }
    }
};

// One slice of a tile; the grid's z counts slices.
struct Share {
    Slices slices;
    int k_begin, k_end;
    __device__ __forceinline__ Share(const Slices& of, int depth) : slices(of) { slices.range(depth, k_begin, k_end); }
};

// A share of C's tile `number`, and all of it in the block that comes last. bias and more may be null.
template <class A, class B, class Target>
__device__ __forceinline__ void product(number* __restrict__ c, float* __restrict__ partial, unsigned* __restrict__ tickets,
                                        const A& a, const B& b, const Share& share, const Tile& tile, int of_tile,
                                        const Target& target, int rows, int columns, const number* __restrict__ bias,
                                        int relu, const number* __restrict__ more) {
    Accumulator sums;
    multiply(sums, a, b, share.k_begin, share.k_end);
#if SPLIT
    if (share.slices.count > 1) {  // as is known: without the question, ptxas spills a number of gemm_half_nn for sm_120
        const bool inside = sums.warp_top() < rows - tile.top && sums.warp_left() < columns - tile.left;
        if (!combine(sums, partial, tickets, share.slices, of_tile, inside)) return;
    }
#endif
    sums.add_bias(bias, tile.left, columns);
    sums.write(c, target, tile, columns, relu, more);
}

// ---- Sources that are plain matrices --------------------------------------------------------------------

// data[i][k], k contiguous, for i from `top` on; 128 * stride < 2^30: a Row is bytes from there, in one register.
struct MatrixRows {
    typedef unsigned Row;
    const number *data, *now;
    int top, last, stride;
    __device__ __forceinline__ MatrixRows(const number* d, int t, int rows, int s)
        : data(d), now(d), top(t), last(rows - 1), stride(s) {}
    __device__ __forceinline__ Row row(int i) const { return (unsigned)(min(i, last) - top) * (unsigned)stride * 2u; }
    __device__ __forceinline__ void seek(int k) { now = data + (size_t)top * stride + k; }
    __device__ __forceinline__ void advance(int by) { now += by; }
    __device__ __forceinline__ const number* at(const Row& row, bool&) const {
        return (const number*)((const char*)now + row);
    }
};

// data[k][i], i contiguous, in whole vectors.
struct MatrixColumns {
    typedef unsigned Column;  // bytes
    const number *data, *now;
    int columns, stride;
    __device__ __forceinline__ MatrixColumns(const number* d, int n, int s) : data(d), now(d), columns(n), stride(s) {}
    __device__ __forceinline__ Column column(int i) const { return (unsigned)min(i, columns - EACH) * 2u; }
    __device__ __forceinline__ void seek(int k) { now = data + (size_t)k * stride; }
    __device__ __forceinline__ void advance(int by) { now += (size_t)by * stride; }
    __device__ __forceinline__ const number* at(const Column& column, bool&) const {
        return (const number*)((const char*)now + column);
    }
};

#endif  // GPUNN_HALF_TILE_CUH
