// Matrix products through shared memory: a tile at a time, and with two buffers and one barrier.

extern "C" __global__ void matmul(float* c, const float* a, const float* b, int n) {
    __shared__ float ta[16][17], tb[16][17];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, col = blockIdx.x * 16 + x;
    float sum = 0.0f;
    for (int p = 0; p < n; p += 16) {
        ta[y][x] = row < n && p + x < n ? a[row * n + p + x] : 0.0f;
        tb[y][x] = p + y < n && col < n ? b[(p + y) * n + col] : 0.0f;
        __syncthreads();
        for (int q = 0; q < 16; ++q) sum += ta[y][q] * tb[q][x];
        __syncthreads();
    }
    if (row < n && col < n) c[row * n + col] = sum;
}

extern "C" __global__ void matmul_double_buffered(float* c, const float* a, const float* b, int n) {
    __shared__ float ta[2][16][16], tb[2][16][16];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 16 + y, col = blockIdx.x * 16 + x;
    float sum = 0.0f;
    for (int p = 0, buffer = 0; p < n; p += 16, buffer ^= 1) {
        ta[buffer][y][x] = row < n && p + x < n ? a[row * n + p + x] : 0.0f;
        tb[buffer][y][x] = p + y < n && col < n ? b[(p + y) * n + col] : 0.0f;
        __syncthreads();
        for (int q = 0; q < 16; ++q) sum += ta[buffer][y][q] * tb[buffer][q][x];
    }
    if (row < n && col < n) c[row * n + col] = sum;
}

// Each row of the block is a warp, and warps go their own ways: no block barrier at all.
extern "C" __global__ void transpose_in_warps(float* y, const float* x) {
    __shared__ float tile[4][32][33];
    float (*mine)[33] = tile[threadIdx.y];
    const float* from = x + (blockIdx.x * 4 + threadIdx.y) * 1024;
    float* to = y + (blockIdx.x * 4 + threadIdx.y) * 1024;
    for (int i = 0; i < 32; ++i) mine[i][threadIdx.x] = from[i * 32 + threadIdx.x];
    __syncwarp();
    for (int i = 0; i < 32; ++i) to[i * 32 + threadIdx.x] = mine[threadIdx.x][i];
}
