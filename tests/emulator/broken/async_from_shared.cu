// The source is shared memory: cp.async reads global memory only.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32], copy[32];
    tile[threadIdx.x] = x[threadIdx.x];
    cp_async_4(&copy[threadIdx.x], &tile[threadIdx.x]);  // finding: address-space
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = copy[threadIdx.x];
}
