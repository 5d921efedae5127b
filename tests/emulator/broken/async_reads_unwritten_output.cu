// The copy reads what another block has not written yet.
// Launch: grid 2, block 32, x 32, y 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32];
    const int other = 1 - blockIdx.x;
    cp_async_4(&tile[threadIdx.x], &y[32 * other + threadIdx.x]);  // finding: unwritten-read
    cp_async_commit();
    cp_async_wait<0>();
    y[32 * blockIdx.x + threadIdx.x] = tile[threadIdx.x] + x[threadIdx.x];
}
