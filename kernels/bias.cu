// bias.cu: backward of y = act(z + bias): dz = dy * act'(z) and dbias = column sums of dz, in one pass.
//   dy, y, dz (rows, columns)   partial (chunks, columns): sums over each chunk of rows, for combine.cu
//   y is null where there is no activation (then dz is dy and is not written).
// Launch: grid = (column tiles of 32 * VEC, chunks), block = (32, 8).
// Traffic: dy, y, dz once.
#include "common.cuh"

#define LANES 8

extern "C" __global__ void bias_backward(real* __restrict__ dz, real* __restrict__ partial,
                                         const real* __restrict__ dy, const real* __restrict__ y, int rows,
                                         int columns, int rows_per_chunk) {
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
                for (int j = 0; j < VEC; ++j) d.v[j] = u.v[j] > 0 ? d.v[j] : real(0);
                store(dz + at, d);
            }
#pragma unroll
            for (int j = 0; j < VEC; ++j) sum.v[j] += d.v[j];
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        for (int lane = 1; lane < LANES; ++lane) {
#pragma unroll
            for (int j = 0; j < VEC; ++j) sum.v[j] += sums[lane][threadIdx.x].v[j];
        }
        store(partial + (size_t)blockIdx.y * columns + column, sum);
    }
}
