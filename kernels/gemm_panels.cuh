// gemm_panels.cuh: how gemm_tile.cuh, which includes it, brings A and B to shared memory, a panel of BK steps at a time, and
// reads them there.
#ifndef GPUNN_GEMM_PANELS_CUH
#define GPUNN_GEMM_PANELS_CUH

// A panel in shared memory: element k of row or column i at place(k) + i.
template <int LENGTH>
struct Panel {
    enum { SIZE = BK * LENGTH + PER_ROW * SKEW, AHEAD = 1 };
    __device__ __forceinline__ static int place(int k) { return k * LENGTH + k / VEC * SKEW; }
    // Where part `part` of a thread's elements begins, of which the first is i; i is a multiple of 4.
    __device__ __forceinline__ static int first(int part, int i) { return place(part * (BK / PARTS)) + i; }
    // Elements i to i + 3 of STEPS steps from k on, from the first on.
    template <int STEPS>
    __device__ __forceinline__ static void read(real (&values)[STEPS][4], const real* first, int k, int i) {
#pragma unroll
        for (int ahead = 0; ahead < STEPS; ++ahead) {
            const Vector<real, 4> found = load<4>(first + place(k + ahead) + i);
#pragma unroll
            for (int j = 0; j < 4; ++j) values[ahead][j] = found.v[j];
        }
    }
};

// A panel whose rows lie in shared memory as they lie in global memory, where a Panel takes a store for each number. For
// that a thread holds what it multiplies in AHEAD steps, 16 bytes of each row, in more registers. Element k of row i at
// place(i) + k. Behind a row comes that 4 further on, as neighbouring lanes multiply rows 4 apart; the gaps give those, and
// the rows that a warp puts at once, other banks.
template <int LENGTH>
struct LyingPanel {
    enum { AHEAD = 4 / WIDE, PITCH = BK + AHEAD, APART = LENGTH / 4 * PITCH + BK % (32 / WIDE) };
    enum { SIZE = 3 * APART + LENGTH / 4 * PITCH };
    __device__ __forceinline__ static int place(int i) { return i % 4 * APART + i / 4 * PITCH; }
    __device__ __forceinline__ static int first(int part, int i) { return part * (BK / PARTS) + place(i); }
    template <int STEPS>
    __device__ __forceinline__ static void read(real (&values)[STEPS][4], const real* first, int k, int i) {
        static_assert((int)STEPS == (int)AHEAD, "steps of a vector");
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const Vector<real, AHEAD> found = load<AHEAD>(first + place(i + j) + k);
#pragma unroll
            for (int ahead = 0; ahead < AHEAD; ++ahead) values[ahead][j] = found.v[ahead];
        }
    }
};

typedef Vector<real, VEC> Load;

// Signed, so that the compiler may take sums of it apart.
__device__ __forceinline__ int thread() { return threadIdx.x; }

__device__ __forceinline__ Load zeros() {
    Load z;
#pragma unroll
    for (int j = 0; j < VEC; ++j) z.v[j] = 0;
    return z;
}

// The numbers are known here: a compiler would compute them on both sides of a branch behind.
__device__ __forceinline__ void settle(Load& numbers) {
#ifndef GPUNN_EMULATOR
#pragma unroll
    for (int j = 0; j < VEC; ++j)
#if IS_DOUBLE(REAL)
        asm("" : "+d"(numbers.v[j]));
#else
        asm("" : "+f"(numbers.v[j]));
#endif
#endif
}

// A panel whose Source is contiguous along the reduction: vectors are turned upright on the way in.
// Source: `Row row(int i)`, for all i >= 0, at k = 0; `void seek(int k)`, `void advance()` by BK, each followed by
// `void move(Row&)`, which does for a row what it did; `Held read(const Row&)` at k, with zero for what is not there;
// `Load value(const Held&)` makes of it what is multiplied, when it has arrived.
template <int LENGTH, class Source>
struct RowPanel {
    typedef Panel<LENGTH> Shared;
    enum { STEP = THREADS / PER_ROW, LOADS = LENGTH / STEP };
    static_assert(THREADS % PER_ROW == 0 && LENGTH % STEP == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Row row[LOADS];
    typename Source::Held held[LOADS];

    __device__ __forceinline__ RowPanel(const Source& from, int first) : source(from) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) row[l] = source.row(first + thread() / PER_ROW + l * STEP);
    }
    __device__ __forceinline__ static int k() { return thread() % PER_ROW * VEC; }
    __device__ __forceinline__ void seek(int to) {
        source.seek(to + k());
#pragma unroll
        for (int l = 0; l < LOADS; ++l) source.move(row[l]);
    }
    __device__ __forceinline__ void advance() {
        source.advance();
#pragma unroll
        for (int l = 0; l < LOADS; ++l) source.move(row[l]);
    }
    // The first `count` of a step; zeros are put for the others.
    __device__ __forceinline__ void fetch(int count = BK) {
        if (count < BK && k() >= count) return;
#pragma unroll
        for (int l = 0; l < LOADS; ++l) held[l] = source.read(row[l]);
    }
    __device__ __forceinline__ void put(real* panel, int count = BK) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const Load value = count < BK && k() >= count ? zeros() : source.value(held[l]);
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                panel[Panel<LENGTH>::place(k()) + j * LENGTH + thread() / PER_ROW + l * STEP] = value.v[j];
        }
    }
};

// The same, but as rows.
template <int LENGTH, class Source>
struct LyingRows : RowPanel<LENGTH, Source> {
    typedef LyingPanel<LENGTH> Shared;
    typedef RowPanel<LENGTH, Source> Rows;
    __device__ __forceinline__ LyingRows(const Source& from, int first) : Rows(from, first) {}
    __device__ __forceinline__ void put(real* panel, int count = BK) {
#pragma unroll
        for (int l = 0; l < Rows::LOADS; ++l)
            store(panel + Shared::place(thread() / PER_ROW + l * Rows::STEP) + Rows::k(),
                  count < BK && Rows::k() >= count ? zeros() : this->source.value(this->held[l]));
    }
};

// A panel whose Source is contiguous along C's rows or columns: vectors go in as they are. A thread brings vectors of
// one k only, so that it finds the place of one.
// Source: `Column column(int i, int l)`, for i >= 0, l vectors of the panel behind the thread's first; `void seek(int k)`,
// `void advance()` by BK; `void read(Held&, const Column&)` at k, which may leave columns beyond the last as they are;
// `Load value(const Held&, const Column&)` makes of it what is multiplied, when it has arrived and before advance.
template <int LENGTH, class Source>
struct ColumnPanel {
    typedef Panel<LENGTH> Shared;
    enum { LOADS = LENGTH / VEC / PER_K };
    static_assert(THREADS % (2 * BK) == 0 && LENGTH % (VEC * PER_K) == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Column column[LOADS];
    typename Source::Held held[LOADS];

    __device__ __forceinline__ ColumnPanel(const Source& from, int first) : source(from) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            column[l] = source.column(first + at(0), l * PER_K * VEC);
            held[l] = typename Source::Held();
        }
    }
    // Half a panel apart, neighbours of 16 banks lie in the other 16.
    __device__ __forceinline__ static int k() {
        return thread() / PER_K % 2 * (BK / 2) + thread() / (2 * PER_K);
    }
    __device__ __forceinline__ static int at(int l) { return (thread() % PER_K + l * PER_K) * VEC; }
    __device__ __forceinline__ void seek(int to) { source.seek(to + k()); }
    __device__ __forceinline__ void advance() { source.advance(); }
    __device__ __forceinline__ void fetch(int count = BK) {
        if (count < BK && k() >= count) return;
#pragma unroll
        for (int l = 0; l < LOADS; ++l) source.read(held[l], column[l]);
    }
    __device__ __forceinline__ void put(real* panel, int count = BK) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const Load value = count < BK && k() >= count ? zeros() : source.value(held[l], column[l]);
            store(panel + Panel<LENGTH>::place(k()) + at(l), value);
        }
    }
};

#endif  // GPUNN_GEMM_PANELS_CUH
