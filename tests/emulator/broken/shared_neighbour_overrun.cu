// A pointer into one shared array runs into the next one.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float first[32];
    __shared__ float second[32];
    first[threadIdx.x] = x[threadIdx.x];
    second[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const float* p = threadIdx.x < 16 ? first : second;
    y[threadIdx.x] = p[threadIdx.x + n];  // finding: out-of-bounds
}
