// The barrier at the loop's end is missing: a fast warp overwrites what a slow one still reads.
// Launch: grid 1, block 64, x 128, y 64.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    float sum = 0.0f;
    for (int i = 0; i < 128; i += 64) {
        tile[threadIdx.x] = x[i + threadIdx.x];  // finding: race
        __syncthreads();
        for (int j = 0; j < 64; ++j) sum += tile[j];  // finding: race
    }
    y[threadIdx.x] = sum;
}
