// The guard lets one thread too many through.
// Launch: grid 1, block 64, x 64, y 40, n 40.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    const int i = threadIdx.x;
    if (i <= n) y[i] = x[i];  // finding: out-of-bounds
}
