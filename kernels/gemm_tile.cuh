// gemm_tile.cuh: one tile of a matrix product, C = A B, in shared memory and registers. Matrix products,
// convolutions and their gradients differ only in where an element of A or B comes from; that is a
// Source, and everything else is here.
//
// A block computes BM x BN elements of C. It walks the reduction in steps of BK: all threads
// together bring a BM x BK panel of A and a BK x BN panel of B to shared memory (both stored [k][m or n],
// so that a thread reads its 4 neighbours as one vector); then each adds the products for its own
// TM x TN elements, held in registers. The next panels travel from global memory while the current ones
// are multiplied, and land in the other half of the double buffer: one barrier a step.
//
// A reduction may be split into slices, a block each; the last block of a tile to finish adds what all of them left,
// in the order of the slices. So a small product fills a large card, in one launch, with the same bits every time.
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
// Source: `Row row(int i)`, `void seek(int k)`, `void advance()` by BK, `Held read(const Row&)` at k, zero outside;
// `Load value(const Held&)` makes of it what is multiplied, when it has arrived.
template <int LENGTH, class Source>
struct RowPanel {
    enum { PER_ROW = BK / VEC, STEP = THREADS / PER_ROW, LOADS = LENGTH / STEP };
    static_assert(THREADS % PER_ROW == 0 && LENGTH % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Row row[LOADS];
    typename Source::Held held[LOADS];

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
        for (int l = 0; l < LOADS; ++l) {
            const Load value = source.value(held[l]);
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                panel[threadIdx.x % PER_ROW * VEC + j][threadIdx.x / PER_ROW + l * STEP] = value.v[j];
        }
    }
};

// A panel whose Source is contiguous along C's rows or columns: vectors go in as they are.
// Source: `Column column(int i)`, `Held read(const Column&, int k)`, zero outside; `Load value(const Held&, const
// Column&, int k)` makes of it what is multiplied, when it has arrived.
template <int LENGTH, class Source>
struct ColumnPanel {
    enum { PER_K = LENGTH / VEC, STEP = THREADS / PER_K, LOADS = BK / STEP };
    static_assert(THREADS % PER_K == 0 && BK % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Column column;
    typename Source::Held held[LOADS];
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
            store(&panel[threadIdx.x / PER_K + l * STEP][threadIdx.x % PER_K * VEC],
                  source.value(held[l], column, k - BK + l * STEP));
    }
};

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

// A reduction over 0 <= k < length, cut into slices; whole BK steps, so that vectors do not straddle.
struct Slices {
    int count, mine;
    __device__ __forceinline__ void range(int length, int& k_begin, int& k_end) const {
        const int steps = (length + BK - 1) / BK, each = (steps + count - 1) / count;
        k_begin = min(length, mine * each * BK);
        k_end = min(length, k_begin + each * BK);
    }
};

// Where C is a matrix: element (m, n) at c[start + m * stride + n].
struct MatrixTarget {
    size_t start, stride;
    int rows;
    __device__ __forceinline__ bool find(int m, size_t& at) const {
        at = start + m * stride;
        return m < rows;
    }
};

// This thread's TM x TN elements of C: groups of 4 x 4 spread over the tile, so that the vectors a
// warp reads from shared memory lie side by side.
struct Accumulator {
    enum { ACROSS = BN / TN, DOWN_GROUPS = TM / 4, ACROSS_GROUPS = TN / 4 };
    enum { PARTIAL = BM * BN + BM };  // numbers that a slice's block leaves behind: its elements of C, its row sums
    enum { FAN = 16, TICKETS = 16 };  // enough for 240 slices
    real sum[TM][TN];
    real row_sum;  // of A's row threadIdx.x in the tile, where rows are summed

    __device__ __forceinline__ static int row(int i) {
        return i / 4 * (BM / DOWN_GROUPS) + threadIdx.x / ACROSS * 4 + i % 4;
    }
    __device__ __forceinline__ static int column(int group) {
        return group * (BN / ACROSS_GROUPS) + threadIdx.x % ACROSS * 4;
    }
    __device__ __forceinline__ void clear() {
        row_sum = 0;
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j) sum[i][j] = 0;
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
    __device__ __forceinline__ void add_rows(real (*a)[BM + PAD]) {
        if (threadIdx.x >= BM) return;
        real step = 0;  // apart from the total: fewer roundings of a large number
#pragma unroll 4
        for (int k = 0; k < BK; ++k) step += a[k][threadIdx.x];
        row_sum += step;
    }

    // The elements of C inside `rows` x `columns` of the tile, as vectors in an order of their own in which threads
    // lie side by side; after them the row sums.
    __device__ __forceinline__ static int place(int i, int group) {
        return ((i * ACROSS_GROUPS + group) * THREADS + threadIdx.x) * 4;
    }
    __device__ __forceinline__ void leave(real* partial, int rows, int columns, bool sum_rows) const {
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group)
                if (row(i) < rows && column(group) < columns) {
                    Vector<real, 4> mine;
#pragma unroll
                    for (int j = 0; j < 4; ++j) mine.v[j] = sum[i][group * 4 + j];
                    store(partial + place(i, group), mine);
                }
        if (sum_rows && (int)threadIdx.x < min((int)BM, rows)) partial[BM * BN + threadIdx.x] = row_sum;
    }
    __device__ __forceinline__ void take(const real* partial, int rows, int columns, bool sum_rows) {
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group)
                if (row(i) < rows && column(group) < columns) {
                    const Vector<real, 4> more = load<4>(partial + place(i, group));
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[i][group * 4 + j] += more.v[j];
                }
        if (sum_rows && (int)threadIdx.x < min((int)BM, rows)) row_sum += partial[BM * BN + threadIdx.x];
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

    // Row m of C begins where target.find(m) says, if it does; c itself is aligned to 16 bytes, what
    // follows need not be. bias per column, may be null. more, laid out as C, is added to it; may be null; where it is
    // not, VEC divides `columns` and all starts of rows.
    template <class Target>
    __device__ __forceinline__ void write(real* __restrict__ c, const Target& target, const Tile& tile, int columns,
                                          const real* __restrict__ bias, bool relu,
                                          const real* __restrict__ more = nullptr) const {
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            size_t start;
            if (!target.find(tile.top + row(i), start)) continue;
#pragma unroll
            for (int group = 0; group < ACROSS_GROUPS; ++group) {
                const int n = tile.left + column(group);
                const size_t at = start + n;
                Vector<real, 4> out;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    out.v[j] = sum[i][group * 4 + j] + (bias != nullptr && n + j < columns ? bias[n + j] : real(0));
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
        const int m = top + threadIdx.x;
        if (threadIdx.x < BM && m < rows) sums[m] = row_sum;
    }
};

// The panels in shared memory, each twice. Functions of their own, so that a kernel whose blocks compute one or another
// product has one set of them.
typedef real PanelsA[2][BK][BM + PAD];
typedef real PanelsB[2][BK][BN + PAD];
__device__ __forceinline__ PanelsA& shared_a() {
    __shared__ __align__(16) PanelsA panels;
    return panels;
}
__device__ __forceinline__ PanelsB& shared_b() {
    __shared__ __align__(16) PanelsB panels;
    return panels;
}

// The products of panels A and B over k_begin <= k < k_end, summed in increasing k; with sum_rows also A's rows. A's
// and B's Sources give zero beyond k_end. All threads of the block call it.
template <class A, class B>
__device__ __forceinline__ void multiply(Accumulator& c, A& a, B& b, int k_begin, int k_end, bool sum_rows = false) {
    PanelsA& a_panel = shared_a();
    PanelsB& b_panel = shared_b();
    c.clear();
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
        if (sum_rows) c.add_rows(a_panel[now]);
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
    typedef Load Held;
    const real* data;
    int rows, stride, k_end, k;
    __device__ __forceinline__ MatrixRows(const real* d, int n, int s, int end) : data(d), rows(n), stride(s), k_end(end), k(0) {}
    __device__ __forceinline__ Row row(int i) const { return i < rows ? data + (size_t)i * stride : nullptr; }
    __device__ __forceinline__ void seek(int to) { k = to; }
    __device__ __forceinline__ void advance() { k += BK; }
    __device__ __forceinline__ Load read(const Row& row) const {
        return row != nullptr && k < k_end ? load<VEC>(row + k) : zeros();
    }
    __device__ __forceinline__ Load value(const Held& held) const { return held; }
};

// data[k][i], i contiguous.
struct MatrixColumns {
    typedef int Column;
    typedef Load Held;
    const real* data;
    int columns, stride, k_end;
    __device__ __forceinline__ MatrixColumns(const real* d, int n, int s, int end) : data(d), columns(n), stride(s), k_end(end) {}
    __device__ __forceinline__ Column column(int i) const { return i; }
    __device__ __forceinline__ Held read(const Column& i, int k) const {
        return i < columns && k < k_end ? load<VEC>(data + (size_t)k * stride + i) : zeros();
    }
    __device__ __forceinline__ Load value(const Held& held, const Column&, int) const { return held; }
};

// The gradient dz before a ReLU: dy, and 0 where the ReLU's output y was not positive. y null: no ReLU, dy as it is.
struct OutputGradient {
    struct Held {
        Load dy, y;
    };
    const real *dy, *y;
    __device__ __forceinline__ Held read(size_t at) const {
        const Load d = load<VEC>(dy + at);
        return {d, y != nullptr ? load<VEC>(y + at) : d};
    }
    __device__ __forceinline__ Load value(const Held& held) const {
        Load d = held.dy;
        if (y == nullptr) return d;
#pragma unroll
        for (int j = 0; j < VEC; ++j) d.v[j] = held.y.v[j] <= 0 ? real(0) : d.v[j];
        return d;
    }
};

// dz[k][i], i contiguous. What was made of dy is left in dz, unless that is null.
struct GradientColumns {
    typedef int Column;
    typedef OutputGradient::Held Held;
    OutputGradient gradient;
    real* dz;
    int columns, stride, k_end;
    __device__ __forceinline__ GradientColumns(const OutputGradient& of, real* gated, int n, int s, int end)
        : gradient(of), dz(gated), columns(n), stride(s), k_end(end) {}
    __device__ __forceinline__ Column column(int i) const { return i; }
    __device__ __forceinline__ Held read(const Column& i, int k) const {
        if (i >= columns || k >= k_end) return {zeros(), zeros()};
        return gradient.read((size_t)k * stride + i);
    }
    __device__ __forceinline__ Load value(const Held& held, const Column& i, int k) const {
        const Load d = gradient.value(held);
        if (dz != nullptr && i < columns && k < k_end) store(dz + (size_t)k * stride + i, d);
        return d;
    }
};

// dz[i][k], k contiguous.
struct GradientRows {
    typedef int Row;
    typedef OutputGradient::Held Held;
    OutputGradient gradient;
    int rows, stride, k_end, k;
    __device__ __forceinline__ GradientRows(const OutputGradient& of, int n, int s, int end)
        : gradient(of), rows(n), stride(s), k_end(end), k(0) {}
    __device__ __forceinline__ Row row(int i) const { return i; }
    __device__ __forceinline__ void seek(int to) { k = to; }
    __device__ __forceinline__ void advance() { k += BK; }
    __device__ __forceinline__ Held read(const Row& i) const {
        if (i >= rows || k >= k_end) return {zeros(), zeros()};
        return gradient.read((size_t)i * stride + k);
    }
    __device__ __forceinline__ Load value(const Held& held) const { return gradient.value(held); }
};

#endif  // GPUNN_GEMM_TILE_CUH
