// double_sum.cuh: sums in double, whatever `real` is: of losses, of which there may be many.
#ifndef GPUNN_DOUBLE_SUM_CUH
#define GPUNN_DOUBLE_SUM_CUH
#include "common.cuh"

__device__ __forceinline__ double warp_double_sum(double value) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(FULL_MASK, value, offset);
    return value;
}

// As block_sum (common.cuh): the same bits in every thread, a Slot for each call site.
template <int Slot>
__device__ __forceinline__ double block_double_sum(double value) {
    __shared__ double partial[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_double_sum(value);
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_double_sum(lane < warps ? partial[lane] : 0.0);
}

// The sum of `count` numbers, `step` apart, over the threads of a block.
template <int Slot>
__device__ __forceinline__ double block_double_sum(const double* from, int count, int step) {
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += from[(size_t)i * step];
    return block_double_sum<Slot>(sum);
}

#endif  // GPUNN_DOUBLE_SUM_CUH
