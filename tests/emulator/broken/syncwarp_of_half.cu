// Each half of the warp has its own __syncwarp, and reads from the other half.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    tile[threadIdx.x] += 1.0f;  // finding: race
    __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
    y[threadIdx.x] = tile[threadIdx.x ^ 16];  // finding: race
}
