// transpose.cu: out[n, c, r] = in[n, r, c], a batch of matrix transposes: channels last to channels first
// (rows = pixels, columns = channels) and back.
//   in (batch, rows, cols)   out (batch, cols, rows)   contiguous, of type stored
// Launch: grid = (column tiles, row tiles, batch), block = (32, 8).
// Traffic: each element read once and written once, both along rows: the turn happens in shared memory.
#include "stored.cuh"

#if STORED == 0
typedef real element;
#else
typedef unsigned short element;  // its bits, which nobody computes with
#endif

#define TILE 32
#define ROWS_PER_PASS 8

extern "C" __global__ void transpose(stored* __restrict__ out, const stored* __restrict__ in, int rows, int cols) {
    __shared__ element tile[TILE][TILE + 1];  // + 1: a column lies in 32 different banks, or 16-bit numbers in 32 halves
    const element* from = reinterpret_cast<const element*>(in);
    element* to = reinterpret_cast<element*>(out);
    const size_t matrix = (size_t)blockIdx.z * rows * cols;
    const int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    for (int i = threadIdx.y; i < TILE; i += ROWS_PER_PASS)
        if (top + i < rows && left + (int)threadIdx.x < cols)
            tile[i][threadIdx.x] = from[matrix + (size_t)(top + i) * cols + left + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += ROWS_PER_PASS)
        if (left + i < cols && top + (int)threadIdx.x < rows)
            to[matrix + (size_t)(left + i) * rows + top + threadIdx.x] = tile[threadIdx.x][i];
}
