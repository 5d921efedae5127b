// adadelta.cu: one step of Adadelta for all parameters in one launch.
//   d = sign * grad + weight_decay * param
//   square = rho * square + (1 - rho) * d^2
//   d = sqrt(moved + eps) / sqrt(square + eps) * d
//   moved = rho * moved + (1 - rho) * d^2
//   param -= lr * d
//   scalars (6): lr, rho, 1 - rho, eps, weight_decay, sign (-1 to maximise), in device memory, so that a captured step
//   sees new values; error: the device's error buffer, which stops every update once set.
//   table: arrays param, grad, square, moved.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param, square and moved read and written, grad read: 28 bytes a parameter.
// Source: Zeiler 2012, arXiv:1212.5701, algorithm 1.
#include "multi_tensor.cuh"

struct AdadeltaRule {
    real lr, rho, take, eps, decay, sign;

    __device__ __forceinline__ void update(real (&x)[4]) const {
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        x[2] = rho * x[2] + take * (d * d);
        d *= sqrt(x[3] + eps) / sqrt(x[2] + eps);
        x[3] = rho * x[3] + take * (d * d);
        x[0] -= lr * d;
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
adadelta_step(TensorTable<4> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<4>& row = table.row[table.tensor_of(blockIdx.x)];
    const AdadeltaRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5]};
    for_each_element<15, 13>(row, rule);
}
