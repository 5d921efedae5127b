// Matrix instructions: registers in, registers out, and a product that puts copies, loads and products together.
#include "tensor_core.cuh"

extern "C" __global__ void formats(unsigned* tf32, unsigned* pairs, float* back, const float* x) {
    const int i = threadIdx.x;
    tf32[i] = to_tf32(x[2 * i]);
    pairs[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
    back[2 * i] = bf16_low(pairs[i]);
    back[2 * i + 1] = bf16_high(pairs[i]);
}

extern "C" __global__ void formats_f16(unsigned* pairs, const float* x) {
    pairs[threadIdx.x] = pack_f16(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
}

// y[variant][lane][register]: x1, x2, x4, then the same with _trans, of four matrices, one below the other.
extern "C" __global__ void matrices(unsigned* y, const unsigned short* x) {
    __shared__ __align__(16) unsigned short tile[32][8];
    const int lane = threadIdx.x;
    for (int j = 0; j < 8; ++j) tile[lane][j] = x[8 * lane + j];
    __syncwarp();
    unsigned one[1], two[2], four[4];
    ldmatrix_x1(one, tile[lane % 8]);
    ldmatrix_x2(two, tile[lane % 16]);
    ldmatrix_x4(four, tile[lane]);
    y[lane * 4] = one[0];
    for (int j = 0; j < 2; ++j) y[128 + lane * 4 + j] = two[j];
    for (int j = 0; j < 4; ++j) y[256 + lane * 4 + j] = four[j];
    ldmatrix_x1_trans(one, tile[lane % 8]);
    ldmatrix_x2_trans(two, tile[lane % 16]);
    ldmatrix_x4_trans(four, tile[lane]);
    y[384 + lane * 4] = one[0];
    for (int j = 0; j < 2; ++j) y[512 + lane * 4 + j] = two[j];
    for (int j = 0; j < 4; ++j) y[640 + lane * 4 + j] = four[j];
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

// Registers of 32 lanes, side by side: d = a b + c.
extern "C" __global__ void multiply_tf32(float* d, const unsigned* a, const unsigned* b, const float* c) {
    const int lane = threadIdx.x;
    float sum[4] = {c[4 * lane], c[4 * lane + 1], c[4 * lane + 2], c[4 * lane + 3]};
    const unsigned left[4] = {a[4 * lane], a[4 * lane + 1], a[4 * lane + 2], a[4 * lane + 3]};
    const unsigned right[2] = {b[2 * lane], b[2 * lane + 1]};
    mma_m16n8k8_tf32(sum, left, right);
    for (int i = 0; i < 4; ++i) d[4 * lane + i] = sum[i];
}
extern "C" __global__ void multiply_bf16(float* d, const unsigned* a, const unsigned* b, const float* c) {
    const int lane = threadIdx.x;
    float sum[4] = {c[4 * lane], c[4 * lane + 1], c[4 * lane + 2], c[4 * lane + 3]};
    const unsigned left[4] = {a[4 * lane], a[4 * lane + 1], a[4 * lane + 2], a[4 * lane + 3]};
    const unsigned right[2] = {b[2 * lane], b[2 * lane + 1]};
    mma_m16n8k16_bf16(sum, left, right);
    for (int i = 0; i < 4; ++i) d[4 * lane + i] = sum[i];
}

extern "C" __global__ void multiply_f16(float* d, const unsigned* a, const unsigned* b, const float* c) {
    const int lane = threadIdx.x;
    float sum[4] = {c[4 * lane], c[4 * lane + 1], c[4 * lane + 2], c[4 * lane + 3]};
    const unsigned left[4] = {a[4 * lane], a[4 * lane + 1], a[4 * lane + 2], a[4 * lane + 3]};
    const unsigned right[2] = {b[2 * lane], b[2 * lane + 1]};
    mma_m16n8k16_f16(sum, left, right);
    for (int i = 0; i < 4; ++i) d[4 * lane + i] = sum[i];
}

// C = A B in bf16: A (32, K), B (K, 8), both row-major, K a multiple of 8. Two warps, 16 rows each; slices of 16
// along K come by asynchronous copies into two buffers.
extern "C" __global__ void product_bf16(float* c, const unsigned short* a, const unsigned short* b, int K) {
    __shared__ __align__(16) unsigned short ta[2][32][24];  // 48 bytes a row: 8 rows touch all banks once
    __shared__ __align__(16) unsigned short tb[2][16][8];
    const int i = threadIdx.x, warp = i / 32, lane = i % 32;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = -16; k < K; k += 16) {
        const int now = k / 16 & 1, next = now ^ 1, q = k + 16;
        cp_async_wait<0>();
        __syncthreads();
        if (q < K) {
            const int column = q + i % 2 * 8;
            cp_async_16(&ta[next][i / 2][i % 2 * 8], &a[i / 2 * K + column], column < K ? 16 : 0);
            if (i < 16) cp_async_16(tb[next][i], &b[(q + i) * 8], q + i < K ? 16 : 0);
            cp_async_commit();
        }
        if (k < 0) continue;
        unsigned left[4], right[2];
        ldmatrix_x4(left, &ta[now][16 * warp + lane % 16][lane / 16 * 8]);
        ldmatrix_x2_trans(right, tb[now][lane % 16]);
        mma_m16n8k16_bf16(sum, left, right);
    }
    const int row = 16 * warp + lane / 4, column = lane % 4 * 2;
    for (int j = 0; j < 4; ++j) c[(row + j / 2 * 8) * 8 + column + j % 2] = sum[j];
}

// C = A B in tf32: A (16, K), B (K, 8) of floats, K a multiple of 8. One warp, one slice of 8 at a time.
extern "C" __global__ void product_tf32(float* c, const float* a, const float* b, int K) {
    __shared__ __align__(16) float ta[16][8], tb[8][8];
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = 0; k < K; k += 8) {
        cp_async_16(&ta[lane / 2][lane % 2 * 4], &a[lane / 2 * K + k + lane % 2 * 4]);
        if (lane < 16) cp_async_16(&tb[lane / 2][lane % 2 * 4], &b[(k + lane / 2) * 8 + lane % 2 * 4]);
        cp_async_commit();
        cp_async_wait<0>();
        __syncwarp();
        const unsigned left[4] = {to_tf32(ta[g][t]), to_tf32(ta[g + 8][t]), to_tf32(ta[g][t + 4]),
                                  to_tf32(ta[g + 8][t + 4])};
        const unsigned right[2] = {to_tf32(tb[t][g]), to_tf32(tb[t + 4][g])};
        __syncwarp();
        mma_m16n8k8_tf32(sum, left, right);
    }
    for (int j = 0; j < 4; ++j) c[(g + j / 2 * 8) * 8 + 2 * t + j % 2] = sum[j];
}

#endif
