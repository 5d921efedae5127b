// prelu.cu: y = x where x > 0, else weight[c] x;  dx = dy where x > 0, else weight[c] dy;
// dweight[c] = sum over channel c of x dy where x is not above 0: column sums of chunks of the rows, then those
// of all chunks and columns of a channel, each in a fixed order.
//   x, y, dy, dx (rows, columns), columns = C inner   weight, dweight (C)   partial (chunks, columns)
// Launch: forward and backward grid = (column tiles, chunks of rows), block = (vectors of columns, rows), at most
// BLOCK threads; weight gradient one block of BLOCK threads per channel.
// Traffic: x, y once; dy, x, dx once; partial twice, a row of it for many of x.
// Source: He, Zhang, Ren, Sun 2015, arXiv:1502.01852.
#include "common.cuh"

#define BLOCK 256

// The slopes of the VEC columns from `column`.
__device__ __forceinline__ Vector<real, VEC> slopes(const real* weight, int column, int inner) {
    Vector<real, VEC> w;
#pragma unroll
    for (int j = 0; j < VEC; ++j) w.v[j] = weight[(column + j) / inner];
    return w;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    prelu_forward(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight, int rows,
                  int columns, int inner, int rows_per_chunk) {
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VEC;
    if (column >= columns) return;
    const int first = blockIdx.y * rows_per_chunk, last = min(rows, first + rows_per_chunk);
    const Vector<real, VEC> w = slopes(weight, column, inner);
#pragma unroll 4
    for (int row = first + threadIdx.y; row < last; row += blockDim.y) {
        const size_t at = (size_t)row * columns + column;
        Vector<real, VEC> u = load<VEC>(x + at);
#pragma unroll
        for (int j = 0; j < VEC; ++j) u.v[j] = u.v[j] > 0 ? u.v[j] : w.v[j] * u.v[j];
        store(y + at, u);
    }
}

// dx or partial is null where it is not wanted.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    prelu_backward(real* __restrict__ dx, real* __restrict__ partial, const real* __restrict__ dy,
                   const real* __restrict__ x, const real* __restrict__ weight, int rows, int columns, int inner,
                   int rows_per_chunk) {
    __shared__ __align__(16) Vector<real, VEC> sums[BLOCK];
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * VEC;
    const int first = blockIdx.y * rows_per_chunk, last = min(rows, first + rows_per_chunk);
    Vector<real, VEC> sum = {};
    if (column < columns) {
        const Vector<real, VEC> w = slopes(weight, column, inner);
#pragma unroll 4
        for (int row = first + threadIdx.y; row < last; row += blockDim.y) {
            const size_t at = (size_t)row * columns + column;
            Vector<real, VEC> d = load<VEC>(dy + at);
            const Vector<real, VEC> u = load<VEC>(x + at);
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                const bool open = u.v[j] > 0;
                sum.v[j] += open ? real(0) : u.v[j] * d.v[j];
                d.v[j] = open ? d.v[j] : w.v[j] * d.v[j];
            }
            if (dx) store(dx + at, d);
        }
    }
    if (!partial) return;  // all threads or none
    sums[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int y = 1; y < (int)blockDim.y; ++y) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) sum.v[j] += sums[y * blockDim.x + threadIdx.x].v[j];
    }
    store(partial + (size_t)blockIdx.y * columns + column, sum);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    prelu_weight_gradient(real* __restrict__ dweight, const real* __restrict__ partial, int chunks, int columns,
                          Divisor by_inner) {
    const int inner = by_inner.value;
    const real* mine = partial + (size_t)blockIdx.x * inner;
    real sum = 0;
    for (int k = threadIdx.x; k < chunks * inner; k += BLOCK) {
        int place = k;
        const int chunk = by_inner.split(place);
        sum += mine[(size_t)chunk * columns + place];
    }
    sum = block_sum<0>(sum);
    if (threadIdx.x == 0) dweight[blockIdx.x] = sum;
}
