// The sum is used twice, and its own last barrier is missing: the second call overwrites partial[0] before
// all threads have read the first result. On a GPU the numbers come out right most of the time.
// Launch: grid 1, block 64, x 64, y 64.
__device__ float block_sum(float value) {
    __shared__ float partial[2];
    for (int d = 16; d > 0; d /= 2) value += __shfl_down_sync(0xffffffffu, value, d);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;  // finding: race
    __syncthreads();
    return partial[0] + partial[1];  // finding: race
}
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    const float mean = block_sum(x[threadIdx.x]) / 64.0f;
    const float d = x[threadIdx.x] - mean;
    y[threadIdx.x] = block_sum(d * d);
}
