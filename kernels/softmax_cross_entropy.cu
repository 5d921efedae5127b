// softmax_cross_entropy.cu: loss[n] = log(sum_c exp(x[n, c])) - x[n, target[n]], and its gradient softmax(x) - onehot;
// with class weights w and label smoothing s loss[n] = -sum_c a[n, c] log softmax(x)[n, c], gradient
// softmax(x) sum(a) - a, where a[n, c] = w[c] ((1 - s) onehot + s / C).
//   logits x, dlogits, dx (N, C)   target, losses (N)   weight (C) or null   loss, factor: one number each
// Launch: rows: block = (32, rows), a warp for each row, or (threads, 1), a block for each row; dynamic shared
// memory holds its rows if `kept`. reduce: one block. backward: one thread per VEC elements.
// Traffic: rows: logits once (three times if a row does not fit into shared memory), dlogits once;
// backward: dlogits and dx once.
// A thread works on columns of its own throughout, so rows in shared memory need no barrier.
// Source: lecture topic L3; subtracting the row's maximum keeps exp in range whatever the scores.
#include "labels.cuh"

// Over the threads of one row.
__device__ __forceinline__ real row_max(real value) {
    return blockDim.x == WARP ? warp_max(value) : block_max<0>(value);
}
template <int Slot>
__device__ __forceinline__ real row_sum(real value) {
    return blockDim.x == WARP ? warp_sum(value) : block_sum<Slot>(value);
}

// One row of both kernels. Without Weighted everything that concerns weights and smoothing is left out.
template <bool Weighted>
__device__ __forceinline__ void one_row(real* __restrict__ losses, real* __restrict__ dlogits, int* error,
                                        const real* __restrict__ logits, const label* __restrict__ target,
                                        const real* __restrict__ weight, real smoothing, int N, int C,
                                        long long ignored, int layer, int kept) {
    DYNAMIC_SHARED(real, rows);
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= N) return;  // a whole warp, where there are several rows
    const real* x = logits + (size_t)row * C;
    real* mine = rows + (size_t)threadIdx.y * C;
    const int first = threadIdx.x * VEC, step = blockDim.x * VEC;
    const bool smooth = Weighted && smoothing > 0;

    real top = -INFINITY;
    for (int c = first; c < C; c += step) {
        const Vector<real, VEC> u = load<VEC>(x + c);
#pragma unroll
        for (int v = 0; v < VEC; ++v) top = nan_max(top, u.v[v]);
        if (kept) store(mine + c, u);
    }
    top = row_max(top);

    real sum = 0, weights = 0, weighted = 0;  // the last two: sum of w and of w (x - top)
    for (int c = first; c < C; c += step) {
        Vector<real, VEC> u = kept ? load<VEC>(mine + c) : load<VEC>(x + c);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            if (smooth) {
                const real w = weight ? weight[c + v] : real(1);
                weights += w;
                weighted += w * (u.v[v] - top);
            }
            u.v[v] = exp(u.v[v] - top);
            sum += u.v[v];
        }
        if (kept) store(mine + c, u);
    }
    sum = row_sum<0>(sum);
    if (smooth) {
        weights = row_sum<1>(weights);
        weighted = row_sum<2>(weighted);
    }

    const long long given = target[row];
    const bool counts = given != ignored, valid = given >= 0 && given < C;
    const real part = smooth ? smoothing / C : real(0);
    real own = 1;
    if (Weighted && counts && valid) own = (weight ? weight[given] : real(1)) * (1 - smoothing);
    if (threadIdx.x == 0) {
        if (counts && !valid) report_bad_data(error, layer, row, as_int(given));
        real loss = !counts ? real(0) : valid ? log(sum) - (x[given] - top) : INFINITY - INFINITY;
        if (Weighted && counts && valid) {
            loss *= own;
            if (smooth) loss += part * (weights * log(sum) - weighted);
        }
        losses[row] = loss;
    }
    if (!dlogits) return;
    const long long right = counts && valid ? given : -1;
    const real total = Weighted ? own + part * weights : real(1);
    const real scale = total / sum;
    for (int c = first; c < C; c += step) {
        Vector<real, VEC> u = kept ? load<VEC>(mine + c) : load<VEC>(x + c);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            real p = (kept ? u.v[v] : exp(u.v[v] - top)) * scale;
            if (smooth) p -= part * (weight ? weight[c + v] : real(1));
            u.v[v] = right < 0 ? real(0) : c + v == right ? p - own : p;  // without a class: no change, not even by NaN
        }
        store(dlogits + (size_t)row * C + c, u);
    }
}

extern "C" __global__ void cross_entropy_rows(real* __restrict__ losses, real* __restrict__ dlogits,
                                              INOUT int* __restrict__ error, const real* __restrict__ logits,
                                              const label* __restrict__ target, int N, int C, long long ignored,
                                              int layer, int kept) {
    one_row<false>(losses, dlogits, error, logits, target, nullptr, 0, N, C, ignored, layer, kept);
}

extern "C" __global__ void cross_entropy_weighted_rows(real* __restrict__ losses, real* __restrict__ dlogits,
                                                       INOUT int* __restrict__ error,
                                                       const real* __restrict__ logits,
                                                       const label* __restrict__ target,
                                                       const real* __restrict__ weight, real smoothing, int N, int C,
                                                       long long ignored, int layer, int kept) {
    one_row<true>(losses, dlogits, error, logits, target, weight, smoothing, N, C, ignored, layer, kept);
}

// loss = sum of the losses, or that over the number of rows that count, or over the sum of their targets' weights;
// factor = d loss / d losses[n] of those.
extern "C" __global__ void cross_entropy_reduce(real* __restrict__ loss, real* __restrict__ factor,
                                                const real* __restrict__ losses, const label* __restrict__ target,
                                                const real* __restrict__ weight, int N, int classes,
                                                long long ignored, int average) {
    real sum = 0, count = 0;
    for (int i = threadIdx.x; i < N; i += blockDim.x) {
        const long long t = target[i];
        const bool counts = t != ignored;
        sum += losses[i];
        if (!weight) count += counts;
        else if (counts && t >= 0 && t < classes) count += weight[t];  // of others the loss is NaN anyway
    }
    sum = block_sum<0>(sum);
    count = block_sum<1>(count);
    if (threadIdx.x > 0) return;
    loss[0] = average ? sum / count : sum;  // of no rows: NaN
    factor[0] = average && count != 0 ? 1 / count : real(1);
}

// dx = dlogits times factor and the one dy, or (factor null) times the row's dy.
extern "C" __global__ void cross_entropy_backward(real* __restrict__ dx, const real* __restrict__ dlogits,
                                                  const real* __restrict__ dy, const real* __restrict__ factor,
                                                  Divisor by_row, int threads) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= threads) return;
    const real d = factor ? dy[0] * factor[0] : dy[by_row.quotient(i)];
    Vector<real, VEC> u = load<VEC>(dlogits + (size_t)i * VEC);
#pragma unroll
    for (int v = 0; v < VEC; ++v) u.v[v] *= d;
    store(dx + (size_t)i * VEC, u);
}
