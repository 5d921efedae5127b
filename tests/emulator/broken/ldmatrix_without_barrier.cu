// Each lane stores a row and loads its part of all of them, with no __syncwarp between.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) unsigned short tile[32][8];
    for (int i = 0; i < 8; ++i) tile[threadIdx.x][i] = i;
    unsigned r[4];
    ldmatrix_x4(r, tile[threadIdx.x]);  // finding: race
    y[threadIdx.x] = r[0] + r[1] + r[2] + r[3];
}
