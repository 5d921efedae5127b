// Half of the warp waits for a shuffle, the other half for the block.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 16) v = __shfl_xor_sync(0xffffffffu, v, 1);  // finding: deadlock
    __syncthreads();
    y[threadIdx.x] = v;
}
