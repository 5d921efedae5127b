// The index forgets half of the threads' number.
// Launch: grid 1, block 64, x 64, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x / 2] = x[threadIdx.x];  // finding: race
}
