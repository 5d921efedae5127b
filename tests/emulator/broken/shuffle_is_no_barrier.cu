// A shuffle makes lanes wait for each other, but does not order what they do to memory.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    const float v = __shfl_sync(0xffffffffu, x[threadIdx.x], 0);
    y[threadIdx.x] = v + tile[31 - threadIdx.x];  // finding: race
}
