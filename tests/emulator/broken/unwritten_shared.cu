// Only part of the tile is filled: the padding for the border is forgotten.
// Launch: grid 1, block 64, x 40, y 64, n 40.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    if (threadIdx.x < n) tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[63 - threadIdx.x];  // finding: unwritten-read
}
