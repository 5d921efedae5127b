// cross_entropy_probabilities.cu: losses[n] = -sum_c a[n, c] log softmax(x)[n, c] for targets t that are
// probabilities: a = w ((1 - s) t + s / C) with class weights w (null: 1) and label smoothing s. Their gradients:
// dlogits = softmax(x) sum(a) - a, dtarget = -(1 - s) w log softmax(x). Or, if loss is given, the sum of the losses over
// the divisor, and its gradients.
//   logits x, target t, dlogits, dtarget (N, C)   losses (N)   weight (C)   loss: one number   tickets: one, zero
// Launch: as rows in along_axis.cuh, `held` if one fits into its threads' registers; the last block adds up the losses.
// Traffic: rows: logits and target once, each gradient once; rows that do not fit into registers: logits three
// times, target twice.
// Source: lecture topic L3; Szegedy et al. 2015, arXiv:1512.00567.
#include "along_axis.cuh"
#include "double_sum.cuh"

template <bool Held>
__device__ __forceinline__ void one_row(real* losses, real* dlogits, real* dtarget, const real* x,
                                        const real* target, const real* weight, real smoothing, real each,
                                        const Line& at, long long row) {
    Vector<real, VEC> u[HELD], a[HELD];
    real top = -INFINITY;
    for_each_vector<Held>(at, [&](int j, size_t i) {
        u[j] = load<VEC>(x + i);
        a[j] = load<VEC>(target + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v) top = nan_max(top, u[j].v[v]);
    });
    top = line_max(at, top);

    const real kept = 1 - smoothing, spread = smoothing / at.length;
    typename Total<Held>::type e_total = 0, a_total = 0, dot_total = 0;  // the last: sum of a (x - top)
    for_each_vector<Held>(at, [&](int j, size_t i) {
        if (!Held) {
            u[j] = load<VEC>(x + i);
            a[j] = load<VEC>(target + i);
        }
        real e_part = 0, a_part = 0, dot_part = 0;
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real w = weight ? weight[i - at.offset + v] : real(1);
            u[j].v[v] -= top;
            a[j].v[v] = (a[j].v[v] * kept + spread) * w;
            e_part += exp(u[j].v[v]);
            a_part += a[j].v[v];
            dot_part += a[j].v[v] * u[j].v[v];
        }
        e_total += e_part;
        a_total += a_part;
        dot_total += dot_part;
    });
    const real sum = line_sum<0>(at, real(e_total)), sum_a = line_sum<1>(at, real(a_total));
    const real dot = line_sum<2>(at, real(dot_total)), log_sum = log(sum), scale = sum_a / sum;
    if (threadIdx.x == 0 && at.length > 0) losses[row] = sum_a * log_sum - dot;
    if (!dlogits && !dtarget) return;

    for_each_vector<Held>(at, [&](int j, size_t i) {
        if (!Held) {
            u[j] = load<VEC>(x + i);
            a[j] = load<VEC>(target + i);
        }
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real w = weight ? weight[i - at.offset + v] : real(1);
            if (!Held) {
                u[j].v[v] -= top;
                a[j].v[v] = (a[j].v[v] * kept + spread) * w;
            }
            a[j].v[v] = (exp(u[j].v[v]) * scale - a[j].v[v]) * each;
            u[j].v[v] = (u[j].v[v] - log_sum) * (-kept * w) * each;
        }
        if (dlogits) store(dlogits + i, a[j]);
        if (dtarget) store(dtarget + i, u[j]);
    });
}

// At most half as many threads as elsewhere: two arrays and three sums in double take all the registers of more.
extern "C" __global__ void __launch_bounds__(BLOCK / 2, 1)
cross_entropy_of_probabilities(real* __restrict__ loss, real* __restrict__ losses, real* __restrict__ dlogits,
                               real* __restrict__ dtarget, INOUT unsigned* __restrict__ tickets,
                               const real* __restrict__ logits, const real* __restrict__ target,
                               const real* __restrict__ weight, real smoothing, long long N, int C, int held,
                               double divisor) {
    __shared__ double found[WARP];
    const Line at = my_line(N, C, 1);
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const real each = loss && divisor != 0 ? real(1 / divisor) : real(1);
    if (held)
        one_row<true>(losses, dlogits, dtarget, logits, target, weight, smoothing, each, at, row);
    else
        one_row<false>(losses, dlogits, dtarget, logits, target, weight, smoothing, each, at, row);
    if (!loss || !last_block(tickets, gridDim.x)) return;
    const int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    double sum = 0;
    for (long long i = thread; i < N; i += threads) sum += losses[i];
    sum = warp_double_sum(sum);
    if (thread % WARP == 0) found[thread / WARP] = sum;
    __syncthreads();
    sum = warp_double_sum(thread % WARP < threads / WARP ? found[thread % WARP] : 0.0);
    if (thread == 0) loss[0] = sum / divisor;  // of no rows: NaN
}
