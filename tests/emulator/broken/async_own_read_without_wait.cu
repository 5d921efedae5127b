// A thread reads its own copy too soon: program order is not enough.
// Launch: grid 1, block 64, x 64, y 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    tile[threadIdx.x] = 0.0f;
    cp_async_4(&tile[threadIdx.x], &x[threadIdx.x]);
    cp_async_commit();
    y[threadIdx.x] = tile[threadIdx.x];  // finding: undelivered
    cp_async_wait<0>();
}
