// An optional argument is used without asking whether it is there.
// Launch: grid 1, block 32, x null, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] = x[threadIdx.x];  // finding: out-of-bounds
}
