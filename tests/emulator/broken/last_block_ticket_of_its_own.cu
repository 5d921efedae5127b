// Each block counts in a word of its own, so that the tickets order nothing.
// Launch: grid 4, block 32, x 128, y 4, counter 4.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    if (threadIdx.x != 0) return;
    y[blockIdx.x] = x[blockIdx.x * 32];  // finding: race
    __threadfence();
    atomicAdd(&counter[blockIdx.x], 1u);
    __threadfence();
    if (blockIdx.x == 0 || blockIdx.x == 3) y[0] += y[3];  // finding: race unwritten-read
}
