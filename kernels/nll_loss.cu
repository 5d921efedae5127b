// nll_loss.cu: losses[n] = -w[target[n]] x[n, target[n]], or with of_probabilities -w log(max(x, tiny)); their sum,
// or that over the sum of the weights w[target[n]]; and the gradient, which is 0 but at (n, target[n]).
//   x, dx (N, C)   target, losses (N)   weight w (C) or null: 1   loss, factor: one number each
//   parts (blocks, 2), double: sums of losses and of weights
// Launch: losses and parts: one thread per row, in parts several; a single block of parts writes the loss itself.
// total: one block. backward: one thread per VEC elements of dx.
// Traffic: target, and one element (32 bytes) of each row of x; backward: target, and dx once.
// Source: lecture topics L2, L5.
#include "double_sum.cuh"
#include "labels.cuh"

struct Rows {
    const real* x;
    const label* target;
    const real* weight;
    int classes, of_probabilities;
    real tiny;
    long long ignored;
};

struct Found {
    real loss, weight;
};

// A row's loss and weight, both 0 where it does not count. A label that is no class is reported; its loss is NaN.
__device__ __forceinline__ Found one_row(const Rows& rows, int* error, int layer, int row) {
    const long long t = rows.target[row];
    if (t == rows.ignored) return {0, 0};
    if (t < 0 || t >= rows.classes) {
        report_bad_data(error, layer, row, as_int(t));
        return {INFINITY - INFINITY, 1};
    }
    real value = rows.x[(size_t)row * rows.classes + t];
    if (rows.of_probabilities) value = log(value < rows.tiny ? rows.tiny : value);
    const real w = rows.weight ? rows.weight[t] : real(1);
    return {-w * value, w};
}

extern "C" __global__ void nll_losses(real* __restrict__ losses, INOUT int* __restrict__ error,
                                      const real* __restrict__ x, const label* __restrict__ target,
                                      const real* __restrict__ weight, int N, int C, int of_probabilities, real tiny,
                                      long long ignored, int layer) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= N) return;
    losses[row] = one_row({x, target, weight, C, of_probabilities, tiny, ignored}, error, layer, row).loss;
}

__device__ __forceinline__ void finish(real* loss, real* factor, double sum, double weights, int average) {
    const double divisor = average ? weights : 1.0;
    loss[0] = sum / divisor;  // of nothing: NaN
    factor[0] = 1 / divisor;
}

extern "C" __global__ void nll_parts(real* __restrict__ loss, real* __restrict__ factor, double* __restrict__ parts,
                                     INOUT int* __restrict__ error, const real* __restrict__ x,
                                     const label* __restrict__ target, const real* __restrict__ weight, int N, int C,
                                     int of_probabilities, real tiny, long long ignored, int layer, int average) {
    const Rows rows = {x, target, weight, C, of_probabilities, tiny, ignored};
    double sum = 0, weights = 0;
    for (long long row = (long long)blockIdx.x * blockDim.x + threadIdx.x; row < N;
         row += (long long)gridDim.x * blockDim.x) {
        const Found found = one_row(rows, error, layer, (int)row);
        sum += found.loss;
        weights += found.weight;
    }
    sum = block_double_sum<0>(sum);
    weights = block_double_sum<1>(weights);
    if (threadIdx.x > 0) return;
    if (gridDim.x > 1) {
        parts[2 * blockIdx.x] = sum;
        parts[2 * blockIdx.x + 1] = weights;
    } else {
        finish(loss, factor, sum, weights, average);
    }
}

extern "C" __global__ void nll_total(real* __restrict__ loss, real* __restrict__ factor,
                                     const double* __restrict__ parts, int count, int average) {
    const double sum = block_double_sum<0>(parts, count, 2), weights = block_double_sum<1>(parts + 1, count, 2);
    if (threadIdx.x == 0) finish(loss, factor, sum, weights, average);
}

// factor null: dy has a number for each row. Gradients of probabilities are held within +-largest.
extern "C" __global__ void nll_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                        const real* __restrict__ factor, const real* __restrict__ x,
                                        const label* __restrict__ target, const real* __restrict__ weight,
                                        Divisor by_row, int C, int of_probabilities, real tiny, real largest,
                                        long long ignored, int threads) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    int c = thread;
    const int row = by_row.split(c);
    const long long t = target[row], own = t == ignored ? -1 : t - (long long)c * VEC;
    Vector<real, VEC> u = {};
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        if (own != v) continue;
        real value = -(weight ? weight[t] : real(1)) * (factor ? dy[0] * factor[0] : dy[row]);
        if (of_probabilities) {
            const real p = x[(size_t)row * C + t];
            value /= p < tiny ? tiny : p;
            value = value > largest ? largest : value < -largest ? -largest : value;  // NaN stays NaN
        }
        u.v[v] = value;
    }
    store(dx + (size_t)thread * VEC, u);
}
