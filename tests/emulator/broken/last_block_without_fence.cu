// The last block to finish sums what all left in y, but nobody fences before taking the ticket.
// Launch: grid 4, block 32, x 128, y 4, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    __shared__ bool last;
    float v = x[blockIdx.x * 32 + threadIdx.x];
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
    if (threadIdx.x == 0) {
        y[blockIdx.x] = v;
        last = atomicAdd(counter, 1u) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (last && threadIdx.x == 0) y[0] += y[1] + y[2] + y[3];  // finding: race
}
