// Half of the warp multiplies in tf32, the other half in bf16.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float sum[4] = {};
    const unsigned a[4] = {}, b[2] = {};
    if (threadIdx.x < 16)
        mma_m16n8k8_tf32(sum, a, b);  // finding: divergent-barrier
    else
        mma_m16n8k16_bf16(sum, a, b);  // finding: divergent-barrier
    y[threadIdx.x] = sum[0];
}
