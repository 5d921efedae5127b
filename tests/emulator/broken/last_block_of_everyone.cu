// Every block sums up what is there so far, instead of the last one only.
// Launch: grid 4, block 32, x 128, y 8, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    if (threadIdx.x != 0) return;
    y[blockIdx.x] = x[blockIdx.x * 32];  // finding: race
    y[4 + blockIdx.x] = y[0] + y[1] + y[2] + y[3];  // finding: race unwritten-read
}
