// transpose.cu: out[n, c, r] = in[n, r, c], a batch of matrix transposes: channels last to channels first
// (rows = pixels, columns = channels) and back.
//   in (batch, rows, cols)   out (batch, cols, rows)   contiguous
// Launch: grid = (column tiles, row tiles, batch), block = (32, 8).
// Traffic: each element read once and written once, both along rows: the turn happens in shared memory.
#include "common.cuh"

#define TILE 32
#define ROWS_PER_PASS 8

extern "C" __global__ void transpose(real* __restrict__ out, const real* __restrict__ in, int rows, int cols) {
    __shared__ real tile[TILE][TILE + 1];  // + 1: a column lies in 32 different banks
    const size_t matrix = (size_t)blockIdx.z * rows * cols;
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    for (int i = threadIdx.y; i < TILE; i += ROWS_PER_PASS)
        if (top + i < rows && left + (int)threadIdx.x < cols)
            tile[i][threadIdx.x] = in[matrix + (size_t)(top + i) * cols + left + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += ROWS_PER_PASS)
        if (left + i < cols && top + (int)threadIdx.x < rows)
            out[matrix + (size_t)(left + i) * rows + top + threadIdx.x] = tile[threadIdx.x][i];
}
