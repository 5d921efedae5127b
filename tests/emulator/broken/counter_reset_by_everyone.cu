// The counter is set to zero by a plain write while other blocks take their tickets.
// Launch: grid 4, block 32, x 32, y 4, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    if (threadIdx.x != 0) return;
    y[blockIdx.x] = atomicMax(counter, blockIdx.x);  // finding: race
    if (blockIdx.x == 2) *counter = 0;  // finding: race
}
