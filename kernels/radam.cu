// radam.cu: one step of RAdam for all parameters in one launch.
//   param *= keep                                 (keep = 1 - lr * weight_decay where decay is decoupled, else 1)
//   d = sign * grad + decay * param               (decay = weight_decay where it is not, else 0)
//   mean += (1 - beta1) * (d - mean)
//   square = beta2 * square + (1 - beta2) * d^2
//   param -= step_size * mean                     (divided by sqrt(square) + eps if rectified)
//   scalars (9): step_size, of lr, t and both betas; eps; rectified, 1 or 0; 1 - beta1, beta2, 1 - beta2, decay, keep,
//   sign (-1 to maximise). The host computes them for every step t, and decides from which on there is enough to tell
//   the squares' average from chance; in device memory they reach a captured step. error: the device's error buffer,
//   which stops every update once set.
//   table: arrays param, grad, mean, square.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param, mean and square read and written, grad read: 28 bytes a parameter.
// Source: Liu, Jiang, He, Chen, Liu, Gao, Han 2019, arXiv:1908.03265, algorithm 2.
#include "multi_tensor.cuh"

struct RadamRule {
    real step_size, eps, rectified, take, beta2, take2, decay, keep, sign;

    __device__ __forceinline__ void update(real (&x)[4]) const {
        x[0] *= keep;
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] += take * (d - x[2]);
        x[3] = beta2 * x[3] + take2 * (d * d);
        x[0] -= step_size * (rectified != 0 ? x[2] / (sqrt(x[3]) + eps) : x[2]);
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
radam_step(TensorTable<4> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<4>& row = table.row[table.tensor_of(blockIdx.x)];
    const RadamRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4],
                            scalars[5], scalars[6], scalars[7], scalars[8]};
    for_each_element<15, 13>(row, rule);
}
