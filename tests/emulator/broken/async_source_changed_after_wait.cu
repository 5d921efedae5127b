// Others write the source after their own wait, which says nothing about this thread's copy.
// Launch: grid 1, block 64, x 64, y 64, counter 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    __shared__ unsigned tile[64];
    cp_async_4(&tile[threadIdx.x], &counter[threadIdx.x]);
    cp_async_commit();
    __syncthreads();
    cp_async_wait<0>();
    counter[63 - threadIdx.x] = 7;  // finding: race undelivered
    y[threadIdx.x] = tile[threadIdx.x];
}
