// Whether to copy is given for how many bytes: one byte of four.
// Launch: grid 1, block 32, x 30, y 32, n 30.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32];
    cp_async_4(&tile[threadIdx.x], &x[threadIdx.x], threadIdx.x < n);  // finding: bad-size
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x];
}
