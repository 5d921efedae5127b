// adamax.cu: one step of Adamax for all parameters in one launch.
//   d = sign * grad + weight_decay * param
//   mean += (1 - beta1) * (d - mean)
//   largest = max(beta2 * largest, |d| + eps)
//   param -= step_size * mean / largest
//   scalars (6): step_size = lr / (1 - beta1^t), 1 - beta1, beta2, eps, weight_decay, sign (-1 to maximise). The host
//   computes them for every step t; in device memory they reach a captured step. error: the device's error buffer,
//   which stops every update once set.
//   table: arrays param, grad, mean, largest.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param, mean and largest read and written, grad read: 28 bytes a parameter.
// Source: Kingma, Ba 2015, arXiv:1412.6980, algorithm 2.
#include "multi_tensor.cuh"

struct AdamaxRule {
    real step_size, take, beta2, eps, decay, sign;

    __device__ __forceinline__ void update(real (&x)[4]) const {
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] += take * (d - x[2]);
        x[3] = nan_max(beta2 * x[3], fabs(d) + eps);
        x[0] -= step_size * (x[2] / x[3]);
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
adamax_step(TensorTable<4> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<4>& row = table.row[table.tensor_of(blockIdx.x)];
    const AdamaxRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5]};
    for_each_element<15, 13>(row, rule);
}
