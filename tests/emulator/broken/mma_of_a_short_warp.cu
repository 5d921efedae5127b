// A block of 40 threads: its second warp has 8 lanes, and mma needs 32.
// Launch: grid 1, block 40, x 40, y 40.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float sum[4] = {};
    const unsigned a[4] = {to_tf32(x[threadIdx.x])}, b[2] = {to_tf32(1.0f)};
    mma_m16n8k8_tf32(sum, a, b);  // finding: absent-lane
    y[threadIdx.x] = sum[0];
}
