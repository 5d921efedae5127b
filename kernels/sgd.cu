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

// One tensor's rule. The numbers are read once; a thread then has them in registers.
struct SgdRule {
    real lr, mu, undamped, decay, sign;
    bool has_momentum, first, nesterov;

    __device__ __forceinline__ void update(real& param, real grad, real& momentum) const {
        real d = sign * grad;
        if (decay != 0) d += decay * param;  // 0 times an infinite parameter would be NaN
        if (has_momentum) {
            momentum = first ? d : mu * momentum + undamped * d;
            d = nesterov ? d + mu * momentum : momentum;
        }
        param -= lr * d;
    }
};

// The last tensor whose first chunk is not after `chunk`.
__device__ __forceinline__ int tensor_of(const SgdTable& table, int chunk) {
    int low = 0, high = table.count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (table.tensor[middle].first_chunk <= chunk)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
sgd_step(SgdTable table, const real* __restrict__ scalars, const int* __restrict__ error) {
    if (failed(error)) return;
    const SgdTensor& t = table.tensor[tensor_of(table, blockIdx.x)];
    const SgdRule rule = {scalars[0], scalars[1], scalars[2], scalars[3], scalars[4],
                          t.momentum != nullptr, t.first_step != 0, table.nesterov != 0};
    real* const param = t.param;
    const real* const grad = t.grad;
    real* const momentum = t.momentum;
    const long long start = (long long)(blockIdx.x - t.first_chunk) * CHUNK;
    const long long end = min(t.n, start + CHUNK);
    for (long long i = start + threadIdx.x * VEC; i < end; i += BLOCK * VEC) {
        if (i + VEC <= end) {
            Vector<real, VEC> p = load<VEC>(param + i), m = {};
            const Vector<real, VEC> g = load<VEC>(grad + i);
            if (rule.has_momentum) m = load<VEC>(momentum + i);
#pragma unroll
            for (int j = 0; j < VEC; ++j) rule.update(p.v[j], g.v[j], m.v[j]);
            store(param + i, p);
            if (rule.has_momentum) store(momentum + i, m);
        } else {
            for (long long k = i; k < end; ++k) {
                real m = rule.has_momentum ? momentum[k] : real(0);
                rule.update(param[k], grad[k], m);
                if (rule.has_momentum) momentum[k] = m;
            }
        }
    }
}
