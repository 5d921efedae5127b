// scaled_dot_product_attention.cu: y = softmax(q kT scale + mask) v, the softmax over the keys, and its gradients, without
// the L S weights ever being in memory. With p the weights and delta_i = dy_i . y_i:
// ds = p (dy vT - delta), dq = scale ds k, dk = scale dsT q, dv = pT dy.
//   q (B, L, E)   k (B, S, E)   v (B, S, V)   y, dy (B, L, V)   dq, dk, dv as q, k, v; each may be null
//   lse, delta (B, L): the logarithm of each query's sum of exp(scores); of which p = exp(score - lse)
//   mask (B or 1, L, S), added to the scores, or null; causal: a query sees keys up to its own position
// Launch: a block holds ROWS queries (attention_backward_keys: keys) and goes through the others in tiles of ROWS; 4
// threads a row, each with every fourth key of a tile and every fourth feature of the result. Blocks of one item follow
// each other in the grid.
// Traffic: the block's own rows once; all other rows once a block, so k and v ceil(L / ROWS) times.
// The softmax is taken as tiles come: sums so far are scaled down when a larger score appears (Milakov, Gimelshein 2018,
// arXiv:1805.02867). All sums are in a fixed order: the same bits every time.
// Source: Dao, Fu, Ermon, Rudra, Ré 2022, arXiv:2205.14135; lecture topic L17.
#include "common.cuh"

#define LANES 4  // threads of a row

// Four tiles of WIDTH features and their weights fit into 48 KB.
constexpr int FITTING = 8192 / (WIDTH * (int)sizeof(real));
constexpr int MOST = 128 / (int)sizeof(real);
constexpr int ROWS = FITTING < MOST ? FITTING : MOST;
constexpr int THREADS = ROWS * LANES;
constexpr int KEYS = ROWS / LANES;       // of a tile, that a thread has
constexpr int FEATURES = WIDTH / LANES;  // of a row, that a thread has

// One column more than there are, so that rows begin in different banks.
typedef real Tile[ROWS][WIDTH + 1];
typedef real Weights[ROWS][ROWS + 1];

// Sizes of one item, and what the scores are made with.
struct Shape {
    int L, S, E, V;
    int tiles;       // blocks of one item
    int mask_items;  // 1: all items have the same mask
    int causal;
    real scale;
};

// Rows from `first` on of an array (rows, columns) into a tile, zeros beyond it.
__device__ __forceinline__ void fetch(Tile& to, const real* from, int first, int rows, int columns) {
    for (int i = threadIdx.x; i < ROWS * WIDTH; i += THREADS) {
        const int r = i / WIDTH, c = i % WIDTH;
        to[r][c] = first + r < rows && c < columns ? from[(size_t)(first + r) * columns + c] : real(0);
    }
}

__device__ __forceinline__ real dot(const real* a, const real* b) {
    real sum = 0;
#pragma unroll 8
    for (int c = 0; c < WIDTH; ++c) sum += a[c] * b[c];
    return sum;
}

// Over the threads of a row, the same bits in each.
__device__ __forceinline__ real row_sum(real value) {
#pragma unroll
    for (int offset = LANES / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(FULL_MASK, value, offset);
    return value;
}

__device__ __forceinline__ real row_max(real value) {
#pragma unroll
    for (int offset = LANES / 2; offset > 0; offset /= 2)
        value = nan_max(value, __shfl_xor_sync(FULL_MASK, value, offset));
    return value;
}

// The score of query i and key j, whose product is given; -INFINITY where the query does not see the key.
__device__ __forceinline__ real score(real product, const Shape& s, const real* mask, int item, int i, int j) {
    if (i >= s.L || j >= s.S || (s.causal && j > i)) return -INFINITY;
    const real found = product * s.scale;
    return mask ? found + mask[((size_t)(s.mask_items == 1 ? 0 : item) * s.L + i) * s.S + j] : found;
}

__device__ __forceinline__ const real* of_item(const real* array, int item, int rows, int columns) {
    return array + (size_t)item * rows * columns;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
attention_forward(real* __restrict__ y, real* __restrict__ lse, const real* __restrict__ q, const real* __restrict__ k,
                  const real* __restrict__ v, const real* __restrict__ mask, Shape s) {
    __shared__ Tile queries, keys, values;
    __shared__ Weights weights;
    const int r = threadIdx.x / LANES, lane = threadIdx.x % LANES, item = blockIdx.x / s.tiles;
    const int first = blockIdx.x % s.tiles * ROWS, i = first + r;
    real most = -INFINITY, sum = 0, result[FEATURES] = {};
    fetch(queries, of_item(q, item, s.L, s.E), first, s.L, s.E);
    const int end = s.causal ? min(s.S, first + ROWS) : s.S;
    for (int start = 0; start < end; start += ROWS) {
        __syncthreads();  // the last tiles have been read
        fetch(keys, of_item(k, item, s.S, s.E), start, s.S, s.E);
        fetch(values, of_item(v, item, s.S, s.V), start, s.S, s.V);
        __syncthreads();
        real scores[KEYS], largest = most;
#pragma unroll
        for (int n = 0; n < KEYS; ++n) {
            const int j = lane + n * LANES;
            scores[n] = score(dot(queries[r], keys[j]), s, mask, item, i, start + j);
            largest = nan_max(largest, scores[n]);
        }
        largest = row_max(largest);
        // Where nothing was seen yet, -INFINITY is no number to subtract.
        const real about = largest == -INFINITY ? real(0) : largest, shrink = exp(most - about);
        real part = 0;
#pragma unroll
        for (int n = 0; n < KEYS; ++n) {
            const real p = exp(scores[n] - about);
            weights[r][lane + n * LANES] = p;
            part += p;
        }
        sum = sum * shrink + row_sum(part);
        most = largest;
        __syncwarp();  // a row's threads are of one warp
#pragma unroll
        for (int f = 0; f < FEATURES; ++f) result[f] *= shrink;
        for (int j = 0; j < ROWS; ++j) {
            const real p = weights[r][j];
#pragma unroll
            for (int f = 0; f < FEATURES; ++f) result[f] += p * values[j][lane + f * LANES];
        }
    }
    if (i >= s.L) return;
    if (most == -INFINITY) most = 0, sum = 1;  // it sees no key: 0 / 1, and weights exp(-INFINITY - 0) in the backward
    real* row = y + ((size_t)item * s.L + i) * s.V;
#pragma unroll
    for (int f = 0; f < FEATURES; ++f)
        if (lane + f * LANES < s.V) row[lane + f * LANES] = result[f] / sum;
    if (lane == 0) lse[(size_t)item * s.L + i] = most + log(sum);
}

// dq, and delta for attention_backward_keys.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
attention_backward_queries(real* __restrict__ dq, real* __restrict__ delta, const real* __restrict__ dy,
                           const real* __restrict__ q, const real* __restrict__ k, const real* __restrict__ v,
                           const real* __restrict__ mask, const real* __restrict__ y, const real* __restrict__ lse,
                           Shape s) {
    __shared__ Tile queries, gradients, keys, values;
    __shared__ Weights weights;
    const int r = threadIdx.x / LANES, lane = threadIdx.x % LANES, item = blockIdx.x / s.tiles;
    const int first = blockIdx.x % s.tiles * ROWS, i = first + r;
    fetch(queries, of_item(q, item, s.L, s.E), first, s.L, s.E);
    fetch(gradients, of_item(dy, item, s.L, s.V), first, s.L, s.V);
    __syncthreads();
    real along = 0, whole = 0, result[FEATURES] = {};
    if (i < s.L) {
        const real* row = of_item(y, item, s.L, s.V) + (size_t)i * s.V;
        for (int c = lane; c < s.V; c += LANES) along += gradients[r][c] * row[c];
        whole = lse[(size_t)item * s.L + i];
    }
    along = row_sum(along);
    if (i < s.L && lane == 0) delta[(size_t)item * s.L + i] = along;
    const int end = !dq ? 0 : s.causal ? min(s.S, first + ROWS) : s.S;
    for (int start = 0; start < end; start += ROWS) {
        __syncthreads();  // the last tiles have been read
        fetch(keys, of_item(k, item, s.S, s.E), start, s.S, s.E);
        fetch(values, of_item(v, item, s.S, s.V), start, s.S, s.V);
        __syncthreads();
#pragma unroll
        for (int n = 0; n < KEYS; ++n) {
            const int j = lane + n * LANES;
            const real found = score(dot(queries[r], keys[j]), s, mask, item, i, start + j);
            const real p = i < s.L && start + j < s.S ? exp(found - whole) : real(0);
            weights[r][j] = p * (dot(gradients[r], values[j]) - along);
        }
        __syncwarp();  // a row's threads are of one warp
        for (int j = 0; j < ROWS; ++j) {
            const real ds = weights[r][j];
#pragma unroll
            for (int f = 0; f < FEATURES; ++f) result[f] += ds * keys[j][lane + f * LANES];
        }
    }
    if (!dq || i >= s.L) return;
    real* row = dq + ((size_t)item * s.L + i) * s.E;
#pragma unroll
    for (int f = 0; f < FEATURES; ++f)
        if (lane + f * LANES < s.E) row[lane + f * LANES] = result[f] * s.scale;
}

// dk and dv. A block's rows are keys; weights[r][i] are of key r and the tile's query i.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
attention_backward_keys(real* __restrict__ dk, real* __restrict__ dv, const real* __restrict__ dy,
                        const real* __restrict__ q, const real* __restrict__ k, const real* __restrict__ v,
                        const real* __restrict__ mask, const real* __restrict__ lse, const real* __restrict__ delta,
                        Shape s) {
    __shared__ Tile queries, gradients, keys, values;
    __shared__ Weights weights, slopes;
    __shared__ real wholes[ROWS], alongs[ROWS];
    const int r = threadIdx.x / LANES, lane = threadIdx.x % LANES, item = blockIdx.x / s.tiles;
    const int first = blockIdx.x % s.tiles * ROWS, j = first + r;
    real by_key[FEATURES] = {}, by_value[FEATURES] = {};
    fetch(keys, of_item(k, item, s.S, s.E), first, s.S, s.E);
    fetch(values, of_item(v, item, s.S, s.V), first, s.S, s.V);
    // Queries before the first key of the block see none of its keys.
    for (int start = s.causal ? first : 0; start < s.L; start += ROWS) {
        __syncthreads();  // the last tiles have been read
        fetch(queries, of_item(q, item, s.L, s.E), start, s.L, s.E);
        fetch(gradients, of_item(dy, item, s.L, s.V), start, s.L, s.V);
        if (threadIdx.x < ROWS) {
            const bool there = start + (int)threadIdx.x < s.L;
            wholes[threadIdx.x] = there ? lse[(size_t)item * s.L + start + threadIdx.x] : real(0);
            alongs[threadIdx.x] = there ? delta[(size_t)item * s.L + start + threadIdx.x] : real(0);
        }
        __syncthreads();
#pragma unroll
        for (int n = 0; n < KEYS; ++n) {
            const int i = lane + n * LANES;
            const real found = score(dot(queries[i], keys[r]), s, mask, item, start + i, j);
            const real p = start + i < s.L && j < s.S ? exp(found - wholes[i]) : real(0);
            weights[r][i] = p;
            slopes[r][i] = p * (dot(gradients[i], values[r]) - alongs[i]);
        }
        __syncwarp();  // a row's threads are of one warp
        for (int i = 0; i < ROWS; ++i) {
            const real p = weights[r][i], ds = slopes[r][i];
#pragma unroll
            for (int f = 0; f < FEATURES; ++f) {
                by_key[f] += ds * queries[i][lane + f * LANES];
                by_value[f] += p * gradients[i][lane + f * LANES];
            }
        }
    }
    if (j >= s.S) return;
#pragma unroll
    for (int f = 0; f < FEATURES; ++f) {
        const int c = lane + f * LANES;
        if (dk && c < s.E) dk[((size_t)item * s.S + j) * s.E + c] = by_key[f] * s.scale;
        if (dv && c < s.V) dv[((size_t)item * s.S + j) * s.V + c] = by_value[f];
    }
}
