// The matrix is loaded before the copy of its rows has been waited for.
// Launch: grid 1, block 32, x 128, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[32][4];
    cp_async_16(tile[threadIdx.x], &x[4 * threadIdx.x]);
    cp_async_commit();
    __syncthreads();
    unsigned r[4];
    ldmatrix_x4(r, tile[threadIdx.x]);  // finding: undelivered
    y[threadIdx.x] = r[0];
    cp_async_wait<0>();
}
