// The barrier after the load is missing: other warps have not written their part yet.
// Launch: grid 1, block 64, x 64, y 64.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];  // finding: race
    y[threadIdx.x] = tile[63 - threadIdx.x];  // finding: race unwritten-read
}
