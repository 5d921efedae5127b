// gemm_tile.cuh: one tile of a matrix product, C = A B, in shared memory and registers. Matrix products,
// convolutions and their gradients differ only in where an element of A or B comes from; that is a
// Source, and everything else is here.
//
// A block computes BM x BN elements of C. It walks the reduction in steps of BK: all threads
// together bring a BM x BK panel of A and a BK x BN panel of B to shared memory (both stored [k][m or n],
// so that a thread reads its 4 neighbours as one vector); then each adds the products for its own
// TM x TN elements, held in registers. The next panels travel from global memory while the current ones
// are multiplied, and land in the other half of the double buffer: one barrier a step.
// Design: NVIDIA's CUTLASS describes this hierarchy ("Efficient GEMM in CUDA"); sizes are ours.
#ifndef GPUNN_GEMM_TILE_CUH
#define GPUNN_GEMM_TILE_CUH
#include "common.cuh"

#if TILE == 128
enum { BM = 128, BN = 128, BK = 8, TM = 8, TN = 8 };
#elif TILE == 64
enum { BM = 64, BN = 64, BK = 16, TM = 4, TN = 4 };
#elif TILE == 32  // for few columns: the 20 filters of a first layer
enum { BM = 64, BN = 32, BK = 16, TM = 4, TN = 4 };
#else
#error "TILE must be 128, 64 or 32"
#endif
enum { THREADS = (BM / TM) * (BN / TN), PAD = 4 };  // PAD: rows stay 16-byte aligned and change banks
static_assert(BK % VEC == 0 && BM % VEC == 0 && BN % VEC == 0, "a vector must not straddle panels");

typedef Vector<real, VEC> Load;

__device__ __forceinline__ Load zeros() {
    Load z;
#pragma unroll
    for (int j = 0; j < VEC; ++j) z.v[j] = 0;
    return z;
}

// A panel whose Source is contiguous along the reduction: vectors are turned upright on the way in.
// Source: `Row row(int i)`, `void seek(int k)`, `void advance()` by BK, `Load read(const Row&)` at k, zero outside.
template <int LENGTH, class Source>
struct RowPanel {
    enum { PER_ROW = BK / VEC, STEP = THREADS / PER_ROW, LOADS = LENGTH / STEP };
    static_assert(THREADS % PER_ROW == 0 && LENGTH % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Row row[LOADS];
    Load held[LOADS];

    __device__ __forceinline__ RowPanel(const Source& from, int first, int k_begin) : source(from) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) row[l] = source.row(first + threadIdx.x / PER_ROW + l * STEP);
        source.seek(k_begin + threadIdx.x % PER_ROW * VEC);
    }
    __device__ __forceinline__ void fetch() {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) held[l] = source.read(row[l]);
        source.advance();
    }
    __device__ __forceinline__ void put(real (*panel)[LENGTH + PAD]) const {
#pragma unroll
        for (int l = 0; l < LOADS; ++l)
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                panel[threadIdx.x % PER_ROW * VEC + j][threadIdx.x / PER_ROW + l * STEP] = held[l].v[j];
    }
};

// A panel whose Source is contiguous along C's rows or columns: vectors go in as they are.
// Source: `Column column(int i)`, `Load read(const Column&, int k)`, zero outside.
template <int LENGTH, class Source>
struct ColumnPanel {
    enum { PER_K = LENGTH / VEC, STEP = THREADS / PER_K, LOADS = BK / STEP };
    static_assert(THREADS % PER_K == 0 && BK % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Column column;
    Load held[LOADS];
    int k;

    __device__ __forceinline__ ColumnPanel(const Source& from, int first, int k_begin)
        : source(from), column(source.column(first + threadIdx.x % PER_K * VEC)), k(k_begin + threadIdx.x / PER_K) {}
    __device__ __forceinline__ void fetch() {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) held[l] = source.read(column, k + l * STEP);
        k += BK;
    }
    __device__ __forceinline__ void put(real (*panel)[LENGTH + PAD]) const {
#pragma unroll
        for (int l = 0; l < LOADS; ++l)
            store(&panel[threadIdx.x / PER_K + l * STEP][threadIdx.x % PER_K * VEC], held[l]);
    }
};

// This thread's TM x TN elements of C: groups of 4 x 4 spread over the tile, so that the vectors a
// warp reads from shared memory lie side by side.
struct Accumulator {
    enum { ACROSS = BN / TN, DOWN_GROUPS = TM / 4, ACROSS_GROUPS = TN / 4 };
    real sum[TM][TN];

    __device__ __forceinline__ static int row(int i) {
        return i / 4 * (BM / DOWN_GROUPS) + threadIdx.x / ACROSS * 4 + i % 4;
    }
    __device__ __forceinline__ static int column(int group) {
        return group * (BN / ACROSS_GROUPS) + threadIdx.x % ACROSS * 4;
    }
    __device__ __forceinline__ void add_products(real (*a)[BM + PAD], real (*b)[BN + PAD]) {
#pragma unroll
        for (int k = 0; k < BK; ++k) {
            Vector<real, 4> u[DOWN_GROUPS], w[ACROSS_GROUPS];
#pragma unroll
            for (int i = 0; i < DOWN_GROUPS; ++i) u[i] = load<4>(&a[k][row(4 * i)]);
#pragma unroll
            for (int j = 0; j < ACROSS_GROUPS; ++j) w[j] = load<4>(&b[k][column(j)]);
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sum[i][j] += u[i / 4].v[i % 4] * w[j / 4].v[j % 4];
        }
    }
    // c[start + (first_row + i) * stride + first_column + j] for those inside `rows` x `columns`; c itself is
    // aligned to 16 bytes, what follows need not be. bias per column, may be null.
    __device__ __forceinline__ void write(real* __restrict__ c, size_t start, size_t stride, int first_row,
                                          int first_column, int rows, int columns, const real* __restrict__ bias,
                                          bool relu) const {
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int m = first_row + row(i);
            if (m >= rows) continue;
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group) {
                const int n = first_column + column(group);
                const size_t at = start + m * stride + n;
                Vector<real, 4> out;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    out.v[j] = sum[i][group * 4 + j] + (bias != nullptr && n + j < columns ? bias[n + j] : real(0));
                    if (relu && out.v[j] < 0) out.v[j] = 0;
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
};

// The products of panels A and B over k_begin <= k < k_end, summed in increasing k. A's and B's
// Sources give zero beyond k_end. All threads of the block call it.
template <class A, class B>
__device__ __forceinline__ void multiply(Accumulator& c, A& a, B& b, int k_begin, int k_end) {
    __shared__ __align__(16) real a_panel[2][BK][BM + PAD];
    __shared__ __align__(16) real b_panel[2][BK][BN + PAD];
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) c.sum[i][j] = 0;
    a.fetch();
    b.fetch();
    a.put(a_panel[0]);
    b.put(b_panel[0]);
    __syncthreads();
    int now = 0;
    for (int k = k_begin; k < k_end; k += BK, now ^= 1) {
        const bool more = k + BK < k_end;
        if (more) {
            a.fetch();  // in flight during the products
            b.fetch();
        }
        c.add_products(a_panel[now], b_panel[now]);
        if (more) {
            a.put(a_panel[now ^ 1]);  // whose readers all passed the barrier of the step before
            b.put(b_panel[now ^ 1]);
            __syncthreads();
        }
    }
}

// -- Sources that are plain matrices ---------------------------------------------------------------

// data[i][k], k contiguous.
struct MatrixRows {
    typedef const real* Row;
    const real* data;
    int rows, stride, k_end, k;
    __device__ __forceinline__ MatrixRows(const real* d, int n, int s, int end) : data(d), rows(n), stride(s), k_end(end), k(0) {}
    __device__ __forceinline__ Row row(int i) const { return i < rows ? data + (size_t)i * stride : nullptr; }
    __device__ __forceinline__ void seek(int to) { k = to; }
    __device__ __forceinline__ void advance() { k += BK; }
    __device__ __forceinline__ Load read(const Row& row) const {
        return row != nullptr && k < k_end ? load<VEC>(row + k) : zeros();
    }
};

// data[k][i], i contiguous.
struct MatrixColumns {
    typedef int Column;
    const real* data;
    int columns, stride, k_end;
    __device__ __forceinline__ MatrixColumns(const real* d, int n, int s, int end) : data(d), columns(n), stride(s), k_end(end) {}
    __device__ __forceinline__ Column column(int i) const { return i; }
    __device__ __forceinline__ Load read(const Column& i, int k) const {
        return i < columns && k < k_end ? load<VEC>(data + (size_t)k * stride + i) : zeros();
    }
};

// Where this block's tile of C lies. Tiles are numbered along the rows of C: neighbours share A's panel, which
// then comes from the L2 cache. All in grid.x, because grid.y ends at 65535.
struct Tile {
    int top, left;
};
__device__ __forceinline__ Tile my_tile(int columns) {
    const int across = (columns + BN - 1) / BN;
    return {(int)(blockIdx.x / across) * BM, (int)(blockIdx.x % across) * BN};
}

// The part of 0 <= k < length that belongs to slice `slice` of `slices`; whole BK steps, so that
// vectors do not straddle.
__device__ __forceinline__ void slice_of(int length, int slices, int slice, int& k_begin, int& k_end) {
    const int steps = (length + BK - 1) / BK, each = (steps + slices - 1) / slices;
    k_begin = min(length, slice * each * BK);
    k_end = min(length, k_begin + each * BK);
}

#endif  // GPUNN_GEMM_TILE_CUH
