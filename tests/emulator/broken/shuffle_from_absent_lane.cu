// A warp of 8 threads sums as if it had 32.
// Launch: grid 1, block 8, x 8, y 8.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);  // finding: absent-lane
    y[threadIdx.x] = v;
}
