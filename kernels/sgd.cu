// sgd.cu: one optimiser step of all parameters in one launch.
//   d = sign * grad + weight_decay * param
//   momentum = first step ? d : mu * momentum + (1 - dampening) * d     (where there is momentum)
//   d = nesterov ? d + mu * momentum : momentum
//   param -= lr * d
//   scalars (5): lr, mu, 1 - dampening, weight_decay, sign (-1 to maximise), in device memory, so that a
//   recorded step sees new values; error: the device's error buffer, which stops every update once set.
// Launch: grid = chunks of CHUNK elements over all tensors of the table, block = 256.
// Traffic: param and momentum read and written, grad read: 20 bytes a parameter.
// Source: Sutskever et al. 2013; PyTorch's form of momentum and dampening; lecture topic T3.
#include "common.cuh"

#define TENSORS 96  // 40 bytes each: the table stays below CUDA's 4 KB of parameters
#define BLOCK 256
#define CHUNK (BLOCK * 16)

struct SgdTensor {
    real* param;
    const real* grad;
    real* momentum;  // null: none
    long long n;
    int first_chunk;  // where this tensor's chunks begin in the grid
    int first_step;
};

struct SgdTable {
    SgdTensor tensor[TENSORS];
    int count, nesterov;
};

__device__ __forceinline__ void sgd_update(real& param, real grad, real* momentum, bool first, bool nesterov,
                                           const real* __restrict__ scalars) {
    const real lr = scalars[0], mu = scalars[1], undamped = scalars[2], decay = scalars[3], sign = scalars[4];
    real d = sign * grad;
    if (decay != 0) d += decay * param;  // 0 times an infinite parameter would be NaN
    if (momentum != nullptr) {
        *momentum = first ? d : mu * *momentum + undamped * d;
        d = nesterov ? d + mu * *momentum : *momentum;
    }
    param -= lr * d;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sgd_step(SgdTable table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    int low = 0, high = table.count - 1;  // the last tensor whose first chunk is not after this block
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (table.tensor[middle].first_chunk <= (int)blockIdx.x)
            low = middle;
        else
            high = middle - 1;
    }
    const SgdTensor& t = table.tensor[low];
    const long long start = (long long)(blockIdx.x - t.first_chunk) * CHUNK;
    const long long end = min(t.n, start + CHUNK);
    const bool first = t.first_step, nesterov = table.nesterov, has_momentum = t.momentum != nullptr;
    for (long long i = start + threadIdx.x * VEC; i < end; i += BLOCK * VEC) {
        if (i + VEC <= end) {
            Vector<real, VEC> p = load<VEC>(t.param + i), m;
            const Vector<real, VEC> g = load<VEC>(t.grad + i);
            if (has_momentum) m = load<VEC>(t.momentum + i);
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                sgd_update(p.v[j], g.v[j], has_momentum ? &m.v[j] : nullptr, first, nesterov, scalars);
            store(t.param + i, p);
            if (has_momentum) store(t.momentum + i, m);
        } else {
            for (long long k = i; k < end; ++k)
                sgd_update(t.param[k], t.grad[k], has_momentum ? &t.momentum[k] : nullptr, first, nesterov, scalars);
        }
    }
}
