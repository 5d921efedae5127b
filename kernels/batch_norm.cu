// batch_norm.cu: y = act((x - mean) / sqrt(var + eps) * weight + bias + residual) by channel, and its gradients.
//   x, y, dy, dx, residual (rows, C): channels last, rows = N H W    mean, var, weight, bias (C)
//   part_* (chunks, C): what one block found in its chunk of the rows
// Launch: block = (vectors of channels, rows), at most BLOCK threads. Over the tensor: grid = (chunks of rows,
// tiles of channels). Merges: block = (channels, chunks), grid = tiles of channels.
// Traffic: forward x twice, y once (and residual once); backward dy, x (and y, for the ReLU mask) twice, dx once.
// Mean and variance come from Chan's merge of parts, each taken about its own mean, in a fixed order: a
// channel of mean 100 and deviation 1 loses nothing, and every run gives the same bits.
// Source: Ioffe, Szegedy 2015, arXiv:1502.03167; Chan, Golub, LeVeque 1979, Stanford STAN-CS-79-773.
#include "common.cuh"

#define BLOCK 256   // threads of a block, at most
#define AT_ONCE 4   // rows a thread loads before it computes, so that several loads are under way

struct Moments {
    real n, mean, m2;  // how many numbers, their mean, the sum of their squared distances from it
};

__device__ __forceinline__ Moments merged(Moments a, Moments b) {
    const real n = a.n + b.n;
    if (n == 0) return a;
    const real apart = b.mean - a.mean, share = b.n / n;
    return {n, a.mean + apart * share, a.m2 + b.m2 + apart * a.n * share * apart};
}

// The part of the (rows, C) matrix that a thread works on: VEC channels from c, every `step`th row from `row`.
struct Place {
    int c, row, last, step;
};

__device__ __forceinline__ Place my_place(int rows, int rows_per_chunk) {
    const int first = blockIdx.x * rows_per_chunk;
    return {(int)(blockIdx.y * blockDim.x + threadIdx.x) * VEC, first + (int)threadIdx.y,
            min(rows, first + rows_per_chunk), (int)blockDim.y};
}

// Takes N rows into the moments: first among themselves, about their own mean.
template <int N>
__device__ __forceinline__ void take_rows(Moments (&found)[VEC], const real* from, size_t stride) {
    Vector<real, VEC> u[N];
#pragma unroll
    for (int j = 0; j < N; ++j) u[j] = load<VEC>(from + j * stride);
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        real mean = 0, m2 = 0;
#pragma unroll
        for (int j = 0; j < N; ++j) mean += u[j].v[v];
        mean /= N;
#pragma unroll
        for (int j = 0; j < N; ++j) m2 += (u[j].v[v] - mean) * (u[j].v[v] - mean);
        found[v] = merged(found[v], {real(N), mean, m2});
    }
}

extern "C" __global__ void batch_norm_moments(real* __restrict__ part_mean, real* __restrict__ part_m2,
                                              INOUT long long* __restrict__ batches, const real* __restrict__ x,
                                              const int* __restrict__ error, int rows, int C, int rows_per_chunk) {
    __shared__ real mean[BLOCK * VEC], m2[BLOCK * VEC];
    // Counted here and not where the running estimates move: all blocks read the count there.
    if (batches && !failed(error) && blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0 && threadIdx.y == 0)
        ++batches[0];
    const Place at = my_place(rows, rows_per_chunk);
    const int tile = blockDim.x * VEC, mine = threadIdx.y * tile + threadIdx.x * VEC;
    if (at.c < C) {
        Moments found[VEC] = {};
        int row = at.row;
        for (; row + (AT_ONCE - 1) * at.step < at.last; row += AT_ONCE * at.step)
            take_rows<AT_ONCE>(found, x + (size_t)row * C + at.c, (size_t)at.step * C);
        for (; row < at.last; row += at.step) take_rows<1>(found, x + (size_t)row * C + at.c, 0);
#pragma unroll
        for (int v = 0; v < VEC; ++v) mean[mine + v] = found[v].mean, m2[mine + v] = found[v].m2;
    }
    __syncthreads();
    // From here a thread has one channel of the tile and goes through the rows of threads.
    const int first = blockIdx.y * tile, count = at.last - blockIdx.x * rows_per_chunk;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < min(tile, C - first); i += blockDim.x * blockDim.y) {
        Moments all = {};
        for (int y = 0; y < min(at.step, count); ++y)
            all = merged(all, {real((count - y - 1) / at.step + 1), mean[y * tile + i], m2[y * tile + i]});
        part_mean[(size_t)blockIdx.x * C + first + i] = all.mean;
        part_m2[(size_t)blockIdx.x * C + first + i] = all.m2;
    }
}

// momentum < 0 stands for 1 / batches: the plain average over all batches so far.
extern "C" __global__ void batch_norm_statistics(
    real* __restrict__ mean, real* __restrict__ var, INOUT real* __restrict__ running_mean,
    INOUT real* __restrict__ running_var, const real* __restrict__ part_mean, const real* __restrict__ part_m2,
    const long long* __restrict__ batches, const int* __restrict__ error, int rows, int C, int rows_per_chunk,
    int chunks, real momentum) {
    __shared__ Moments found[BLOCK];
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    Moments all = {};
    for (int k = threadIdx.y; k < chunks && c < C; k += blockDim.y) {
        const real n = min(rows_per_chunk, rows - k * rows_per_chunk);
        all = merged(all, {n, part_mean[(size_t)k * C + c], part_m2[(size_t)k * C + c]});
    }
    found[threadIdx.y * blockDim.x + threadIdx.x] = all;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C) return;
    for (int y = 1; y < (int)blockDim.y; ++y) all = merged(all, found[y * blockDim.x + threadIdx.x]);
    mean[c] = all.mean;
    var[c] = all.m2 / rows;
    if (failed(error)) return;
    const real share = momentum < 0 ? 1 / real(batches[0]) : momentum;
    if (running_mean) running_mean[c] = (1 - share) * running_mean[c] + share * all.mean;
    if (running_var) running_var[c] = (1 - share) * running_var[c] + share * all.m2 / max(rows - 1, 1);
}

// One number a channel for each of the thread's channels; `otherwise` where the array was not given.
__device__ __forceinline__ Vector<real, VEC> per_channel(const real* from, int c, real otherwise) {
    if (from) return load<VEC>(from + c);
    Vector<real, VEC> all;
#pragma unroll
    for (int v = 0; v < VEC; ++v) all.v[v] = otherwise;
    return all;
}

extern "C" __global__ void batch_norm_normalise(
    real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ mean, const real* __restrict__ var,
    const real* __restrict__ weight, const real* __restrict__ bias, const real* __restrict__ residual, int rows,
    int C, int rows_per_chunk, real eps, int relu) {
    const Place at = my_place(rows, rows_per_chunk);
    if (at.c >= C) return;
    const Vector<real, VEC> centre = load<VEC>(mean + at.c), shift = per_channel(bias, at.c, 0);
    const Vector<real, VEC> spread = load<VEC>(var + at.c);
    Vector<real, VEC> scale = per_channel(weight, at.c, 1);
#pragma unroll
    for (int v = 0; v < VEC; ++v) scale.v[v] /= sqrt(spread.v[v] + eps);
#pragma unroll 4
    for (int row = at.row; row < at.last; row += at.step) {
        const size_t i = (size_t)row * C + at.c;
        Vector<real, VEC> u = load<VEC>(x + i);
        const Vector<real, VEC> extra = residual ? load<VEC>(residual + i) : Vector<real, VEC>{};
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real z = (u.v[v] - centre.v[v]) * scale.v[v] + shift.v[v] + extra.v[v];
            u.v[v] = relu && z < 0 ? real(0) : z;  // NaN stays NaN
        }
        store(y + i, u);
    }
}

// dz, the gradient before the activation: dy, or with a ReLU dy where y > 0.
__device__ __forceinline__ Vector<real, VEC> gradient(const real* dy, const real* y, size_t i) {
    Vector<real, VEC> d = load<VEC>(dy + i);
    if (y) {
        const Vector<real, VEC> u = load<VEC>(y + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v) d.v[v] = u.v[v] > 0 ? d.v[v] : real(0);
    }
    return d;
}

// part_sum = sum of dz, part_dot = sum of dz (x - mean), each over a chunk of the rows. y: null without a ReLU.
extern "C" __global__ void batch_norm_backward_parts(real* __restrict__ part_sum, real* __restrict__ part_dot,
                                                     const real* __restrict__ dy, const real* __restrict__ x,
                                                     const real* __restrict__ y, const real* __restrict__ mean,
                                                     int rows, int C, int rows_per_chunk) {
    __shared__ real sums[BLOCK * VEC], dots[BLOCK * VEC];
    const Place at = my_place(rows, rows_per_chunk);
    const int tile = blockDim.x * VEC, mine = threadIdx.y * tile + threadIdx.x * VEC;
    if (at.c < C) {
        const Vector<real, VEC> centre = load<VEC>(mean + at.c);
        Vector<real, VEC> sum = {}, dot = {};
#pragma unroll 4
        for (int row = at.row; row < at.last; row += at.step) {
            const size_t i = (size_t)row * C + at.c;
            const Vector<real, VEC> d = gradient(dy, y, i), u = load<VEC>(x + i);
#pragma unroll
            for (int v = 0; v < VEC; ++v) sum.v[v] += d.v[v], dot.v[v] += d.v[v] * (u.v[v] - centre.v[v]);
        }
#pragma unroll
        for (int v = 0; v < VEC; ++v) sums[mine + v] = sum.v[v], dots[mine + v] = dot.v[v];
    }
    __syncthreads();
    const int first = blockIdx.y * tile;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < min(tile, C - first); i += blockDim.x * blockDim.y) {
        real sum = 0, dot = 0;
        for (int k = 0; k < at.step; ++k) sum += sums[k * tile + i], dot += dots[k * tile + i];
        part_sum[(size_t)blockIdx.x * C + first + i] = sum;
        part_dot[(size_t)blockIdx.x * C + first + i] = dot;
    }
}

extern "C" __global__ void batch_norm_backward_sums(real* __restrict__ dweight, real* __restrict__ dbias,
                                                    const real* __restrict__ part_sum,
                                                    const real* __restrict__ part_dot, const real* __restrict__ var,
                                                    int C, int chunks, real eps) {
    __shared__ real sums[BLOCK], dots[BLOCK];
    const int c = blockIdx.x * blockDim.x + threadIdx.x, mine = threadIdx.y * blockDim.x + threadIdx.x;
    real sum = 0, dot = 0;
    for (int k = threadIdx.y; k < chunks && c < C; k += blockDim.y)
        sum += part_sum[(size_t)k * C + c], dot += part_dot[(size_t)k * C + c];
    sums[mine] = sum;
    dots[mine] = dot;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C) return;
    for (int y = 1; y < (int)blockDim.y; ++y)
        sum += sums[y * blockDim.x + threadIdx.x], dot += dots[y * blockDim.x + threadIdx.x];
    dbias[c] = sum;
    dweight[c] = dot / sqrt(var[c] + eps);
}

// dx = weight rstd (dz - (dbias + xhat dweight) / rows); without dweight and dbias (eval mode) weight rstd dz.
// dresidual = dz. Either may be null.
extern "C" __global__ void batch_norm_backward(
    real* __restrict__ dx, real* __restrict__ dresidual, const real* __restrict__ dy, const real* __restrict__ x,
    const real* __restrict__ y, const real* __restrict__ mean, const real* __restrict__ var,
    const real* __restrict__ weight, const real* __restrict__ dweight, const real* __restrict__ dbias, int rows,
    int C, int rows_per_chunk, real eps) {
    const Place at = my_place(rows, rows_per_chunk);
    if (at.c >= C) return;
    const Vector<real, VEC> centre = load<VEC>(mean + at.c), spread = load<VEC>(var + at.c);
    Vector<real, VEC> scale = per_channel(weight, at.c, 1), slope = per_channel(dweight, at.c, 0);
    Vector<real, VEC> shift = per_channel(dbias, at.c, 0);
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        const real rstd = 1 / sqrt(spread.v[v] + eps);
        scale.v[v] *= rstd;
        slope.v[v] *= rstd / rows;
        shift.v[v] /= rows;
    }
#pragma unroll 4
    for (int row = at.row; row < at.last; row += at.step) {
        const size_t i = (size_t)row * C + at.c;
        Vector<real, VEC> d = gradient(dy, y, i);
        if (dresidual) store(dresidual + i, d);
        if (!dx) continue;
        const Vector<real, VEC> u = dweight ? load<VEC>(x + i) : centre;
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            d.v[v] = scale.v[v] * (d.v[v] - shift.v[v] - (u.v[v] - centre.v[v]) * slope.v[v]);
        store(dx + i, d);
    }
}
