// An index runs over the end of its row into the next one: inside the array, but outside what it declares.
// Launch: grid 1, block 32, x 64, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[2][32];
    tile[0][threadIdx.x] = x[threadIdx.x];
    tile[1][threadIdx.x] = x[threadIdx.x + 32];
    __syncthreads();
    y[threadIdx.x] = tile[0][threadIdx.x + 1];  // finding: out-of-bounds
}
