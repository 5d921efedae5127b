// The destination is a local array: cp.async reaches shared memory only.
// Launch: grid 1, block 4, x 64, y 4.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __align__(16) float mine[4] = {};
    cp_async_16(mine, &x[4 * threadIdx.x]);  // finding: address-space
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = mine[0];
}
