// The tickets are taken after a fence, but nothing keeps the reads after the ticket.
// Launch: grid 4, block 32, x 128, y 4, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    if (threadIdx.x != 0) return;
    y[blockIdx.x] = x[blockIdx.x * 32];
    __threadfence();
    if (atomicAdd(counter, 1u) == gridDim.x - 1)
        y[0] += y[1] + y[2] + y[3];  // finding: race
}
