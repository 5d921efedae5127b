// Lanes named in one mask call different collectives.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (threadIdx.x % 2)
        v = __shfl_xor_sync(0xffffffffu, v, 1);  // finding: divergent-barrier
    else
        v = __any_sync(0xffffffffu, v > 0.0f);  // finding: divergent-barrier
    y[threadIdx.x] = v;
}
