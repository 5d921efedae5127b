// Four matrices are loaded from a tile of two: lanes 16 to 31 point beyond it.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) unsigned short tile[16][8];
    for (int i = threadIdx.x; i < 128; i += 32) tile[i / 8][i % 8] = i;
    __syncthreads();
    unsigned r[4];
    ldmatrix_x4(r, &tile[0][0] + 8 * threadIdx.x);  // finding: out-of-bounds
    y[threadIdx.x] = r[0];
}
