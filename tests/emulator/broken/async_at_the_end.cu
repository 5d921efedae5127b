// The prefetch of a tile that is never used is still in flight when the thread ends.
// Launch: grid 1, block 32, x 96, y 32.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[2][32];
    float sum = 0.0f;
    cp_async_4(&tile[0][threadIdx.x], &x[threadIdx.x]);
    cp_async_commit();
    for (int i = 0; i < 2; ++i) {
        cp_async_4(&tile[(i + 1) % 2][threadIdx.x], &x[32 * (i + 1) + threadIdx.x]);  // finding: unwaited
        cp_async_commit();
        cp_async_wait<1>();
        sum += tile[i % 2][threadIdx.x];
    }
    y[threadIdx.x] = sum;
}
