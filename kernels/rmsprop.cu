// rmsprop.cu: one step of RMSprop for all parameters in one launch.
//   d = sign * grad + weight_decay * param
//   square = alpha * square + (1 - alpha) * d^2
//   mean += (1 - alpha) * (d - mean)              (centered, which then subtracts mean^2 from square)
//   d = d / (sqrt(square) + eps)
//   momentum = mu * momentum + d                  (where there is momentum, which then is d)
//   param -= lr * d
//   scalars (7): lr, alpha, 1 - alpha, eps, weight_decay, mu, sign (-1 to maximise), in device memory, so that a
//   captured step sees new values; error: the device's error buffer, which stops every update once set.
//   table: arrays param, grad, square, mean (null: not centered), momentum (null: none).
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param and square read and written, grad read: 20 bytes a parameter; 8 more for mean and for momentum.
// Source: Hinton 2012, "Neural networks for machine learning", lecture 6; Graves 2013, arXiv:1308.0850 (centered);
// lecture topic T4.
#include "multi_tensor.cuh"

struct RmspropRule {
    real lr, alpha, take, eps, decay, mu, sign;
    bool centered, has_momentum;

    __device__ __forceinline__ void update(real (&x)[5]) const {
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] = alpha * x[2] + take * (d * d);
        real spread = x[2];
        if (centered) {
            x[3] += take * (d - x[3]);
            spread -= x[3] * x[3];
        }
        d /= sqrt(spread) + eps;
        if (has_momentum) d = x[4] = mu * x[4] + d;
        x[0] -= lr * d;
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
rmsprop_step(TensorTable<5> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<5>& row = table.row[table.tensor_of(blockIdx.x)];
    const RmspropRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5], scalars[6],
                              row.array[3] != nullptr, row.array[4] != nullptr};
    for_each_element<31, 29>(row, rule);
}
