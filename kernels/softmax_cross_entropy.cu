// softmax_cross_entropy.cu: losses[n] = log(sum_c exp(x[n, c])) - x[n, target[n]], with gradient softmax(x) - onehot;
// with class weights w and label smoothing s losses[n] = -sum_c a[n, c] log softmax(x)[n, c], with gradient
// softmax(x) sum(a) - a, where a[n, c] = w[c] ((1 - s) onehot + s / C). loss: their sum, or that over the number of
// rows that count (the sum of their targets' weights).
//   logits x, dlogits, dx (N, C)   target, losses (N)   weight (C) or null   loss, factor: one number each
//   parts (warps or blocks, 2): the sum of their rows' losses, and of what those count   tickets: one, zero
// Launch: forward: block = rows * 32 threads, a warp for each row at a time, or `by_warp` not set a block for each row;
// dynamic shared memory holds a block's rows if `kept`. backward: one thread per VEC elements.
// Traffic: forward: logits once (three times if a row does not fit into shared memory), dlogits once;
// backward: dlogits and dx once.
// A thread works on columns of its own throughout, so rows in shared memory need no barrier.
// Source: lecture topic L3; subtracting the row's maximum keeps exp in range whatever the scores.
#include "labels.cuh"

#define THREADS 512  // of a block of the forward pass, at most

// Over the threads of one row.
__device__ __forceinline__ real row_max(real value, int by_warp) {
    return by_warp ? warp_max(value) : block_max<0>(value);
}
template <int Slot>
__device__ __forceinline__ real row_sum(real value, int by_warp) {
    return by_warp ? warp_sum(value) : block_sum<Slot>(value);
}

// What a row of this target counts in the mean.
__device__ __forceinline__ real share_of(long long target, const real* weight, int C, long long ignored) {
    if (target == ignored) return 0;
    if (!weight) return 1;
    return target >= 0 && target < C ? weight[target] : real(0);  // of other targets the loss is NaN anyway
}

__device__ __forceinline__ real inverse(real count) {
    return count != 0 ? 1 / count : real(1);
}

// Both kernels. Without Weighted everything that concerns weights and smoothing is left out.
// The reductions' slots are used again where barriers lie between.
template <bool Weighted>
__device__ __forceinline__ void forward(real* __restrict__ loss, real* __restrict__ factor, real* __restrict__ losses,
                                        real* __restrict__ dlogits, real* __restrict__ parts, unsigned* tickets,
                                        int* error, const real* __restrict__ logits,
                                        const label* __restrict__ target, const real* __restrict__ weight,
                                        real smoothing, int N, int C, long long ignored, int layer, int kept,
                                        int by_warp, int average) {
    DYNAMIC_SHARED(real, rows);
    const int lane = by_warp ? threadIdx.x % WARP : threadIdx.x, threads = by_warp ? WARP : blockDim.x;
    const int height = by_warp ? blockDim.x / WARP : 1, warp = by_warp ? threadIdx.x / WARP : 0;
    const int number = blockIdx.x * height + warp, numbers = gridDim.x * height;
    real* mine = rows + (size_t)warp * C;
    const int first = lane * VEC, step = threads * VEC;
    const bool smooth = Weighted && smoothing > 0;

    real each = 1;  // d loss / d losses[n], where the gradients are to have it
    if (average && dlogits && !factor) {
        real count = 0;
        for (int i = threadIdx.x; i < N; i += blockDim.x) count += share_of(target[i], weight, C, ignored);
        each = inverse(block_sum<0>(count));
    }
    real loss_sum = 0, count = 0;
    for (int row = number; row < N; row += numbers) {
        const real* x = logits + (size_t)row * C;
        real top = -INFINITY;
        for (int c = first; c < C; c += step) {
            const Vector<real, VEC> u = load<VEC>(x + c);
#pragma unroll
            for (int v = 0; v < VEC; ++v) top = nan_max(top, u.v[v]);
            if (kept) store(mine + c, u);
        }
        top = row_max(top, by_warp);

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
        sum = row_sum<0>(sum, by_warp);
        if (smooth) {
            weights = row_sum<1>(weights, by_warp);
            weighted = row_sum<2>(weighted, by_warp);
        }

        const long long given = target[row];
        const bool counts = given != ignored, valid = given >= 0 && given < C;
        real part = smooth ? smoothing / C : real(0), own = 1;
        if (Weighted && counts && valid) own = (weight ? weight[given] : real(1)) * (1 - smoothing);
        if (lane == 0) {
            if (counts && !valid) report_bad_data(error, layer, row, as_int(given));
            real found = !counts ? real(0) : valid ? log(sum) - (x[given] - top) : INFINITY - INFINITY;
            if (Weighted && counts && valid) {
                found *= own;
                if (smooth) found += part * (weights * log(sum) - weighted);
            }
            if (losses) losses[row] = found;
            loss_sum += found;
            count += share_of(given, weight, C, ignored);
        }
        if (!dlogits) continue;
        const long long right = counts && valid ? given : -1;
        own *= each;
        part *= each;
        const real scale = (Weighted ? own + part * weights : each) / sum;
        for (int c = first; c < C; c += step) {
            Vector<real, VEC> u = kept ? load<VEC>(mine + c) : load<VEC>(x + c);
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                real p = (kept ? u.v[v] : exp(u.v[v] - top)) * scale;
                if (smooth) p -= part * (weight ? weight[c + v] : real(1));
                // Without a class: no change, not even by NaN.
                u.v[v] = right < 0 ? real(0) : c + v == right ? p - own : p;
            }
            store(dlogits + (size_t)row * C + c, u);
        }
    }
    if (!loss) return;
    if (lane == 0) store(parts + (size_t)number * 2, Vector<real, 2>{loss_sum, count});
    if (!last_block(tickets, gridDim.x)) return;
    loss_sum = count = 0;
    for (int i = threadIdx.x; i < numbers; i += blockDim.x) {
        const Vector<real, 2> part = load<2>(parts + (size_t)i * 2);
        loss_sum += part.v[0];
        count += part.v[1];
    }
    loss_sum = block_sum<0>(loss_sum);
    count = block_sum<1>(count);
    if (threadIdx.x > 0) return;
    loss[0] = average ? loss_sum / count : loss_sum;  // of no rows: NaN
    if (factor) factor[0] = inverse(count);
}

// loss: null where the losses themselves are wanted, and losses where their sum or mean is. With factor dlogits are
// the gradients of the losses, and factor = d loss / d losses[n]; without it those of the loss.
extern "C" __global__ void __launch_bounds__(THREADS, 1) cross_entropy_forward(
    real* __restrict__ loss, real* __restrict__ factor, real* __restrict__ losses, real* __restrict__ dlogits,
    real* __restrict__ parts, INOUT unsigned* __restrict__ tickets, INOUT int* __restrict__ error,
    const real* __restrict__ logits, const label* __restrict__ target, int N, int C, long long ignored, int layer,
    int kept, int by_warp, int average) {
    forward<false>(loss, factor, losses, dlogits, parts, tickets, error, logits, target, nullptr, 0, N, C, ignored, layer,
                   kept, by_warp, average);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) cross_entropy_weighted_forward(
    real* __restrict__ loss, real* __restrict__ factor, real* __restrict__ losses, real* __restrict__ dlogits,
    real* __restrict__ parts, INOUT unsigned* __restrict__ tickets, INOUT int* __restrict__ error,
    const real* __restrict__ logits, const label* __restrict__ target, const real* __restrict__ weight, real smoothing,
    int N, int C, long long ignored, int layer, int kept, int by_warp, int average) {
    forward<true>(loss, factor, losses, dlogits, parts, tickets, error, logits, target, weight, smoothing, N, C, ignored,
                  layer, kept, by_warp, average);
}

// dx = dlogits times dy, one number or one for each row, and times factor, which may be null.
extern "C" __global__ void cross_entropy_backward(real* __restrict__ dx, const real* __restrict__ dlogits,
                                                  const real* __restrict__ dy, const real* __restrict__ factor,
                                                  Divisor by_dy, int threads) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= threads) return;
    const real d = factor ? dy[by_dy.quotient(i)] * factor[0] : dy[by_dy.quotient(i)];
    Vector<real, VEC> u = load<VEC>(dlogits + (size_t)i * VEC);
#pragma unroll
    for (int v = 0; v < VEC; ++v) u.v[v] *= d;
    store(dx + (size_t)i * VEC, u);
}
