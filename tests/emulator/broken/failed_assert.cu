// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    assert(blockDim.x == 64);  // finding: assert
    y[threadIdx.x] = x[threadIdx.x];
}
