// Only the lanes with something to add call the product; it takes the whole warp.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float sum[4] = {};
    const unsigned a[4] = {to_tf32(x[threadIdx.x])}, b[2] = {to_tf32(1.0f)};
    if (threadIdx.x < 20) mma_m16n8k8_tf32(sum, a, b);  // finding: deadlock
    y[threadIdx.x] = sum[0];
}
