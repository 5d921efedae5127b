// Rows of 20 bytes: every second one begins off a multiple of 16.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) unsigned short tile[8][10];
    for (int i = threadIdx.x; i < 80; i += 32) tile[i / 10][i % 10] = i;
    __syncthreads();
    unsigned r[1];
    ldmatrix_x1(r, tile[threadIdx.x % 8]);  // finding: misaligned
    y[threadIdx.x] = r[0];
}
