// The barrier at the loop's end is missing: the next copy starts while slower warps still read.
// Launch: grid 1, block 64, x 128, y 64.
#include "tensor_core.cuh"
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    __shared__ float tile[64];
    float sum = 0.0f;
    for (int i = 0; i < 128; i += 64) {
        cp_async_4(&tile[threadIdx.x], &x[i + threadIdx.x]);  // finding: race
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        for (int j = 0; j < 64; ++j) sum += tile[j];  // finding: race undelivered
    }
    y[threadIdx.x] = sum;
}
