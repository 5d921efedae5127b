// bias_half.cu: bias.cu for float16 or bfloat16, NUMBER as in half_number.cuh: dz = dy * act'(z) and dbias = column sums of
// dz, in one pass, for the products of half_tile.cuh, which read dz as it is.
//   dy, y, dz (rows, columns)   dbias (columns) or null   partial (chunks, columns), float: sums over each chunk of rows
//   y is null where there is no activation (then dz is dy and is not written).   tickets (column tiles) of zeros
// Launch: grid = (column tiles of 32 * VEC, chunks), block = (32, LANES).
// Traffic: dy, y, dz once.
#include "half_number.cuh"

#define LANES 8

typedef Vector<number, VEC> Numbers;

struct Sums {
    float v[VEC];
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int j = 0; j < VEC; ++j) v[j] = 0;
    }
    __device__ __forceinline__ void add(const float* more) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) v[j] += more[j];
    }
    // The sums of all lanes, in the first, in their order.
    __device__ __forceinline__ void join(float (*shared)[VEC * WARP]) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) shared[threadIdx.y][j * WARP + threadIdx.x] = v[j];
        __syncthreads();
        if (threadIdx.y > 0) return;
        for (int lane = 1; lane < LANES; ++lane)
#pragma unroll
            for (int j = 0; j < VEC; ++j) v[j] += shared[lane][j * WARP + threadIdx.x];
    }
};

extern "C" __global__ void __launch_bounds__(WARP * LANES)
bias_half_backward(unsigned short* __restrict__ dz, unsigned short* __restrict__ dbias, float* __restrict__ partial,
                   INOUT unsigned* __restrict__ tickets, const unsigned short* __restrict__ dy,
                   const unsigned short* __restrict__ y, int rows, int columns, int rows_per_chunk) {
    __shared__ float of_rows[LANES][VEC * WARP], of_chunks[LANES][VEC * WARP];
    const int column = (blockIdx.x * WARP + threadIdx.x) * VEC;
    const int first = blockIdx.y * rows_per_chunk, last = min(rows, first + rows_per_chunk);
    const bool inside = column < columns;
    Sums sums;
    sums.clear();
    if (inside) {
#pragma unroll 4
        for (int row = first + threadIdx.y; row < last; row += LANES) {
            const size_t at = (size_t)row * columns + column;
            Numbers d = load<VEC>(dy + at);
            if (y != nullptr) {
                const Numbers u = load<VEC>(y + at);
#pragma unroll
                for (int j = 0; j < VEC; ++j) d.v[j] = value_of(u.v[j]) <= 0 ? number(0) : d.v[j];
                store(dz + at, d);
            }
            float values[VEC];
#pragma unroll
            for (int j = 0; j < VEC; ++j) values[j] = value_of(d.v[j]);
            sums.add(values);
        }
    }
    if (dbias == nullptr) return;
    sums.join(of_rows);
    if (inside && threadIdx.y == 0) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) partial[(size_t)blockIdx.y * columns + column + j] = sums.v[j];
    }
    if (gridDim.y > 1 && !last_block(&tickets[blockIdx.x], gridDim.y)) return;
    // The last block of a column tile adds the chunks, each lane every LANES-th.
    sums.clear();
    if (inside && gridDim.y > 1)
        for (int chunk = threadIdx.y; chunk < (int)gridDim.y; chunk += LANES)
            sums.add(partial + (size_t)chunk * columns + column);
    else if (inside && threadIdx.y == 0)
        sums.add(partial + column);
    sums.join(of_chunks);
    if (!inside || threadIdx.y > 0) return;
    Numbers out;
#pragma unroll
    for (int j = 0; j < VEC; ++j) out.v[j] = rounded(sums.v[j]);
    store(dbias + column, out);
}
