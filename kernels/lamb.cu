// lamb.cu: one step of LAMB for all parameters in three launches.
//   mean += (1 - beta1) * (d - mean),  square = beta2 * square + (1 - beta2) * d^2     with d = sign * grad
//   u = scale * mean / (sqrt(square) + eps) + weight_decay * param
//   ratio = |param| / |u|  by tensor, 1 where a norm is 0
//   param -= lr * ratio * u
//   scalars (8): lr, scale = sqrt(1 - beta2^t) / (1 - beta1^t), eps * sqrt(1 - beta2^t), 1 - beta1, beta2, 1 - beta2,
//   weight_decay, sign (-1 to maximise), in device memory, so that a captured step sees new values;
//   error: the device's error buffer, which stops every update once set.
//   table: arrays param, grad, mean, square.   part (chunks, 2): sums of param^2 and u^2.   ratio (tensors)
// Launch: lamb_moments and lamb_apply: grid = chunks of CHUNK elements over all tensors of the table;
//   lamb_ratio: grid = tensors; block = 256, of lamb_ratio any number of whole warps up to that.
// Traffic: u is computed twice instead of kept, which costs no memory and as many bytes: 40 a parameter.
// Source: You et al. 2020, arXiv:1904.00962, algorithm 2; lecture topic T4.
#include "multi_tensor.cuh"

struct LambRule {
    real lr, scale, eps, take, beta2, take2, decay, sign;

    __device__ __forceinline__ LambRule(const real* scalars)
        : lr(scalars[0]), scale(scalars[1]), eps(scalars[2]), take(scalars[3]), beta2(scalars[4]), take2(scalars[5]),
          decay(scalars[6]), sign(scalars[7]) {}

    __device__ __forceinline__ real direction(const real (&x)[4]) const {
        const real u = scale * (x[2] / (sqrt(x[3]) + eps));
        return decay != 0 ? u + decay * x[0] : u;  // 0 times an infinite parameter would be NaN
    }
};

struct LambMoments : LambRule {
    real params = 0, updates = 0;  // sums of squares

    __device__ __forceinline__ LambMoments(const real* scalars) : LambRule(scalars) {}

    __device__ __forceinline__ void update(real (&x)[4]) {
        const real d = sign * x[1];
        x[2] += take * (d - x[2]);
        x[3] = beta2 * x[3] + take2 * (d * d);
        const real u = direction(x);
        params += x[0] * x[0];
        updates += u * u;
    }
};

struct LambApply : LambRule {
    real step;

    __device__ __forceinline__ LambApply(const real* scalars, real ratio) : LambRule(scalars), step(lr * ratio) {}

    __device__ __forceinline__ void update(real (&x)[4]) const { x[0] -= step * direction(x); }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
lamb_moments(real* __restrict__ part, TensorTable<4> table, const real* __restrict__ scalars,
             const int* __restrict__ error) {
    if (failed(error)) return;
    LambMoments rule(scalars);
    for_each_element<15, 12>(table.row[table.tensor_of(blockIdx.x)], rule);
    const real params = block_sum<0>(rule.params), updates = block_sum<1>(rule.updates);
    if (threadIdx.x == 0) {
        part[2 * (size_t)blockIdx.x] = params;
        part[2 * (size_t)blockIdx.x + 1] = updates;
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
lamb_ratio(real* __restrict__ ratio, const real* __restrict__ part, TensorTable<4> table,
           const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<4>& row = table.row[blockIdx.x];
    const int end = row.first_chunk + (int)((row.n + CHUNK - 1) / CHUNK);
    real params = 0, updates = 0;
    for (int c = row.first_chunk + threadIdx.x; c < end; c += blockDim.x) {
        params += part[2 * (size_t)c];
        updates += part[2 * (size_t)c + 1];
    }
    params = sqrt(block_sum<0>(params));
    updates = sqrt(block_sum<1>(updates));
    if (threadIdx.x == 0) ratio[blockIdx.x] = params > 0 && updates > 0 ? params / updates : real(1);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
lamb_apply(TensorTable<4> table, const real* __restrict__ ratio, const real* __restrict__ scalars,
           const int* __restrict__ error) {
    if (failed(error)) return;
    const int tensor = table.tensor_of(blockIdx.x);
    const LambApply rule(scalars, ratio[tensor]);
    for_each_element<13, 1>(table.row[tensor], rule);
}
