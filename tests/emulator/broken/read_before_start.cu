// The halo's first element does not exist.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] = x[(int)threadIdx.x - 1];  // finding: out-of-bounds
}
