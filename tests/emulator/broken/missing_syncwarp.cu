// Lanes exchange values through shared memory without __syncwarp.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    const float other = tile[threadIdx.x ^ 1];  // finding: race
    tile[threadIdx.x] = other * 2.0f;  // finding: race
    __syncwarp();
    y[threadIdx.x] = tile[31 - threadIdx.x];
}
