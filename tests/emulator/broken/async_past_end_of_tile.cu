// The tile has room for half of the threads' copies.
// Launch: grid 1, block 16, x 64, y 16.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[32], other[32];
    other[threadIdx.x] = tile[threadIdx.x] = 0.0f;
    __syncthreads();
    cp_async_16(tile + 4 * threadIdx.x, &x[4 * threadIdx.x]);  // finding: out-of-bounds
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x] + other[threadIdx.x];
}
