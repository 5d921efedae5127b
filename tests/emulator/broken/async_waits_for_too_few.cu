// The last of the two groups is still on its way when it is read: the wait is right for all but the last tile.
// Launch: grid 1, block 32, x 64, y 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[2][32];
    cp_async_4(&tile[0][threadIdx.x], &x[threadIdx.x]);
    cp_async_commit();
    cp_async_4(&tile[1][threadIdx.x], &x[32 + threadIdx.x]);
    cp_async_commit();
    for (int i = 0; i < 2; ++i) {
        cp_async_wait<1>();
        __syncthreads();
        y[32 * i + threadIdx.x] = tile[i][31 - threadIdx.x];  // finding: undelivered
    }
}
