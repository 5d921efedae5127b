// Two halves of the block wait at different barriers.
// Launch: grid 1, block 64, x 64, y 64.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    if (threadIdx.x < 32)
        __syncthreads();  // finding: divergent-barrier
    else
        __syncthreads();  // finding: divergent-barrier
    y[threadIdx.x] = x[threadIdx.x];
}
