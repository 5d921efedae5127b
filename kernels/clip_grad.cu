// clip_grad.cu: the norm of all gradients together, limiting the gradients by it or by value, and scaling them.
//   norm = (sum |x|^p)^(1/p) over all tensors, or max |x| for p = infinity
//   x *= min(1, max_norm / (norm + 1e-6))
//   x = min(max(x, -limit), limit)
//   x *= factor
//   table: array x.   part (chunks of all tables): sums of |x|^p, or maxima; `offset` is the table's first.
//   kind: 0: p = 2, 1: p = infinity, 2: any p > 0.   norm (): the result, in device memory.
// Launch: grid = chunks of CHUNK elements over all tensors of the table; block = 256.
//   grad_norm_total: one block of any number of whole warps up to 256.
// Traffic: grad_norm_parts reads each x once; scale_by_norm reads and writes it, or nothing where the factor is 1.
// Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063; lecture topic T8.
#include "multi_tensor.cuh"

enum { SQUARES, LARGEST, POWERS };

struct NormRule {
    int kind;
    real p, total;

    __device__ __forceinline__ void update(real (&x)[1]) {
        const real size = fabs(x[0]);
        if (kind == SQUARES)
            total += size * size;
        else if (kind == LARGEST)
            total = nan_max(total, size);
        else
            total += pow(size, p);
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
grad_norm_parts(INOUT real* part, TensorTable<1> table, int offset, int kind, real p) {
    NormRule rule = {kind, p, 0};
    for_each_element<1, 0>(table.row[table.tensor_of(blockIdx.x)], rule);
    const real total = kind == LARGEST ? block_max<0>(rule.total) : block_sum<1>(rule.total);
    if (threadIdx.x == 0) part[offset + blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
grad_norm_total(real* __restrict__ norm, const real* __restrict__ part, int count, int kind, real p) {
    real total = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) total = kind == LARGEST ? nan_max(total, part[i]) : total + part[i];
    total = kind == LARGEST ? block_max<0>(total) : block_sum<1>(total);
    if (threadIdx.x == 0) norm[0] = kind == SQUARES ? sqrt(total) : kind == LARGEST ? total : pow(total, 1 / p);
}

struct ScaleRule {
    real factor;
    __device__ __forceinline__ void update(real (&x)[1]) const { x[0] *= factor; }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
scale_by_norm(TensorTable<1> table, const real* __restrict__ norm, real max_norm) {
    const real wanted = max_norm / (norm[0] + real(1e-6));
    const ScaleRule rule = {wanted > 1 ? real(1) : wanted};  // NaN stays NaN
    if (rule.factor == 1) return;
    for_each_element<1, 1>(table.row[table.tensor_of(blockIdx.x)], rule);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1) scale_arrays(TensorTable<1> table, real factor) {
    const ScaleRule rule = {factor};
    for_each_element<1, 1>(table.row[table.tensor_of(blockIdx.x)], rule);
}

struct LimitRule {
    real limit;
    __device__ __forceinline__ void update(real (&x)[1]) const {
        x[0] = x[0] > limit ? limit : x[0] < -limit ? -limit : x[0];  // NaN stays NaN
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1) clip_values(TensorTable<1> table, real limit) {
    const LimitRule rule = {limit};
    for_each_element<1, 1>(table.row[table.tensor_of(blockIdx.x)], rule);
}
