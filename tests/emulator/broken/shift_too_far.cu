// 32 means "all lanes" here: the GPU gives 0, a CPU gives 1.
// Launch: grid 1, block 32, x 32, y 32, n 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] = (1u << n) - 1u;  // finding: shift
}
