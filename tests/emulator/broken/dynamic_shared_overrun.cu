// The launch asks for one float per thread, the kernel uses one more.
// Launch: grid 1, block 32, x 32, y 32, shared 128.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    DYNAMIC_SHARED(float, tile);
    tile[threadIdx.x + 1] = x[threadIdx.x];  // finding: out-of-bounds
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];  // finding: unwritten-read
}
