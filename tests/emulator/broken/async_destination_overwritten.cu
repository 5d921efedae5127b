// The padding is written while the copy that covers it is on its way: either may come last.
// Launch: grid 1, block 32, x 128, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[32][4];
    cp_async_16(tile[threadIdx.x], &x[4 * threadIdx.x]);
    cp_async_commit();
    tile[threadIdx.x][3] = 0.0f;  // finding: undelivered
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x][0] + tile[threadIdx.x][3];
}
