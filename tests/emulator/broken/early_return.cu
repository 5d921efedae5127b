// Threads without work return before the barrier.
// Launch: grid 1, block 64, x 64, y 64, n 40.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    if (threadIdx.x >= n) return;
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();  // finding: divergent-barrier
    y[threadIdx.x] = tile[n - 1 - threadIdx.x];
}
