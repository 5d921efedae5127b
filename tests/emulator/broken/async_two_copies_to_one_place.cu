// The buffer is filled again before the first copy to it has been waited for: either may come last.
// Launch: grid 1, block 32, x 64, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32];
    for (int i = 0; i < 64; i += 32) {
        cp_async_4(&tile[threadIdx.x], &x[i + threadIdx.x]);  // finding: undelivered
        cp_async_commit();
    }
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
