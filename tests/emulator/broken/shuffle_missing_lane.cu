// All lanes are named in the mask, some have returned.
// Launch: grid 1, block 32, x 32, y 32, n 20.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    if (threadIdx.x >= n) return;
    y[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);  // finding: deadlock
}
