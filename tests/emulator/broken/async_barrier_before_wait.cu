// The barrier comes before the wait, so that it says nothing about the copies.
// Launch: grid 1, block 64, x 64, y 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    cp_async_4(&tile[threadIdx.x], &x[threadIdx.x]);
    cp_async_commit();
    __syncthreads();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[63 - threadIdx.x];  // finding: race undelivered
}
