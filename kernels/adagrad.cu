// adagrad.cu: one step of Adagrad for all parameters in one launch.
//   d = sign * grad + weight_decay * param
//   sum += d^2
//   param -= step_size * d / (sqrt(sum) + eps)
//   scalars (4): step_size = lr / (1 + (t - 1) * lr_decay), eps, weight_decay, sign (-1 to maximise), in device
//   memory, so that a captured step sees new values; error: the device's error buffer, which stops every update.
//   table: arrays param, grad, sum.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param and sum read and written, grad read: 20 bytes a parameter.
// Source: Duchi, Hazan, Singer 2011, "Adaptive subgradient methods"; lecture topic T4.
#include "multi_tensor.cuh"

struct AdagradRule {
    real step_size, eps, decay, sign;

    __device__ __forceinline__ void update(real (&x)[3]) const {
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] += d * d;
        x[0] -= step_size * (d / (sqrt(x[2]) + eps));
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
adagrad_step(TensorTable<3> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<3>& row = table.row[table.tensor_of(blockIdx.x)];
    const AdagradRule rule = {scalars[0], scalars[1], scalars[2], scalars[3]};
    for_each_element<7, 5>(row, rule);
}
