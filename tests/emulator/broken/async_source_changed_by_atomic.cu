// Another thread adds to the source of a copy in flight.
// Launch: grid 1, block 64, x 64, y 64, counter 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    __shared__ unsigned tile[64];
    cp_async_4(&tile[threadIdx.x], &counter[threadIdx.x]);
    cp_async_commit();
    __syncthreads();
    atomicAdd(&counter[63 - threadIdx.x], 1u);  // finding: undelivered
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
