// mma_tile.cuh: one tile of a matrix product, C = A B, by tensor cores. What gemm_tile.cuh is for FFMA: a Source says
// where an element of A or B comes from, and everything else is here. Arrays and sums are float. MODE says what is
// multiplied:
//
//   TF32     operands rounded to tf32, 10 bits after the point: errors of at most 2^-11 each
//   TF32X3   each operand cut in two; low * high + high * low + high * high: nearly as exact as float
//   BF16     operands rounded to bf16, 7 bits after the point: errors of at most 2^-9 each
//
// An element of C that comes out infinite or NaN is computed again by FFMA, as IEEE has it: to tensor cores, infinity times
// a number whose low part is 0 is NaN, and the largest numbers round to infinity.
//
// A block computes BM x BN elements of C, a warp 64 x 64 of them: 128 sums a lane. It walks the reduction in steps of BK
// through STAGES stages of shared memory, which asynchronous copies fill two steps ahead; one barrier a step. The first
// step is the one that may be short, so only the copies before the loop ask where the reduction ends. Rows and columns
// beyond C's are copies of its last: their sums go nowhere. A copy is a vector of 4, so rows of A and B in memory begin at
// multiples of 16 bytes. Single numbers would be 4 times as many copies, whose addresses do not fit the registers beside the
// sums: such operands are gemm_tile.cuh's.
//
// Fragments. With g = lane / 4 and t = lane % 4, an instruction wants element g of 8 rows at t of 4 places in k. Which row
// and which place these are is free, as long as A, B and C agree. Here a lane's rows are 4 spread(g) + (0, 1, 2, 3) of 32:
// - where rows are contiguous in memory, four of them are one vector;
// - a lane's columns of C are vectors too, and neighbours' lie side by side.
// In k a lane has t and t + 4 of 8 (tf32), or 4 t .. 4 t + 3 of 16 (bf16). Shared memory holds vectors of 4 in a swizzled
// order (`place`), in which no access conflicts: the 8 lanes that are served at once are of two g and all t, or of all g.
//
// Operands are rounded each time they are read into a fragment. A warp of 64 x 64 shares that among most products: of its
// main loop on sm_90 25 to 44 % are HMMA (benchmarks/results/instruction_mix.tsv). Hence 255 registers a thread, and 8 warps
// on an SM, not 12 (4 on sm_86, 89 and 120, which have shared memory for one block); but each of them has 32 products in
// flight that do not wait for one another.
// Tensor cores round towards zero where they add (Ootomo and Yokota 2022, "Recovering single precision accuracy from Tensor
// Cores"), which the emulator does not: on a GPU, sums of TF32X3 over thousands lose about two digits of float's seven.
#ifndef GPUNN_MMA_TILE_CUH
#define GPUNN_MMA_TILE_CUH
#include "common.cuh"
#include "tensor_core.cuh"

#define TF32 1
#define TF32X3 3
#define BF16 2
#if MODE != TF32 && MODE != TF32X3 && MODE != BF16
#error "MODE must be TF32, TF32X3 or BF16"
#endif

typedef real number;
enum { BM = 128, BN = 128 };
enum { BK = 32, STAGES = 3, WARP_TILE = 64, WARPS_ACROSS = BN / WARP_TILE };
enum { COPY = 4 };  // numbers of an asynchronous copy
enum { THREADS = WARP * (BM / WARP_TILE) * WARPS_ACROSS, STAGE = (BM + BN) * BK };  // STAGE: numbers
// Places in shared memory are counted in bytes: in numbers, each use shifts them. TF32X3 does, as it spills otherwise.
enum { PLACE = MODE == TF32X3 ? 1 : sizeof(real) };
enum { DEPTH = MODE == BF16 ? 16 : 8, OWN = DEPTH / 4 };  // of an instruction: its k, and how many of them a lane has

#include "tensor_walk.cuh"

// ---- panels in shared memory ----------------------------------------------------------------------------

// Which of 8 vectors the lanes of g read: 0 4 1 5 2 6 3 7. So two neighbouring columns of an instruction, which one lane has
// in C, are 16 columns apart, and four lanes' vectors lie side by side.
__device__ __forceinline__ int spread(int g) { return g / 2 + g % 2 * 4; }

// Places are counted from the begin of shared memory, the panel's own included, which is a multiple of 32 numbers. What is
// different from step to step is put into them when they are used: addresses that are worked out ahead take registers.
template <class Number>
__device__ __forceinline__ Number* at_place(Number* stages, int place) {
    return (int)PLACE == 1 ? stages + place : (Number*)((const char*)stages + place);
}

// LENGTH rows of A, or columns of B, i in memory with k contiguous: element (i, k).
template <int LENGTH>
struct UprightPanel {
    enum { HALF = 32 * BK * PLACE };  // how far 32 rows are apart
    __device__ __forceinline__ static int place(int i, int k) {
        return (i * BK + ((k / 4 ^ i / 4 % 8) * 4 | k % 4)) * PLACE;
    }

    // Where this lane reads first of the rows from `first` on, a multiple of 32.
    __device__ __forceinline__ static int lane_place(int first) {
        const int lane = threadIdx.x % WARP;
        if (MODE == BF16) return place(first + 4 * spread(lane / 4), lane % 4 * 4);
        // A matrix is 8 rows of one e and 4 neighbours in k. Lanes 0 to 7 name the rows of e, 8 to 15 those of e + 1, the
        // others the same 4 places further on.
        return place(first + 4 * spread(lane % 8) + lane / 8 % 2, lane / 16 * 4);
    }
    // This lane's part of 32 rows, for one instruction of each 8 of them: own[e][j] is row 4 spread(g) + e at the j-th place
    // that the lane has in k.
    __device__ __forceinline__ static void read(const real* stages, int at, int step, real (&own)[4][OWN]) {
        const real* mine = at_place(stages, at ^ step * DEPTH * PLACE);
#if MODE == BF16
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const Vector<real, 4> found = load<4>(mine + i * BK);
#pragma unroll
            for (int j = 0; j < 4; ++j) own[i][j] = found.v[j];
        }
#else
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
            unsigned found[4];
            ldmatrix_x4(found, mine + i * BK);
#pragma unroll
            for (int j = 0; j < 4; ++j) own[i + j % 2][j / 2] = __uint_as_float(found[j]);
        }
#endif
    }
};

// The same where i is contiguous in memory: element (i, k).
template <int LENGTH>
struct LyingPanel {
    enum { HALF = 32 * PLACE };
    __device__ __forceinline__ static int turn(int k) { return MODE == BF16 ? k / 4 % 4 : k % 4; }
    __device__ __forceinline__ static int place(int i, int k) {
        return (k * LENGTH + ((i / 4 ^ turn(k)) * 4 | i % 4)) * PLACE;
    }
    __device__ __forceinline__ static int lane_place(int first) {
        const int g = threadIdx.x % WARP / 4, t = threadIdx.x % 4;
        return place(first + 4 * spread(g), MODE == BF16 ? 4 * t : t);
    }
    __device__ __forceinline__ static void read(const real* stages, int at, int step, real (&own)[4][OWN]) {
        const real* mine = at_place(stages, at) + step * DEPTH * LENGTH;
#pragma unroll
        for (int j = 0; j < OWN; ++j) {
            const Vector<real, 4> found = load<4>(mine + j * (MODE == BF16 ? 1 : 4) * LENGTH);
#pragma unroll
            for (int e = 0; e < 4; ++e) own[e][j] = found.v[e];
        }
    }
};

// ---- what is multiplied ---------------------------------------------------------------------------------

// What an instruction is given for a row's or column's numbers: two registers, and where there are two parts, two more.
struct Operand {
    unsigned high[2], low[2];
    __device__ __forceinline__ void set(const real (&own)[OWN]) {
#if MODE == BF16
#pragma unroll
        for (int j = 0; j < 2; ++j) high[j] = pack_bf16(own[2 * j], own[2 * j + 1]);
#elif MODE == TF32
        // The hardware cuts off 13 bits. Times 1 + 2^-11 before that, it is off by at most 2^-11 of the number, as after
        // rounding to nearest; numbers of 10 bits stay as they are, and NaN stays NaN. It is one instruction.
#pragma unroll
        for (int j = 0; j < 2; ++j) high[j] = __float_as_uint(own[j] * 1.00048828125f);
#else
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            high[j] = __float_as_uint(own[j] * 1.00048828125f);
            low[j] = __float_as_uint(own[j] - __uint_as_float(high[j] & 0xffffe000u));
        }
#endif
    }
};


// ---- copies ---------------------------------------------------------------------------------------------

__device__ __forceinline__ void copy_vector(real* shared, const real* global, bool inside) {
    cp_async_16(shared, global, inside ? 16 : 0);
}

// Brings a panel whose Source is contiguous along the reduction.
// Source: `Row row(int i)` of any i >= 0; `void seek(int k)`; `void advance(int by)`; `const real* at(const Row&, bool&
// inside)`, the address at k, if `inside`, which it may set to false: the numbers are zero then; `real number(int i, int k)`.
template <int LENGTH, class Source>
struct UprightCopies : UprightPanel<LENGTH> {
    enum { PER_ROW = BK / COPY, STEP = THREADS / PER_ROW, LOADS = LENGTH / STEP };
    static_assert(THREADS % PER_ROW == 0 && LENGTH % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Row row[LOADS];
    int first;

    __device__ __forceinline__ UprightCopies(const Source& from, int at) : source(from), first(at) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) row[l] = source.row(first + threadIdx.x / PER_ROW + l * STEP);
    }
    __device__ __forceinline__ void seek(int k) { source.seek(k + threadIdx.x % PER_ROW * COPY); }
    // Of the panel's row i at k of the reduction.
    __device__ __forceinline__ real number(int i, int k) const { return source.number(first + i, k); }
    // The next BK of the reduction; if it is not WHOLE, `length` of it, and zeros.
    template <bool WHOLE>
    __device__ __forceinline__ void copy(real* stages, int panel, int length) {
        const bool wanted = WHOLE || (int)threadIdx.x % PER_ROW * COPY < length;
        const int mine = panel + this->place(threadIdx.x / PER_ROW, threadIdx.x % PER_ROW * COPY);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            bool inside = wanted;
            const real* from = source.at(row[l], inside);
            // place(l * STEP further)
            copy_vector(at_place(stages, mine ^ l * STEP / 4 % 8 * 4 * PLACE) + l * STEP * BK, from, inside);
        }
        source.advance(WHOLE ? (int)BK : length);
    }
};

// Brings a panel whose Source is contiguous along C's rows or columns.
// Source: `void seek(int k, int i)` for a vector from i on; `const real* at(int ahead, bool& inside)` at k + ahead; the rest as
// above.
template <int LENGTH, class Source>
struct LyingCopies : LyingPanel<LENGTH> {
    enum { PER_K = LENGTH / COPY, STEP = THREADS / PER_K, LOADS = BK / STEP };
    static_assert(THREADS % PER_K == 0 && BK % STEP == 0, "threads must divide the panel evenly");
    Source source;
    int first;

    __device__ __forceinline__ LyingCopies(const Source& from, int at) : source(from), first(at) {}
    __device__ __forceinline__ void seek(int k) {
        source.seek(k + threadIdx.x / PER_K, first + threadIdx.x % PER_K * COPY);
    }
    __device__ __forceinline__ real number(int i, int k) const { return source.number(first + i, k); }
    template <bool WHOLE>
    __device__ __forceinline__ void copy(real* stages, int panel, int length) {
        const int mine = panel + this->place(threadIdx.x % PER_K * COPY, threadIdx.x / PER_K);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int ahead = l * STEP;
            bool inside = WHOLE || (int)threadIdx.x / PER_K + ahead < length;
            const real* from = source.at(ahead, inside);
            copy_vector(at_place(stages, mine ^ this->turn(ahead) * 4 * PLACE) + ahead * LENGTH, from, inside);
        }
        source.advance(WHOLE ? (int)BK : length);
    }
};

// ---- sums -----------------------------------------------------------------------------------------------

// This lane's elements of C: 8 rows of 16 columns. sum[i][j] has four of them, of rows 32 (i / 2) + 4 spread(g) + 2 (i % 2)
// + (0, 1) and columns 32 (j / 4) + 4 t + j % 4 + (0, 16) of the warp's 64 x 64.
struct Accumulator {
    real sum[4][8][4];

    __device__ __forceinline__ static int warp_top() { return threadIdx.x / WARP / WARPS_ACROSS * WARP_TILE; }
    __device__ __forceinline__ static int warp_left() { return threadIdx.x / WARP % WARPS_ACROSS * WARP_TILE; }
    // The tile's row of the lane's row r < 8, and its column of the first of four, group < 4.
    __device__ __forceinline__ static int row(int r) {
        return warp_top() + r / 4 * 32 + spread(threadIdx.x % WARP / 4) * 4 + r % 4;
    }
    __device__ __forceinline__ static int column(int group) {
        return warp_left() + group * 16 + threadIdx.x % 4 * 4;
    }
    // The element of row r in a group of four columns.
    __device__ __forceinline__ real& at(int r, int group, int j) {
        return sum[r / 2][group / 2 * 4 + j][r % 2 * 2 + group % 2];
    }
    __device__ __forceinline__ real at(int r, int group, int j) const {
        return sum[r / 2][group / 2 * 4 + j][r % 2 * 2 + group % 2];
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int r = 0; r < 8; ++r)
#pragma unroll
            for (int n = 0; n < 16; ++n) at(r, n / 4, n % 4) = 0;
    }

    template <class A, class B>
    __device__ __forceinline__ void add_products(const real* stages, int a, int b) {
        a += A::lane_place(warp_top());
        b += B::lane_place(warp_left());
#pragma unroll
        for (int step = 0; step < BK / DEPTH; ++step) {
            Operand right[8];
            real own[4][OWN];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                B::read(stages, b + half * B::HALF, step, own);
#pragma unroll
                for (int e = 0; e < 4; ++e) right[half * 4 + e].set(own[e]);
            }
            // Half of the rows at a time: their operands need registers.
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                Operand left[4];
                A::read(stages, a + half * A::HALF, step, own);
#pragma unroll
                for (int e = 0; e < 4; ++e) left[e].set(own[e]);
#pragma unroll
                for (int pair = 0; pair < 2; ++pair) {
                    const int i = half * 2 + pair;
                    const Operand &u = left[2 * pair], &w = left[2 * pair + 1];
                    const unsigned high[4] = {u.high[0], w.high[0], u.high[1], w.high[1]};
#if MODE == TF32X3
                    const unsigned low[4] = {u.low[0], w.low[0], u.low[1], w.low[1]};
#pragma unroll
                    for (int j = 0; j < 8; ++j) {
                        mma_m16n8k8_tf32(sum[i][j], low, right[j].high);  // the small ones first
                        mma_m16n8k8_tf32(sum[i][j], high, right[j].low);
                        mma_m16n8k8_tf32(sum[i][j], high, right[j].high);
                    }
#else
#pragma unroll
                    for (int j = 0; j < 8; ++j)
#if MODE == TF32
                        mma_m16n8k8_tf32(sum[i][j], high, right[j].high);
#else
                        mma_m16n8k16_bf16(sum[i][j], high, right[j].high);
#endif
#endif
                }
            }
        }
    }

    // Whether all of this lane's sums are finite.
    __device__ __forceinline__ bool finite() const {
        real probe = 0;
#pragma unroll
        for (int r = 0; r < 8; ++r)
#pragma unroll
            for (int n = 0; n < 16; ++n) probe += at(r, n / 4, n % 4) * 0;
        return probe == 0;
    }

    // All sums, as vectors in an order of their own in which threads lie side by side.
    __device__ __forceinline__ static int place(int r, int group) {
        return ((r * 4 + group) * THREADS + threadIdx.x) * 4;
    }
    __device__ __forceinline__ void leave(real* partial) const {
#pragma unroll
        for (int r = 0; r < 8; ++r)
#pragma unroll
            for (int group = 0; group < 4; ++group) {
                Vector<real, 4> mine;
#pragma unroll
                for (int j = 0; j < 4; ++j) mine.v[j] = at(r, group, j);
                store(partial + place(r, group), mine);
            }
    }
    __device__ __forceinline__ void take(const real* partial) {
#pragma unroll
        for (int r = 0; r < 8; ++r)
#pragma unroll
            for (int group = 0; group < 4; ++group) {
                const Vector<real, 4> more = load<4>(partial + place(r, group));
#pragma unroll
                for (int j = 0; j < 4; ++j) at(r, group, j) += more.v[j];
            }
    }

    // Adds a number per column; bias may be null. Before anything is written: that needs registers too.
    __device__ __forceinline__ void add_bias(const real* __restrict__ bias, int left, int columns) {
        if (bias == nullptr) return;
#pragma unroll
        for (int n = 0; n < 16; ++n) {
            const int at_column = left + column(n / 4) + n % 4;
            const real more = at_column < columns ? bias[at_column] : real(0);
#pragma unroll
            for (int r = 0; r < 8; ++r) at(r, n / 4, n % 4) += more;
        }
    }

    // As gemm_tile.cuh's: row m of C begins where target.find(m) says, if it does; c itself is aligned to 16 bytes, what
    // follows need not be. more, laid out as C, is added; may be null; where it is not, 4 divides `columns` and all starts
    // of rows.
    template <class Target>
    __device__ __forceinline__ void write(real* __restrict__ c, const Target& target, const Tile& tile, int columns,
                                          bool relu, const real* __restrict__ more) const {
#pragma unroll
        for (int r = 0; r < 8; ++r) {
            size_t start;
            if (!target.find(tile.top + row(r), start)) continue;
#pragma unroll
            for (int group = 0; group < 4; ++group) {
                const int n = tile.left + column(group);
                const size_t place = start + n;
                Vector<real, 4> out;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    out.v[j] = at(r, group, j);
                    if (relu && out.v[j] < 0) out.v[j] = 0;
                }
                if (more != nullptr && n < columns) {
                    const Vector<real, 4> other = load<4>(more + place);
#pragma unroll
                    for (int j = 0; j < 4; ++j) out.v[j] = other.v[j] + out.v[j];
                }
                if (n + 4 <= columns && place % 4 == 0) {
                    store(c + place, out);
                } else {
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        if (n + j < columns) c[place + j] = out.v[j];
                }
            }
        }
    }
};

// The elements of C that are not finite once more, by FFMA from global memory. For a lane that has such sums, after it has
// written them without ReLU, which would make a wrong -infinity a 0: so it is done here, to all that the lane has written.
// Reading them from C leaves the sums' registers to the walk.
template <class A, class B, class Target>
__device__ __forceinline__ void repair(const A& a, const B& b, int depth, real* c, const Target& target, const Tile& tile,
                                       int columns, const real* __restrict__ bias, bool relu,
                                       const real* __restrict__ more) {
#pragma unroll 1
    for (int at = 0; at < 128; ++at) {
        const int i = Accumulator::row(at / 16), j = Accumulator::column(at / 4 % 4) + at % 4, n = tile.left + j;
        size_t start;
        if (!target.find(tile.top + i, start) || n >= columns) continue;
        const size_t place = start + n;
        real found = c[place];
        if (found * 0 != 0) {
            found = 0;
#pragma unroll 1
            for (int k = 0; k < depth && found == found; ++k) found += a.number(i, k) * b.number(j, k);
            if (bias != nullptr) found += bias[n];
            if (more != nullptr) found += more[place];
        }
        c[place] = relu && found < 0 ? real(0) : found;
    }
}

// ---- Sources that are plain matrices --------------------------------------------------------------------

// data[i][k], k contiguous, for i from `top` on; 128 * stride < 2^30: a Row is bytes from there, in one register.
struct MatrixRows {
    typedef unsigned Row;
    const real *data, *now;
    int top, last, stride;
    __device__ __forceinline__ MatrixRows(const real* d, int t, int rows, int s)
        : data(d), now(d), top(t), last(rows - 1), stride(s) {}
    __device__ __forceinline__ Row row(int i) const { return (unsigned)(min(i, last) - top) * (unsigned)stride * 4u; }
    __device__ __forceinline__ void seek(int k) { now = data + (size_t)top * stride + k; }
    __device__ __forceinline__ void advance(int by) { now += by; }
    __device__ __forceinline__ const real* at(const Row& row, bool& inside) const {
        return inside ? (const real*)((const char*)now + row) : data;
    }
    __device__ __forceinline__ real number(int i, int k) const { return data[(size_t)min(i, last) * stride + k]; }
};

// data[k][i], i contiguous. What is added to `now` is the same for all threads: it needs none of their registers.
struct MatrixColumns {
    const real *data, *now;
    int columns;
    unsigned stride;  // a product of an int would be extended by its sign to 64 bits, in two more instructions
    __device__ __forceinline__ MatrixColumns(const real* d, int n, int s) : data(d), now(d), columns(n), stride(s) {}
    __device__ __forceinline__ void seek(int k, int i) { now = data + (size_t)k * stride + min(i, columns - COPY); }
    __device__ __forceinline__ void advance(int by) { now += (size_t)by * stride; }
    __device__ __forceinline__ const real* at(int ahead, bool& inside) const {
        return inside ? now + (size_t)ahead * stride : data;
    }
    __device__ __forceinline__ real number(int i, int k) const { return data[(size_t)k * stride + min(i, columns - 1)]; }
};

#endif  // GPUNN_MMA_TILE_CUH
