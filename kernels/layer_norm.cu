// layer_norm.cu: y = (x - mean) rstd weight + bias by rows, rstd = 1 / sqrt(var + eps), and its gradients: with
// g = dy weight and xhat = (x - mean) rstd, dx = rstd (g - mean(g) - xhat mean(g xhat)),
// dweight = the sum over rows of dy xhat, dbias of dy.
//   x, y, dy, dx (rows, cols)   mean, rstd (rows)   weight, bias (cols), null for 1 and 0
//   partial (slices, 2, cols): what one block found of dweight and dbias; merge adds the slices up
// Launch: rows that threads can hold in registers, HELD vectors each: block = (threads of a row, rows), a block of
// the backward going through several such groups of rows. Longer rows are cut into `chunks` of that length, a block
// each: moments, then normalise; backward_sums, then backward_rows; backward_columns. At most BLOCK threads.
// Traffic: forward x once, y once; backward dy, x once, dx once. Long rows: forward x twice, backward dy, x three
// times, as far as they are not still in cache.
// A row's mean is taken twice, the second time of what the first left over, and variances about it: a mean far from
// 0 costs no digits. All sums are in a fixed order: the same bits every time.
// Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.
#include "common.cuh"

#define BLOCK 512
#define SHARED_BLOCK 256  // threads of a block with several rows, at most

constexpr int HELD = sizeof(real) == 4 ? 4 : 2;
typedef Vector<real, VEC> Numbers;

// Sums of N numbers over the threads of one row, the same bits in each; all threads must call it. Of two calls in a
// row one has an even `turn` and the other an odd one: so their shared memory differs, and one barrier is enough.
template <int N>
__device__ __forceinline__ void row_sums(real (&sums)[N], int turn) {
    __shared__ real partial[2][BLOCK / WARP][N];
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] = warp_sum(sums[i]);
    if (blockDim.x == WARP) return;
    const int lane = threadIdx.x % WARP, warps = blockDim.x / WARP, first = threadIdx.y * warps;
    if (lane == 0) {
#pragma unroll
        for (int i = 0; i < N; ++i) partial[turn % 2][first + threadIdx.x / WARP][i] = sums[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] = warp_sum(lane < warps ? partial[turn % 2][first + lane][i] : real(0));
}

// One number a column; `otherwise` where the array was not given.
__device__ __forceinline__ Numbers per_column(const real* from, int c, real otherwise) {
    if (from) return load<VEC>(from + c);
    Numbers all;
#pragma unroll
    for (int v = 0; v < VEC; ++v) all.v[v] = otherwise;
    return all;
}

// The columns a thread holds: HELD vectors, `step` apart.
struct Columns {
    int first, step, last;
};

// f(k, c) for the k-th vector a thread holds, which begins at column c.
template <class F>
__device__ __forceinline__ void held(const Columns& mine, F f) {
#pragma unroll
    for (int k = 0; k < HELD; ++k) {
        const int c = mine.first + k * mine.step;
        if (c < mine.last) f(k, c);
    }
}

// A mean in two parts (their sum has more digits than one number), and the mean square distance from it.
struct Moments {
    real about, rest, var;
};

// Of the n numbers that the row's threads hold between them; u is then distances from `about`.
__device__ __forceinline__ Moments moments_of(Numbers (&u)[HELD], const Columns& mine, const real* from, int n) {
    real sum[1] = {};
    held(mine, [&](int k, int c) {
        u[k] = load<VEC>(from + c);
#pragma unroll
        for (int v = 0; v < VEC; ++v) sum[0] += u[k].v[v];
    });
    row_sums(sum, 0);
    const real about = sum[0] / n;
    real found[2] = {};
    held(mine, [&](int k, int c) {
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real apart = u[k].v[v] -= about;
            found[0] += apart;
            found[1] += apart * apart;
        }
    });
    row_sums(found, 0);
    const real rest = found[0] / n, var = found[1] / n - rest * rest;  // rest is a rounding: nothing cancels
    return {about, rest, var < 0 ? real(0) : var};
}

// y = (u - rest) scale weight + bias for the columns held, u distances from a number near the mean.
__device__ __forceinline__ void write_normalised(real* y, const Numbers (&u)[HELD], const Columns& mine,
                                                 const real* weight, const real* bias, real rest, real scale) {
    held(mine, [&](int k, int c) {
        const Numbers slope = per_column(weight, c, 1), shift = per_column(bias, c, 0);
        Numbers out;
#pragma unroll
        for (int v = 0; v < VEC; ++v) out.v[v] = (u[k].v[v] - rest) * scale * slope.v[v] + shift.v[v];
        store(y + c, out);
    });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_forward(real* __restrict__ y, real* __restrict__ mean, real* __restrict__ rstd,
                       const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
                       int rows, int cols, real eps) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    // A row beyond the last has no columns: its threads reach the barriers and do nothing else.
    const Columns mine = {(int)threadIdx.x * VEC, (int)blockDim.x * VEC, row < rows ? cols : 0};
    Numbers u[HELD];
    const Moments found = moments_of(u, mine, x + (size_t)row * cols, cols);
    const real scale = 1 / sqrt(found.var + eps);
    write_normalised(y + (size_t)row * cols, u, mine, weight, bias, found.rest, scale);
    if (row >= rows || threadIdx.x > 0) return;
    mean[row] = found.about + found.rest;
    rstd[row] = scale;
}

// -- long rows: one block a chunk -----------------------------------------------------------------

struct Chunk {
    int row, number;
    Columns mine;
};

__device__ __forceinline__ Chunk my_chunk(int cols, int chunks) {
    const int row = blockIdx.x / chunks, number = blockIdx.x % chunks, length = blockDim.x * VEC * HELD;
    const int first = number * length;
    return {row, number, {first + (int)threadIdx.x * VEC, (int)blockDim.x * VEC, min(cols, first + length)}};
}

// Numbers in chunk k of a row.
__device__ __forceinline__ int chunk_size(int k, int cols) {
    const int length = blockDim.x * VEC * HELD;
    return min(length, cols - k * length);
}

// parts (rows, chunks): mean and sum of squared distances from it.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_moments(real* __restrict__ part_mean, real* __restrict__ part_m2, const real* __restrict__ x, int cols,
                       int chunks) {
    const Chunk at = my_chunk(cols, chunks);
    Numbers u[HELD];
    const int n = chunk_size(at.number, cols);
    const Moments found = moments_of(u, at.mine, x + (size_t)at.row * cols, n);
    if (threadIdx.x > 0) return;
    part_mean[blockIdx.x] = found.about + found.rest;
    part_m2[blockIdx.x] = found.var * n;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_normalise(real* __restrict__ y, real* __restrict__ mean, real* __restrict__ rstd,
                         const real* __restrict__ x, const real* __restrict__ part_mean,
                         const real* __restrict__ part_m2, const real* __restrict__ weight,
                         const real* __restrict__ bias, int cols, int chunks, real eps) {
    const Chunk at = my_chunk(cols, chunks);
    const real* means = part_mean + (size_t)at.row * chunks;
    const real* squares = part_m2 + (size_t)at.row * chunks;
    const real about = means[0];
    real apart[1] = {}, square[1] = {};
    for (int k = threadIdx.x; k < chunks; k += blockDim.x) apart[0] += chunk_size(k, cols) * (means[k] - about);
    row_sums(apart, 0);
    const real rest = apart[0] / cols;
    for (int k = threadIdx.x; k < chunks; k += blockDim.x) {
        const real distance = means[k] - about - rest;
        square[0] += squares[k] + chunk_size(k, cols) * distance * distance;
    }
    row_sums(square, 1);
    const real scale = 1 / sqrt(square[0] / cols + eps);
    Numbers u[HELD];
    held(at.mine, [&](int k, int c) {
        u[k] = load<VEC>(x + (size_t)at.row * cols + c);
#pragma unroll
        for (int v = 0; v < VEC; ++v) u[k].v[v] -= about;
    });
    write_normalised(y + (size_t)at.row * cols, u, at.mine, weight, bias, rest, scale);
    if (at.number > 0 || threadIdx.x > 0) return;
    mean[at.row] = about + rest;
    rstd[at.row] = scale;
}

// -- backward -------------------------------------------------------------------------------------

// What dx needs of a row: sums of g, g (x - mean) and x - mean. The last would be 0 if the mean were exact.
struct RowSums {
    real rest, g_mean, slope;
};

__device__ __forceinline__ RowSums row_sums_of(const real (&sums)[3], real scale, int cols) {
    const real rest = sums[2] / cols;
    return {rest, sums[0] / cols, (sums[1] - rest * sums[0]) / cols * scale * scale};
}

// Adds to the sums what the columns held give, loading dy and x - centre into d and u.
__device__ __forceinline__ void take_columns(real (&sums)[3], Numbers (&d)[HELD], Numbers (&u)[HELD],
                                             const Columns& mine, const real* dy, const real* x, const real* weight,
                                             real centre) {
    held(mine, [&](int k, int c) {
        d[k] = load<VEC>(dy + c);
        u[k] = load<VEC>(x + c);
        const Numbers slope = per_column(weight, c, 1);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            u[k].v[v] -= centre;
            const real g = d[k].v[v] * slope.v[v];
            sums[0] += g;
            sums[1] += g * u[k].v[v];
            sums[2] += u[k].v[v];
        }
    });
}

__device__ __forceinline__ void write_dx(real* dx, const Numbers (&d)[HELD], const Numbers (&u)[HELD],
                                         const Columns& mine, const real* weight, const RowSums& row, real scale) {
    held(mine, [&](int k, int c) {
        const Numbers slope = per_column(weight, c, 1);
        Numbers out;
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            out.v[v] = scale * (d[k].v[v] * slope.v[v] - row.g_mean - (u[k].v[v] - row.rest) * row.slope);
        store(dx + c, out);
    });
}

// dx and partial may be null.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_backward(real* __restrict__ dx, real* __restrict__ partial, const real* __restrict__ dy,
                        const real* __restrict__ x, const real* __restrict__ mean, const real* __restrict__ rstd,
                        const real* __restrict__ weight, int rows, int cols) {
    __shared__ Numbers room[2][SHARED_BLOCK * HELD];
    Numbers dweight[HELD] = {}, dbias[HELD] = {};
    Columns mine = {(int)threadIdx.x * VEC, (int)blockDim.x * VEC, cols};
    int turn = 0;
    for (int first = blockIdx.x * blockDim.y; first < rows; first += gridDim.x * blockDim.y, ++turn) {
        const int row = first + threadIdx.y;
        mine.last = row < rows ? cols : 0;
        const real centre = row < rows ? mean[row] : real(0), scale = row < rows ? rstd[row] : real(0);
        const size_t start = (size_t)row * cols;
        Numbers d[HELD], u[HELD];
        real sums[3] = {};
        take_columns(sums, d, u, mine, dy + start, x + start, weight, centre);
        row_sums(sums, turn);
        const RowSums found = row_sums_of(sums, scale, cols);
        if (dx) write_dx(dx + start, d, u, mine, weight, found, scale);
        if (!partial) continue;
        held(mine, [&](int k, int c) {
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                dweight[k].v[v] += d[k].v[v] * ((u[k].v[v] - found.rest) * scale);
                dbias[k].v[v] += d[k].v[v];
            }
        });
    }
    if (!partial) return;
    mine.last = cols;
    real* slice = partial + (size_t)blockIdx.x * 2 * cols;
    if (blockDim.y == 1) {
        held(mine, [&](int k, int c) {
            store(slice + c, dweight[k]);
            store(slice + cols + c, dbias[k]);
        });
        return;
    }
    const int width = blockDim.x * HELD, vectors = cols / VEC;  // room[.][y * width + i]: what row y of threads found
    held(mine, [&](int k, int c) {
        room[0][threadIdx.y * width + c / VEC] = dweight[k];
        room[1][threadIdx.y * width + c / VEC] = dbias[k];
    });
    __syncthreads();
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < 2 * vectors; i += blockDim.x * blockDim.y) {
        const int which = i >= vectors, at = i - which * vectors;
        Numbers sum = room[which][at];
        for (int y = 1; y < (int)blockDim.y; ++y) {
#pragma unroll
            for (int v = 0; v < VEC; ++v) sum.v[v] += room[which][y * width + at].v[v];
        }
        store(slice + (size_t)i * VEC, sum);
    }
}

// out[i] = the sum of partial (slices, n) over slices. Block = (WARP, rows of threads).
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_merge(real* __restrict__ out, const real* __restrict__ partial, int slices, int n) {
    __shared__ real sums[BLOCK];
    const int i = blockIdx.x * WARP + threadIdx.x, place = threadIdx.y * WARP + threadIdx.x;
    real sum = 0;
#pragma unroll 4
    for (int k = threadIdx.y; k < slices && i < n; k += blockDim.y) sum += partial[(size_t)k * n + i];
    sums[place] = sum;
    for (int rows = blockDim.y; rows > 1;) {
        const int half = (rows + 1) / 2;
        __syncthreads();
        if ((int)threadIdx.y + half < rows) sums[place] = sum += sums[place + half * WARP];
        rows = half;
    }
    if (threadIdx.y == 0 && i < n) out[i] = sum;
}

// parts (rows, chunks, 3): a chunk's share of the row's sums.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_backward_sums(real* __restrict__ parts, const real* __restrict__ dy, const real* __restrict__ x,
                             const real* __restrict__ mean, const real* __restrict__ weight, int cols, int chunks) {
    const Chunk at = my_chunk(cols, chunks);
    const size_t start = (size_t)at.row * cols;
    Numbers d[HELD], u[HELD];
    real sums[3] = {};
    take_columns(sums, d, u, at.mine, dy + start, x + start, weight, mean[at.row]);
    row_sums(sums, 0);
    if (threadIdx.x > 0) return;
#pragma unroll
    for (int i = 0; i < 3; ++i) parts[(size_t)blockIdx.x * 3 + i] = sums[i];
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    layer_norm_backward_rows(real* __restrict__ dx, const real* __restrict__ parts, const real* __restrict__ dy,
                             const real* __restrict__ x, const real* __restrict__ mean,
                             const real* __restrict__ rstd, const real* __restrict__ weight, int cols, int chunks) {
    const Chunk at = my_chunk(cols, chunks);
    const size_t start = (size_t)at.row * cols;
    const real scale = rstd[at.row];
    real sums[3] = {}, again[3] = {};
    for (int k = threadIdx.x; k < chunks; k += blockDim.x) {
#pragma unroll
        for (int i = 0; i < 3; ++i) sums[i] += parts[((size_t)at.row * chunks + k) * 3 + i];
    }
    row_sums(sums, 0);
    Numbers d[HELD], u[HELD];
    take_columns(again, d, u, at.mine, dy + start, x + start, weight, mean[at.row]);
    write_dx(dx + start, d, u, at.mine, weight, row_sums_of(sums, scale, cols), scale);
}

// partial (slices, 2, cols) of dweight and dbias, a slice for each run of rows. Grid = (tiles of columns, slices).
extern "C" __global__ void layer_norm_backward_columns(real* __restrict__ partial, const real* __restrict__ dy,
                                                       const real* __restrict__ x, const real* __restrict__ mean,
                                                       const real* __restrict__ rstd, int rows, int cols,
                                                       int rows_per_slice) {
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * VEC;
    if (c >= cols) return;
    const int first = blockIdx.y * rows_per_slice;
    Numbers dweight = {}, dbias = {};
#pragma unroll 4
    for (int row = first; row < min(rows, first + rows_per_slice); ++row) {
        const Numbers d = load<VEC>(dy + (size_t)row * cols + c), u = load<VEC>(x + (size_t)row * cols + c);
        const real centre = mean[row], scale = rstd[row];
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            dweight.v[v] += d.v[v] * ((u.v[v] - centre) * scale);
            dbias.v[v] += d.v[v];
        }
    }
    real* slice = partial + (size_t)blockIdx.y * 2 * cols + c;
    store(slice, dweight);
    store(slice + cols, dbias);
}
