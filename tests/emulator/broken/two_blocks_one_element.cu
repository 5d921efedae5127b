// Each block adds its part into one element, without an atomic.
// Launch: grid 4, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] = blockIdx.x * x[threadIdx.x];  // finding: race
}
