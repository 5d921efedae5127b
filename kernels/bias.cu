// bias.cu: backward of y = act(z + bias): dz = dy * act'(z) and dbias = column sums of dz, in one pass.
// For layers whose weight is frozen; else the product that makes the weight's gradient does it (gemm.cu, conv2d.cu).
//   dy, y, dz (rows, columns)   dbias (columns) or null   partial (chunks, columns): sums over each chunk of rows
//   y is null where there is no activation (then dz is dy and is not written).   tickets (column tiles) of zeros
// Launch: grid = (column tiles of 32 * VEC, chunks), block = (32, 8).
// Traffic: dy, y, dz once.
#include "common.cuh"

#define LANES 8

__device__ __forceinline__ void add(Vector<real, VEC>& sum, const Vector<real, VEC>& more) {
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum.v[j] += more.v[j];
}

extern "C" __global__ void bias_backward(real* __restrict__ dz, real* __restrict__ dbias, real* __restrict__ partial,
                                         INOUT unsigned* __restrict__ tickets, const real* __restrict__ dy,
                                         const real* __restrict__ y, int rows, int columns, int rows_per_chunk) {
    __shared__ __align__(16) Vector<real, VEC> sums[LANES][WARP];
    const int column = (blockIdx.x * WARP + threadIdx.x) * VEC;
    const int first = blockIdx.y * rows_per_chunk, last = min(rows, first + rows_per_chunk);
    Vector<real, VEC> sum;
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum.v[j] = 0;
    if (column < columns) {
        for (int row = first + threadIdx.y; row < last; row += LANES) {
            const size_t at = (size_t)row * columns + column;
            Vector<real, VEC> d = load<VEC>(dy + at);
            if (y != nullptr) {
                const Vector<real, VEC> u = load<VEC>(y + at);
#pragma unroll
                for (int j = 0; j < VEC; ++j) d.v[j] = u.v[j] <= 0 ? real(0) : d.v[j];
                store(dz + at, d);
            }
            add(sum, d);
        }
    }
    if (dbias == nullptr) return;
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    const bool mine = threadIdx.y == 0 && column < columns;
    if (mine) {
        for (int lane = 1; lane < LANES; ++lane) add(sum, sums[lane][threadIdx.x]);
        store(partial + (size_t)blockIdx.y * columns + column, sum);
    }
    if (gridDim.y > 1 && !last_block(&tickets[blockIdx.x], gridDim.y)) return;
    if (!mine) return;
    // The last block of a column tile adds the chunks, in their order.
    sum = load<VEC>(partial + column);
    for (int chunk = 1; chunk < (int)gridDim.y; ++chunk) add(sum, load<VEC>(partial + (size_t)chunk * columns + column));
    store(dbias + column, sum);
}
