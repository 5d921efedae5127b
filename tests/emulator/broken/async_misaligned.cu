// Rows of 20 bytes are copied 16 bytes at a time.
// Launch: grid 1, block 4, x 20, y 4.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[4][4];
    cp_async_16(tile[threadIdx.x], &x[5 * threadIdx.x]);  // finding: misaligned
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x][0];
}
