// The rows are in global memory, where ldmatrix does not reach.
// Launch: grid 1, block 32, x 128, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    unsigned r[4];
    ldmatrix_x4(r, &x[4 * threadIdx.x]);  // finding: address-space
    y[threadIdx.x] = r[0];
}
