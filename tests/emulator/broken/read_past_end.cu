// Reads one element too many.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    const int i = threadIdx.x;
    y[i] = x[i] - x[i + 1];  // finding: out-of-bounds
}
