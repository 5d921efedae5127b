// Each block reads what its neighbour has written in the same launch.
// Launch: grid 4, block 32, x 32, y 128.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[blockIdx.x * 32 + threadIdx.x] = x[threadIdx.x];  // finding: race
    __threadfence();
    const int other = (blockIdx.x + 1) % gridDim.x;
    if (y[other * 32 + threadIdx.x] < 0.0f)  // finding: race unwritten-read
        y[blockIdx.x * 32 + threadIdx.x] = 0.0f;
}
