// Lanes of one shuffle hand in values of different sizes.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (threadIdx.x % 2)
        v = __shfl_xor_sync(0xffffffffu, v, 1);  // finding: divergent-barrier
    else
        v = __shfl_xor_sync(0xffffffffu, (double)v, 1);  // finding: divergent-barrier
    y[threadIdx.x] = v;
}
