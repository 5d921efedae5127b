// __syncwarp orders the lanes of one warp only.
// Launch: grid 1, block 64, x 64, y 64.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    tile[threadIdx.x] = 0.0f;
    __syncthreads();
    tile[threadIdx.x] = x[threadIdx.x];  // finding: race
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x ^ 32];  // finding: race
}
