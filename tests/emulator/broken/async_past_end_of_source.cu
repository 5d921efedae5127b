// The last copy reaches beyond the array, where the number of valid bytes should end it.
// Launch: grid 1, block 16, x 62, y 16, n 62.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[64];
    cp_async_16(&tile[4 * threadIdx.x], &x[4 * threadIdx.x]);  // finding: out-of-bounds
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];
}
