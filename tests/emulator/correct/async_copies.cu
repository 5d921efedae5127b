// Asynchronous copies: tails that are filled with zeros, and pipelines of two and three buffers.
#include "common.cuh"
#include "tensor_core.cuh"

// Each thread copies one piece of `x`; what lies beyond its n elements arrives as zero.
template <int ELEMENTS>
__device__ __forceinline__ void copy_with_tail(float* y, const float* x, int n) {
    __shared__ __align__(16) float tile[32 * ELEMENTS];
    const int i = threadIdx.x * ELEMENTS, valid = 4 * max(0, min(ELEMENTS, n - i));
    if (ELEMENTS == 4) cp_async_16(&tile[i], x + i, valid);
    if (ELEMENTS == 2) cp_async_8(&tile[i], x + i, valid);
    if (ELEMENTS == 1) cp_async_4(&tile[i], x + i, valid);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int j = threadIdx.x; j < 32 * ELEMENTS; j += 32) y[j] = tile[j];
}
extern "C" __global__ void copy_16(float* y, const float* x, int n) { copy_with_tail<4>(y, x, n); }
extern "C" __global__ void copy_8(float* y, const float* x, int n) { copy_with_tail<2>(y, x, n); }
extern "C" __global__ void copy_4(float* y, const float* x, int n) { copy_with_tail<1>(y, x, n); }

// A thread sees its own copies after its wait, without a barrier, and those groups only that it waited for.
extern "C" __global__ void own_copies(float* y, const float* x, int n) {
    __shared__ float tile[3][32];
    const int i = threadIdx.x;
    for (int g = 0; g < 3; ++g) {
        cp_async_4(&tile[g][i], &x[32 * g + i]);
        cp_async_commit();
    }
    cp_async_wait<2>();
    y[i] = tile[0][i];
    cp_async_commit();  // an empty group counts
    cp_async_wait<2>();
    y[32 + i] = tile[1][i];
    cp_async_wait<1>();
    y[64 + i] = tile[2][i];
    cp_async_wait<0>();
}

// C = A B for square matrices of n x n. Two buffers, one barrier a step: it says that the tile is there for
// all, and that all have done with the other buffer.
extern "C" __global__ void two_buffers(float* c, const float* a, const float* b, int n) {
    __shared__ float ta[2][16][16], tb[2][16][16];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
    float sum = 0.0f;
    for (int p = -16; p < n; p += 16) {
        const int now = p / 16 & 1, next = now ^ 1, q = p + 16;
        cp_async_wait<0>();
        __syncthreads();
        if (q < n) {
            cp_async_4(&ta[next][y][x], &a[row * n + q + x], row < n && q + x < n ? 4 : 0);
            cp_async_4(&tb[next][y][x], &b[(q + y) * n + column], q + y < n && column < n ? 4 : 0);
            cp_async_commit();
        }
        if (p >= 0)
            for (int k = 0; k < 16; ++k) sum += ta[now][y][k] * tb[now][k][x];
    }
    if (row < n && column < n) c[row * n + column] = sum;
}

// The same with two tiles on their way while a third is used. Every step closes a group, if only an empty one.
extern "C" __global__ void three_buffers(float* c, const float* a, const float* b, int n) {
    __shared__ float ta[3][16][16], tb[3][16][16];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, column = blockIdx.x * 16 + x;
    const int steps = (n + 15) / 16;
    float sum = 0.0f;
    for (int step = -2; step < steps; ++step) {
        cp_async_wait<1>();
        __syncthreads();
        const int q = 16 * (step + 2);
        if (q < n) {
            cp_async_4(&ta[(step + 2) % 3][y][x], &a[row * n + q + x], row < n && q + x < n ? 4 : 0);
            cp_async_4(&tb[(step + 2) % 3][y][x], &b[(q + y) * n + column], q + y < n && column < n ? 4 : 0);
        }
        cp_async_commit();
        if (step >= 0)
            for (int k = 0; k < 16; ++k) sum += ta[step % 3][y][k] * tb[step % 3][k][x];
    }
    if (row < n && column < n) c[row * n + column] = sum;
}

// Each block sums its part of x; the last one adds the parts up, again and again with the same counter.
extern "C" __global__ void sum_of_blocks(float* y, float* parts, INOUT unsigned* counter, const float* x) {
    parts[blockIdx.x * blockDim.x + threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    if (!last_block(counter, gridDim.x)) return;
    float sum = 0.0f;
    for (int i = 0; i < gridDim.x; ++i) sum += parts[i * blockDim.x + threadIdx.x];
    y[threadIdx.x] = sum;
}
