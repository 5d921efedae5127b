// The source is written before the copy from it has arrived: the old or the new value is copied.
// Launch: grid 1, block 32, x 32, y 32, counter 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    __shared__ unsigned tile[32];
    cp_async_4(&tile[threadIdx.x], &counter[threadIdx.x]);
    cp_async_commit();
    counter[threadIdx.x] = 7;  // finding: undelivered
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
