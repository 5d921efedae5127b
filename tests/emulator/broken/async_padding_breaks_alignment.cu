// A padding of one float keeps the banks apart and the rows off their 16 bytes.
// Launch: grid 1, block 32, x 512, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[32][17];
    for (int i = 0; i < 16; i += 4) cp_async_16(&tile[threadIdx.x][i], &x[16 * threadIdx.x + i]);  // finding: misaligned
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = tile[threadIdx.x][0];
}
