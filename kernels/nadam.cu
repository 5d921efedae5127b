// nadam.cu: one step of NAdam for all parameters in one launch.
//   param *= keep                                 (keep = 1 - lr * weight_decay where decay is decoupled, else 1)
//   d = sign * grad + decay * param               (decay = weight_decay where it is not, else 0)
//   mean += (1 - beta1) * (d - mean)
//   square = beta2 * square + (1 - beta2) * d^2
//   param -= (now * d + ahead * mean) / (sqrt(square) + eps)
//   scalars (9): now = lr * root * (1 - mu_t) / (1 - mu_1 ... mu_t), ahead = lr * root * mu_{t+1} / (1 - mu_1 ...
//   mu_{t+1}), eps * root, with root = sqrt(1 - beta2^t); 1 - beta1, beta2, 1 - beta2, decay, keep, sign (-1 to
//   maximise). The host computes them for every step t; in device memory they reach a captured step. error: the
//   device's error buffer, which stops every update once set.
//   table: arrays param, grad, mean, square.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param, mean and square read and written, grad read: 28 bytes a parameter.
// Source: Dozat 2016, "Incorporating Nesterov momentum into Adam".
#include "multi_tensor.cuh"

struct NadamRule {
    real now, ahead, eps, take, beta2, take2, decay, keep, sign;

    __device__ __forceinline__ void update(real (&x)[4]) const {
        x[0] *= keep;
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] += take * (d - x[2]);
        x[3] = beta2 * x[3] + take2 * (d * d);
        x[0] -= (now * d + ahead * x[2]) / (sqrt(x[3]) + eps);
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
nadam_step(TensorTable<4> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<4>& row = table.row[table.tensor_of(blockIdx.x)];
    const NadamRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4],
                            scalars[5], scalars[6], scalars[7], scalars[8]};
    for_each_element<15, 13>(row, rule);
}
