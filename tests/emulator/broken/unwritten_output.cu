// Adds to an output that nobody has set to zero.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] += x[threadIdx.x];  // finding: unwritten-read
}
