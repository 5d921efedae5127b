// The caller is not named in its own mask.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, x[threadIdx.x], 0);  // finding: bad-mask
}
