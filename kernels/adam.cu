// adam.cu: one step of Adam or AdamW for all parameters in one launch.
//   param *= keep                                 (keep = 1 - lr * weight_decay for AdamW, else 1)
//   d = sign * grad + decay * param               (decay = weight_decay for Adam, else 0)
//   mean += (1 - beta1) * (d - mean)
//   square = beta2 * square + (1 - beta2) * d^2
//   largest = max(largest, square)                (AMSGrad, which then uses it in place of square)
//   param -= step_size * mean / (sqrt(square) + eps)
//   scalars (8): step_size = lr * sqrt(1 - beta2^t) / (1 - beta1^t), eps * sqrt(1 - beta2^t), 1 - beta1, beta2,
//   1 - beta2, decay, keep, sign (-1 to maximise). The host computes them for every step t; in device memory they
//   reach a captured step. error: the device's error buffer, which stops every update once set.
//   table: arrays param, grad, mean, square, largest (null: no AMSGrad).
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param, mean and square read and written, grad read: 28 bytes a parameter.
// Source: Kingma, Ba 2015, arXiv:1412.6980 (the end of section 2 has this order of operations); Loshchilov, Hutter
// 2019, arXiv:1711.05101; Reddi, Kale, Kumar 2018; lecture topic T4.
#include "multi_tensor.cuh"

struct AdamRule {
    real step_size, eps, take, beta2, take2, decay, keep, sign;
    bool amsgrad;

    __device__ __forceinline__ void update(real (&x)[5]) const {
        x[0] *= keep;
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] += take * (d - x[2]);
        x[3] = beta2 * x[3] + take2 * (d * d);
        if (amsgrad) x[4] = nan_max(x[4], x[3]);
        x[0] -= step_size * (x[2] / (sqrt(amsgrad ? x[4] : x[3]) + eps));
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
adam_step(TensorTable<5> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<5>& row = table.row[table.tensor_of(blockIdx.x)];
    const AdamRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4],
                           scalars[5], scalars[6], scalars[7], row.array[4] != nullptr};
    for_each_element<31, 29>(row, rule);
}
