// Every thread writes, and one takes the ticket without waiting for them: its fence is for what it has seen.
// Launch: grid 4, block 64, x 256, y 256, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    __shared__ bool last;
    y[blockIdx.x * 64 + threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];  // finding: race
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(counter, 1u) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (!last) return;
    float sum = 0.0f;
    for (int i = 0; i < 4; ++i) sum += y[i * 64 + threadIdx.x];  // finding: race
    __syncthreads();
    y[threadIdx.x] = sum;
}
