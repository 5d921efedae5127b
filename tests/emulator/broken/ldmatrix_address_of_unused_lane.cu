// One matrix has 8 rows, but on sm_75 the addresses of the other lanes must be valid too.
// Launch: grid 1, block 32, x 32, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) unsigned short tile[8][8];
    for (int i = threadIdx.x; i < 64; i += 32) tile[i / 8][i % 8] = i;
    __syncthreads();
    unsigned r[1];
    ldmatrix_x1(r, &tile[0][0] + 8 * threadIdx.x);  // finding: out-of-bounds
    y[threadIdx.x] = r[0];
}
