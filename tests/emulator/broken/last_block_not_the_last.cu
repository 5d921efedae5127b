// The first block to take a ticket reads what the others have left, which may be nothing yet.
// Launch: grid 4, block 32, x 128, y 8, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    if (threadIdx.x != 0) return;
    y[blockIdx.x] = x[blockIdx.x * 32];
    __threadfence();
    const bool last = atomicAdd(counter, 1u) == gridDim.x - 2;  // off by one
    __threadfence();
    if (last) y[4] = y[0] + y[1] + y[2] + y[3];  // finding: unwritten-read
}
