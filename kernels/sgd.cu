// sgd.cu: one optimiser step of all parameters in one launch.
//   d = sign * grad + weight_decay * param
//   momentum = first step ? d : mu * momentum + (1 - dampening) * d     (where there is momentum)
//   d = nesterov ? d + mu * momentum : momentum
//   param -= lr * d
//   scalars (5): lr, mu, 1 - dampening, weight_decay, sign (-1 to maximise), in device memory, so that a
//   captured step sees new values; error: the device's error buffer, which stops every update once set.
//   table: arrays param, grad, momentum (null: none); flag: first step; form: nesterov.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param and momentum read and written, grad read: 20 bytes a parameter.
// Source: Sutskever et al. 2013; PyTorch's form of momentum and dampening; lecture topic T3.
#include "multi_tensor.cuh"

// One tensor's rule. The numbers are read once; a thread then has them in registers.
struct SgdRule {
    real lr, mu, undamped, decay, sign;
    bool has_momentum, first, nesterov;

    __device__ __forceinline__ void update(real (&x)[3]) const {
        real d = sign * x[1];
        if (decay != 0) d += decay * x[0];  // 0 times an infinite parameter would be NaN
        if (has_momentum) {
            x[2] = first ? d : mu * x[2] + undamped * d;
            d = nesterov ? d + mu * x[2] : x[2];
        }
        x[0] -= lr * d;
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
sgd_step(TensorTable<3> table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const TensorRow<3>& row = table.row[table.tensor_of(blockIdx.x)];
    const SgdRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4],
                          row.array[2] != nullptr, row.flag != 0, table.form != 0};
    for_each_element<7, 5>(row, rule);
}
