// Threads go through the barrier a different number of times.
// Launch: grid 1, block 64, x 64, y 64, n 100.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        __syncthreads();  // finding: divergent-barrier
    }
    y[threadIdx.x] = x[threadIdx.x];
}
