// The rest of the row is given, not what is valid of these four elements.
// Launch: grid 1, block 4, x 64, y 4.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[4][4];
    cp_async_16(tile[threadIdx.x], &x[4 * threadIdx.x], 4 * (n - 4 * threadIdx.x));  // finding: bad-size
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x][0];
}
