// Only the first block fills the shared table; the others read what a block before them left there.
// Launch: grid 2, block 32, x 32, y 64.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float table[32];
    if (blockIdx.x == 0) table[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = table[threadIdx.x];  // finding: unwritten-read
}
