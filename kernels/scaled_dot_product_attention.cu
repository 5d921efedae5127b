// scaled_dot_product_attention.cu: y = softmax(q kT scale + mask) v, the softmax over the keys, and its gradients, without
// the L S weights ever being in memory. With p the weights and delta_i = dy_i . y_i:
// ds = p (dy vT - delta), dq = scale ds k, dk = scale dsT q, dv = pT dy.
//   q (B, L, E)   k (B, S, E)   v (B, S, V)   y, dy (B, L, V)   dq, dk, dv as q, k, v; each may be null
//   lse, delta (B, L): the logarithm of each query's sum of exp(scores); of which p = exp(score - lse)
//   mask (B or 1, L, S), added to the scores, or null; causal: a query sees keys up to its own position
//   WIDTH: room for E and V; VEC = 4: it divides both, and arrays begin at multiples of 16 bytes
// Launch: a block holds ROWS queries (attention_backward_keys: keys), and goes through the others in tiles of ROWS; 128
// threads, of which attention_backward_keys has 256 for float and WIDTH 128. Blocks of one item follow each other in the grid.
// A tile's scores are a product of two tiles, and so are the results' parts: two functions, make_scores and add_results,
// are all products of the three kernels. Rows come to shared memory in chunks, CHUNK features of two sets of rows or
// STEP whole rows, by asynchronous copies, the next chunk during the products of this one. A thread has a block of ROWS /
// 16 x ROWS / 8 scores, which stay in registers until they are weights; only those go through shared memory. A tile that
// no query of a causal block sees is not touched.
// Traffic: all of q, k, v and dy that a block needs, once for each tile that it looks at; but the first time from the L2 cache.
// Of a score: one expf, which is 8 instructions with 1 MUFU; about 6 others; E + V FFMA in attention_forward, 2 E + V in
// attention_backward_queries, 2 E + 2 V in attention_backward_keys.
// Resident on an SM of sm_90, float, VEC = 4: 12 warps up to WIDTH 64, but 8 where a thread has 64 sums of results all along
// (attention_backward_keys from WIDTH 64 on, all kernels at WIDTH 128): they fill the registers, and each product has 16 or
// more sums that do not wait for each other.
// The softmax is taken as tiles come: sums so far are scaled down when a larger score appears (Milakov, Gimelshein 2018,
// arXiv:1805.02867). All sums are in a fixed order, and no two blocks add to one: the same bits every time.
// Source: Dao, Fu, Ermon, Rudra, Ré 2022, arXiv:2205.14135; the order of loops: Dao 2023, arXiv:2307.08691; lecture topic
// L17.
#include "common.cuh"
#include "tensor_core.cuh"

constexpr int ROWS = 256 / (int)sizeof(real);
constexpr int PER = 16 / (int)sizeof(real);    // elements of 16 bytes
constexpr int CHUNK = 64 / (int)sizeof(real);  // features of one step of make_scores
// Rows of one step of add_results.
constexpr int FITTING = 8192 / (WIDTH * (int)sizeof(real));
constexpr int STEP = FITTING < ROWS / 2 ? FITTING : ROWS / 2;
constexpr int THREADS = 128;
constexpr int KEY_THREADS = WIDTH == 128 && sizeof(real) == 4 ? 256 : 128;  // it has two results
// Blocks whose registers are to fit on an SM; 1: ptxas chooses. With more the others would spill, by a few bytes.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900 && VEC == 4
constexpr int BLOCKS = sizeof(real) == 8 ? 1 : WIDTH == 128 ? 2 : 3;
#else
constexpr int BLOCKS = 1;
#endif

// How far loops are unrolled: steps of a product, and so the operands that are held; copies, and so their addresses.
constexpr int UNROLLED = VEC == 4 && sizeof(real) == 4 ? 2 : 1, COPIES = VEC == 1 ? 1 : 8;

// Distances of rows at which what a warp reads or writes at once lies in different banks.
constexpr int PITCH = CHUNK + PER;
constexpr int WEIGHT_PITCH = ROWS + 8;

constexpr int SCORES_STAGE = 2 * ROWS * PITCH, RESULTS_STAGE = STEP * WIDTH;
constexpr int STAGE = SCORES_STAGE > RESULTS_STAGE ? SCORES_STAGE : RESULTS_STAGE;
typedef real Weights[ROWS * WEIGHT_PITCH];

// Sizes of one item, and what the scores are made with.
struct Shape {
    int L, S, E, V;
    int tiles;       // blocks of one item
    int mask_items;  // 1: all items have the same mask
    int causal;
    real scale;
};

// Rows of one item.
struct Matrix {
    const real* data;
    int rows, columns;
    __device__ __forceinline__ Matrix(const real* array, int item, int n, int c)
        : data(array + (size_t)item * n * c), rows(n), columns(c) {}
};

// Two chunks in shared memory: one that is multiplied, one that is on its way. They are addresses, not numbers of chunks:
// a loop over one then begins with no multiplication.
struct Stages {
    real *now, *other;
    // The chunk on its way has arrived for all, and all have done with the one before.
    __device__ __forceinline__ real* arrived() {
        cp_async_wait<0>();
        __syncthreads();
        real* const next = other;
        other = now, now = next;
        return now;
    }
    __device__ __forceinline__ real* free() const { return other; }
};

// COUNT rows of a matrix from `first` on, COLUMNS of each, on their way to rows PITCH_ apart; zeros beyond the matrix.
template <int THREADS_, int COUNT, int COLUMNS, int PITCH_>
struct Way {
    enum { PIECE = VEC == 1 ? 1 : PER, ACROSS = COLUMNS / PIECE, DOWN = THREADS_ / ACROSS, PIECES = COUNT / DOWN };
    enum { SHORT = ACROSS == 4 };  // 8 lanes side by side then have 8 rows, as those of two rows would meet in a bank
    static_assert(THREADS_ % ACROSS == 0 && COUNT % DOWN == 0, "as many pieces for every thread");
    const real* from;
    int left, columns, wide;  // rows and columns from this thread's first on; how many the matrix has

    // This thread's first piece.
    __device__ __forceinline__ static int down() {
        return SHORT ? threadIdx.x / WARP * 8 + threadIdx.x % 8 : threadIdx.x / ACROSS;
    }
    __device__ __forceinline__ static int across() {
        return (SHORT ? threadIdx.x % WARP / 8 : threadIdx.x % ACROSS) * PIECE;
    }
    __device__ __forceinline__ Way(const Matrix& matrix, int first) {
        const int r = first + down(), c = across();
        from = matrix.data + (size_t)r * matrix.columns + c;
        left = matrix.rows - r, columns = matrix.columns - c, wide = matrix.columns;
    }
    // Those from `row` and `column` on, counted from the first.
    __device__ __forceinline__ void fetch(real* to, int row, int column) const {
        const int many = column < columns ? left - row : 0;
        to += down() * PITCH_ + across();
        const real* at = from + row * wide + column;
#pragma unroll COPIES
        for (int n = 0; n < PIECES; ++n) {
            const bool there = n * DOWN < many;
            if (PIECE > 1) cp_async_16(to + n * DOWN * PITCH_, at + n * DOWN * wide, there ? 16 : 0);
            else if (sizeof(real) == 8) cp_async_8(to + n * DOWN * PITCH_, at + n * DOWN * wide, there ? 8 : 0);
            else cp_async_4(to + n * DOWN * PITCH_, at + n * DOWN * wide, there ? 4 : 0);
        }
    }
};

// The threads of a block, 16 down and ACROSS across a tile: who has which scores of ROWS x ROWS and which elements of
// the result, ROWS x WIDTH. A warp is 4 x 8 threads, so that what it reads at once is 64 and 128 bytes.
template <int THREADS_>
struct Team {
    enum { DOWN = 16, ACROSS = THREADS_ / DOWN, M = ROWS / DOWN, N = ROWS / ACROSS, FEATURES = WIDTH / ACROSS };
    typedef real Scores[M][N];
    typedef real Result[M][FEATURES];
    int down, across;

    __device__ __forceinline__ Team() {
        const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
        down = warp / (ACROSS / 8) * 4 + lane / 8;
        across = warp % (ACROSS / 8) * 8 + lane % 8;
    }
    __device__ __forceinline__ int row(int m) const { return down + m * DOWN; }
    __device__ __forceinline__ int other(int n) const { return across + n * ACROSS; }
    // Of a row's result, the first of PER features.
    __device__ __forceinline__ int feature(int f) const { return (f / PER * ACROSS + across) * PER; }
    __device__ __forceinline__ int weight(int m, int n) const { return row(m) * WEIGHT_PITCH + other(n); }

    typedef Way<THREADS_, ROWS, CHUNK, PITCH> Features;
    typedef Way<THREADS_, STEP, WIDTH, WIDTH> Rows;
    __device__ __forceinline__ static void begin_scores(real* to, const Matrix& own, const Matrix& others, int first,
                                                        int start) {
        Features(own, first).fetch(to, 0, 0);
        Features(others, start).fetch(to + ROWS * PITCH, 0, 0);
        cp_async_commit();
    }
    __device__ __forceinline__ static void begin_results(real* to, const Matrix& others, int start) {
        Rows(others, start).fetch(to, 0, 0);
        cp_async_commit();
    }

    // sum = own others^T for ROWS of each, whose first chunk is on its way. then() starts the way of what comes next.
    template <class Then>
    __device__ __forceinline__ void make_scores(Scores& sum, Stages& stages, const Matrix& own, const Matrix& others,
                                                int first, int start, Then then) const {
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
            for (int n = 0; n < N; ++n) sum[m][n] = 0;
        const Features owns(own, first), theirs(others, start);
        int column = 0;
        do {
            const real* chunk = stages.arrived();
            column += CHUNK;
            if (column < own.columns) {
                owns.fetch(stages.free(), 0, column);
                theirs.fetch(stages.free() + ROWS * PITCH, 0, column);
                cp_async_commit();
            } else {
                then();
            }
            const real *a = chunk + down * PITCH, *b = chunk + (ROWS + across) * PITCH;
#pragma unroll UNROLLED
            for (int c = 0; c < CHUNK; c += PER) {
                Vector<real, PER> u[M];
#pragma unroll
                for (int m = 0; m < M; ++m) u[m] = load<PER>(a + m * DOWN * PITCH + c);
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    const Vector<real, PER> w = load<PER>(b + n * ACROSS * PITCH + c);
#pragma unroll
                    for (int i = 0; i < PER; ++i)
#pragma unroll
                        for (int m = 0; m < M; ++m) sum[m][n] += u[m].v[i] * w.v[i];
                }
            }
        } while (column < own.columns);
    }

    // Products become scores: times the scale, plus the mask, -INFINITY where a query does not see a key. The tile begins
    // at `query` and `key`; KEYS: its rows are keys.
    template <bool KEYS>
    __device__ __forceinline__ void see(Scores& sum, const Shape& s, const real* mask, int item, int query, int key) const {
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
            for (int n = 0; n < N; ++n) sum[m][n] *= s.scale;
        if (!mask && query + ROWS <= s.L && key + ROWS <= s.S && (!s.causal || key + ROWS - 1 <= query)) return;
        const int i = query + (KEYS ? across : down), j = key + (KEYS ? down : across);
        const int before = s.causal ? i - j : ROWS;  // how much further than the query a key may be
        const real* at = mask + ((size_t)(s.mask_items == 1 ? 0 : item) * s.L + i) * s.S + j;
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
            for (int n = 0; n < N; ++n) {
                const int di = KEYS ? n * ACROSS : m * DOWN, dj = KEYS ? m * DOWN : n * ACROSS;
                if (i + di >= s.L || j + dj >= s.S || dj - di > before) sum[m][n] = -INFINITY;
                else if (mask) sum[m][n] += at[(size_t)di * s.S + dj];
            }
    }

    // sum += weights others for rows of `others` from `start` on, ROWS at most, whose first chunk is on its way.
    template <class Then>
    __device__ __forceinline__ void add_results(Result& sum, Stages& stages, const real* weights, const Matrix& others,
                                                int start, Then then) const {
        const int count = min(ROWS, others.rows - start);
        const Rows rows(others, start);
        int from = 0;
        do {
            const real* chunk = stages.arrived();
            const real *a = weights + down * WEIGHT_PITCH + from, *b = chunk + feature(0);
            from += STEP;
            if (from < count) {
                rows.fetch(stages.free(), from, 0);
                cp_async_commit();
            } else {
                then();
            }
#pragma unroll UNROLLED
            for (int j = 0; j < STEP; j += PER, a += PER, b += PER * WIDTH) {
                Vector<real, PER> u[M];
#pragma unroll
                for (int m = 0; m < M; ++m) u[m] = load<PER>(a + m * DOWN * WEIGHT_PITCH);
#pragma unroll
                for (int i = 0; i < PER; ++i)
#pragma unroll
                    for (int f = 0; f < FEATURES; f += PER) {
                        const Vector<real, PER> w = load<PER>(b + i * WIDTH + f * ACROSS);
#pragma unroll
                        for (int g = 0; g < PER; ++g)
#pragma unroll
                            for (int m = 0; m < M; ++m) sum[m][f + g] += u[m].v[i] * w.v[g];
                    }
            }
        } while (from < count);
    }

    // factor sum to the block's rows of an array (rows, columns).
    __device__ __forceinline__ void write(real* to, const Result& sum, const real (&factor)[M], int item, int first,
                                          int rows, int columns) const {
#pragma unroll
        for (int m = 0; m < M; ++m) {
            if (first + row(m) >= rows) continue;
            real* at = to + ((size_t)item * rows + first + row(m)) * columns;
#pragma unroll
            for (int f = 0; f < FEATURES; f += PER) {
                Vector<real, PER> out;
#pragma unroll
                for (int g = 0; g < PER; ++g) out.v[g] = sum[m][f + g] * factor[m];
                if (VEC > 1) {
                    if (feature(f) < columns) store(at + feature(f), out);
                } else {
#pragma unroll
                    for (int g = 0; g < PER; ++g)
                        if (feature(f) + g < columns) at[feature(f) + g] = out.v[g];
                }
            }
        }
    }
};

// Over the 8 threads that have a row, the same bits in each.
__device__ __forceinline__ real row_sum(real value) {
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) value += __shfl_xor_sync(FULL_MASK, value, offset);
    return value;
}

__device__ __forceinline__ real row_max(real value) {
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) value = fmax(value, __shfl_xor_sync(FULL_MASK, value, offset));
    return value;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_forward(real* __restrict__ y, real* __restrict__ lse, const real* __restrict__ q, const real* __restrict__ k,
                  const real* __restrict__ v, const real* __restrict__ mask, Shape s) {
    typedef Team<THREADS> Of;
    __shared__ __align__(16) real memory[2][STAGE];
    __shared__ __align__(16) Weights weights;
    const Of team;
    const int item = blockIdx.x / s.tiles, tile = blockIdx.x % s.tiles;
    // The last queries of a causal item have the most keys: they begin first.
    const int first = (s.causal ? s.tiles - 1 - tile : tile) * ROWS;
    const Matrix queries(q, item, s.L, s.E), keys(k, item, s.S, s.E), values(v, item, s.S, s.V);
    const int end = s.causal ? min(s.S, first + ROWS) : s.S;
    Stages stages = {memory[0], memory[1]};
    Of::Result result = {};
    real most[Of::M], sum[Of::M];
#pragma unroll
    for (int m = 0; m < Of::M; ++m) most[m] = -INFINITY, sum[m] = 0;
    team.begin_scores(stages.free(), queries, keys, first, 0);
    for (int start = 0; start < end; start += ROWS) {
        Of::Scores p;
        team.make_scores(p, stages, queries, keys, first, start,
                         [&] { team.begin_results(stages.free(), values, start); });
        team.see<false>(p, s, mask, item, first, start);
#pragma unroll
        for (int m = 0; m < Of::M; ++m) {
            real largest = most[m];
#pragma unroll
            for (int n = 0; n < Of::N; ++n) largest = fmax(largest, p[m][n]);  // NaN comes through the sum
            largest = row_max(largest);
            // Where nothing was seen yet, -INFINITY is no number to subtract.
            const real about = largest == -INFINITY ? real(0) : largest, shrink = exp(most[m] - about);
            real part = 0;
#pragma unroll
            for (int n = 0; n < Of::N; ++n) {
                p[m][n] = exp(p[m][n] - about);
                part += p[m][n];
                weights[team.weight(m, n)] = p[m][n];
            }
            sum[m] = sum[m] * shrink + part;
            most[m] = largest;
#pragma unroll
            for (int f = 0; f < Of::FEATURES; ++f) result[m][f] *= shrink;
        }
        team.add_results(result, stages, weights, values, start, [&] {
            if (start + ROWS < end) team.begin_scores(stages.free(), queries, keys, first, start + ROWS);
        });
    }
#pragma unroll
    for (int m = 0; m < Of::M; ++m) {
        sum[m] = row_sum(sum[m]);
        // It sees no key: 0 / 1, and weights exp(-INFINITY - 0) in the backward.
        if (sum[m] == 0) most[m] = 0, sum[m] = 1;
        const int i = first + team.row(m);
        if (team.across == 0 && i < s.L) lse[(size_t)item * s.L + i] = most[m] + log(sum[m]);
        sum[m] = 1 / sum[m];
    }
    team.write(y, result, sum, item, first, s.L, s.V);
}

// dq, and delta for attention_backward_keys.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_backward_queries(real* __restrict__ dq, real* __restrict__ delta, const real* __restrict__ dy,
                           const real* __restrict__ q, const real* __restrict__ k, const real* __restrict__ v,
                           const real* __restrict__ mask, const real* __restrict__ y, const real* __restrict__ lse,
                           Shape s) {
    typedef Team<THREADS> Of;
    __shared__ __align__(16) real memory[2][STAGE];
    __shared__ __align__(16) Weights weights;
    const Of team;
    const int item = blockIdx.x / s.tiles, tile = blockIdx.x % s.tiles;
    const int first = (s.causal ? s.tiles - 1 - tile : tile) * ROWS;
    const Matrix queries(q, item, s.L, s.E), gradients(dy, item, s.L, s.V);
    const Matrix keys(k, item, s.S, s.E), values(v, item, s.S, s.V);
    Stages stages = {memory[0], memory[1]};
    if (dq) team.begin_scores(stages.free(), queries, keys, first, 0);
    Of::Result result = {};
    real along[Of::M], whole[Of::M];
#pragma unroll
    for (int m = 0; m < Of::M; ++m) {
        const int i = first + team.row(m);
        along[m] = whole[m] = 0;
        if (i < s.L) {
            const size_t at = (size_t)item * s.L + i;
            for (int c = team.across; c < s.V; c += Of::ACROSS) along[m] += dy[at * s.V + c] * y[at * s.V + c];
            whole[m] = lse[at];
        }
        along[m] = row_sum(along[m]);
        if (team.across == 0 && i < s.L) delta[(size_t)item * s.L + i] = along[m];
    }
    const int end = !dq ? 0 : s.causal ? min(s.S, first + ROWS) : s.S;
    for (int start = 0; start < end; start += ROWS) {
        Of::Scores part;
        team.make_scores(part, stages, queries, keys, first, start,
                         [&] { team.begin_scores(stages.free(), gradients, values, first, start); });
        team.see<false>(part, s, mask, item, first, start);
#pragma unroll
        for (int m = 0; m < Of::M; ++m)
#pragma unroll
            for (int n = 0; n < Of::N; ++n)
                weights[team.weight(m, n)] = exp(part[m][n] - whole[m]);  // for this thread
        team.make_scores(part, stages, gradients, values, first, start,
                         [&] { team.begin_results(stages.free(), keys, start); });
#pragma unroll
        for (int m = 0; m < Of::M; ++m)
#pragma unroll
            for (int n = 0; n < Of::N; ++n) weights[team.weight(m, n)] *= part[m][n] - along[m];
        team.add_results(result, stages, weights, keys, start, [&] {
            if (start + ROWS < end) team.begin_scores(stages.free(), queries, keys, first, start + ROWS);
        });
    }
    if (!dq) return;
#pragma unroll
    for (int m = 0; m < Of::M; ++m) along[m] = s.scale;
    team.write(dq, result, along, item, first, s.L, s.E);
}

// dk and dv. A block's rows are keys; weights are of its keys and the tile's queries.
extern "C" __global__ void __launch_bounds__(KEY_THREADS, WIDTH == 32 ? BLOCKS : 1)
attention_backward_keys(real* __restrict__ dk, real* __restrict__ dv, const real* __restrict__ dy,
                        const real* __restrict__ q, const real* __restrict__ k, const real* __restrict__ v,
                        const real* __restrict__ mask, const real* __restrict__ lse, const real* __restrict__ delta,
                        Shape s) {
    typedef Team<KEY_THREADS> Of;
    __shared__ __align__(16) real memory[2][STAGE];
    __shared__ __align__(16) Weights weights;
    __shared__ real wholes[ROWS], alongs[ROWS];
    const Of team;
    const int item = blockIdx.x / s.tiles, first = blockIdx.x % s.tiles * ROWS;
    const Matrix queries(q, item, s.L, s.E), gradients(dy, item, s.L, s.V);
    const Matrix keys(k, item, s.S, s.E), values(v, item, s.S, s.V);
    Stages stages = {memory[0], memory[1]};
    Of::Result by_key = {}, by_value = {};
    // Queries before the first key of the block see none of its keys.
    const int begin = s.causal ? first : 0;
    if (begin < s.L) team.begin_scores(stages.free(), keys, queries, first, begin);
    for (int start = begin; start < s.L; start += ROWS) {
        if (threadIdx.x < ROWS) {
            const bool there = start + (int)threadIdx.x < s.L;
            wholes[threadIdx.x] = there ? lse[(size_t)item * s.L + start + threadIdx.x] : real(0);
            alongs[threadIdx.x] = there ? delta[(size_t)item * s.L + start + threadIdx.x] : real(0);
        }
        Of::Scores part;
        team.make_scores(part, stages, keys, queries, first, start,
                         [&] { team.begin_results(stages.free(), gradients, start); });
        team.see<true>(part, s, mask, item, start, first);
#pragma unroll
        for (int n = 0; n < Of::N; ++n) {
            const real whole = wholes[team.other(n)];
#pragma unroll
            for (int m = 0; m < Of::M; ++m) weights[team.weight(m, n)] = exp(part[m][n] - whole);
        }
        team.add_results(by_value, stages, weights, gradients, start,
                         [&] { team.begin_scores(stages.free(), values, gradients, first, start); });
        team.make_scores(part, stages, values, gradients, first, start,
                         [&] { team.begin_results(stages.free(), queries, start); });
#pragma unroll
        for (int n = 0; n < Of::N; ++n) {
            const real along = alongs[team.other(n)];
#pragma unroll
            for (int m = 0; m < Of::M; ++m) weights[team.weight(m, n)] *= part[m][n] - along;
        }
        team.add_results(by_key, stages, weights, queries, start, [&] {
            if (start + ROWS < s.L) team.begin_scores(stages.free(), keys, queries, first, start + ROWS);
        });
    }
    real factor[Of::M];
#pragma unroll
    for (int m = 0; m < Of::M; ++m) factor[m] = s.scale;
    if (dk) team.write(dk, by_key, factor, item, first, s.S, s.E);
#pragma unroll
    for (int m = 0; m < Of::M; ++m) factor[m] = 1;
    if (dv) team.write(dv, by_value, factor, item, first, s.S, s.V);
}
