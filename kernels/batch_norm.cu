// batch_norm.cu: y = act((x - mean) / sqrt(var + eps) * weight + bias + residual) by channel, and its gradients.
//   x, y, dy, dx, residual (rows, C), of type stored: channels last, rows = N H W    mean, var (C)
//   weight, bias, running_mean, running_var (C), of type parameter
//   parts (chunks, 2, C): what one block found in its chunk of the rows   tickets (1 + tiles * chunks) of zeros
// Launch: block = (vectors of channels, rows), at most BLOCK threads; grid = (chunks of rows, tiles of channels).
// Of several chunks the last block of each FAN merges those, and the last of these their results.
// Traffic: forward x twice, y once (and residual once); backward dy and x twice, dx once. After a ReLU backward reads y too,
// unless no residual was added: then y's sign follows from x.
// Mean and variance come from Chan's merge of parts, each taken about its own mean, in a fixed order: a
// channel of mean 100 and deviation 1 loses nothing, and every run gives the same bits.
// Source: Ioffe, Szegedy 2015, arXiv:1502.03167; Chan, Golub, LeVeque 1979, Stanford STAN-CS-79-773.
#include "share.cuh"
#include "stored.cuh"

#define BLOCK 256   // threads of a block, at most
#define AT_ONCE 4   // rows a thread loads before it computes, so that several loads are under way
#define FAN 32      // chunks merged by one block
#define BLOCKS (sizeof(real) == 4 ? 4 : 2)  // of an SM: more need fewer registers than some architectures like

typedef Vector<real, VEC> Channels;  // a number for each of a thread's channels

// Some rows: how many they are, by channel their mean, and the sum of their squared distances from it.
struct Moments {
    real n;
    Channels mean, m2;

    __device__ __forceinline__ void merge(const Moments& other) {
        if (n + other.n > 0) merge(other, other.n / (n + other.n));
    }
    // `share`: the other's, of all rows.
    __device__ __forceinline__ void merge(const Moments& other, real share) {
        const real both = n * share;
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real apart = other.mean.v[v] - mean.v[v];
            mean.v[v] += apart * share;
            m2.v[v] += other.m2.v[v] + apart * both * apart;
        }
        n += other.n;
    }
    __device__ __forceinline__ void leave(real* to, int C) const {
        store(to, mean);
        store(to + C, m2);
    }
    static __device__ __forceinline__ Moments taken(const real* from, int C, int rows) {
        return {real(rows), load<VEC>(from), load<VEC>(from + C)};
    }
};

// Some rows: by channel the sum of dz, and that of dz (x - mean).
struct Sums {
    Channels sum, dot;

    __device__ __forceinline__ void merge(const Sums& other) {
#pragma unroll
        for (int v = 0; v < VEC; ++v) sum.v[v] += other.sum.v[v], dot.v[v] += other.dot.v[v];
    }
    __device__ __forceinline__ void leave(real* to, int C) const {
        store(to, sum);
        store(to + C, dot);
    }
    static __device__ __forceinline__ Sums taken(const real* from, int C, int) {
        return {load<VEC>(from), load<VEC>(from + C)};
    }
};

// The part of the (rows, C) matrix that a thread works on: VEC channels from c, every `step`th row from `row`.
struct Place {
    int c, row, last, step;
};

__device__ __forceinline__ Place my_place(int rows, int rows_per_chunk) {
    const int first = blockIdx.x * rows_per_chunk;
    return {(int)(blockIdx.y * blockDim.x + threadIdx.x) * VEC, first + (int)threadIdx.y,
            min(rows, first + rows_per_chunk), (int)blockDim.y};
}

// Merges what the rows of threads have, pair by pair; the first row of threads gets the result. Ends without a barrier.
template <class Part>
__device__ __forceinline__ void merge_threads(Part& mine) {
    __shared__ Part found[BLOCK];
    Part* here = found + threadIdx.y * blockDim.x + threadIdx.x;
    *here = mine;
    for (int rows = blockDim.y; rows > 1;) {
        const int half = (rows + 1) / 2;
        __syncthreads();
        if ((int)threadIdx.y + half < rows) {
            mine.merge(here[half * blockDim.x]);
            *here = mine;
        }
        rows = half;
    }
}

// Merges what all threads of a tile of channels have: true in its last block, whose first row of threads has the
// result. All threads call it. tickets: as many as there are chunks, for each tile.
template <class Part>
__device__ __forceinline__ bool merge_all(Part& mine, real* parts, unsigned* tickets, int c, int rows, int C,
                                          int rows_per_chunk) {
    unsigned* ticket = tickets + blockIdx.y * gridDim.x;
    int number = blockIdx.x, count = gridDim.x, apart = 1;
    for (;;) {
        merge_threads(mine);
        if (count == 1) return true;
        const int first = number / FAN * FAN, last = c < C ? min(first + FAN, count) : 0;
        if (threadIdx.y == 0 && c < C) mine.leave(parts + (size_t)number * apart * 2 * C + c, C);
        if (!last_block(ticket + number / FAN, min(FAN, count - first))) return false;
        mine = {};
        const int each = apart * rows_per_chunk;
#pragma unroll 2
        for (int k = first + threadIdx.y; k < last; k += blockDim.y)
            mine.merge(Part::taken(parts + (size_t)k * apart * 2 * C + c, C, min(each, rows - k * each)));
        // What is left next replaces the first of these parts, which no one needs any more.
        number /= FAN, count = (count + FAN - 1) / FAN, ticket += count, apart *= FAN;
    }
}

// Takes N rows into the moments: first among themselves, about their own mean.
template <int N>
__device__ __forceinline__ void take_rows(Moments& found, const stored* from, size_t stride) {
    Channels u[N];
#pragma unroll
    for (int j = 0; j < N; ++j) u[j] = load<VEC>(from + j * stride);
    Moments rows = {real(N)};
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        real mean = 0, m2 = 0;
#pragma unroll
        for (int j = 0; j < N; ++j) mean += u[j].v[v];
        mean /= N;
#pragma unroll
        for (int j = 0; j < N; ++j) m2 += (u[j].v[v] - mean) * (u[j].v[v] - mean);
        rows.mean.v[v] = mean, rows.m2.v[v] = m2;
    }
    found.merge(rows, share_of(real(N), found.n + N));
}

// Moves the thread's channels of a running estimate by `share` of the way, if there is one.
__device__ __forceinline__ void move(parameter* running, const Channels& towards, int c, real share) {
    if (!running) return;
    Channels now = load<VEC>(running + c);
#pragma unroll
    for (int v = 0; v < VEC; ++v) now.v[v] = (1 - share) * now.v[v] + share * towards.v[v];
    store(running + c, now);
}

// momentum < 0 stands for 1 / batches: the plain average over all batches, this one included.
extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS)
batch_norm_statistics(real* __restrict__ mean, real* __restrict__ var, INOUT parameter* __restrict__ running_mean,
                      INOUT parameter* __restrict__ running_var, INOUT long long* __restrict__ batches,
                      real* __restrict__ parts, INOUT unsigned* __restrict__ tickets, const stored* __restrict__ x,
                      const int* __restrict__ error, int rows, int C, int rows_per_chunk, real momentum) {
    const bool moves = !failed(error);
    // Read before the barriers (a block has several rows of threads) and tickets after which it is counted up.
    const real share = momentum < 0 && batches ? 1 / real(batches[0] + 1) : momentum;
    const Place at = my_place(rows, rows_per_chunk);
    Moments found = {};
    if (at.c < C) {
        int row = at.row;
        for (; row + (AT_ONCE - 1) * at.step < at.last; row += AT_ONCE * at.step)
            take_rows<AT_ONCE>(found, x + (size_t)row * C + at.c, (size_t)at.step * C);
        for (; row < at.last; row += at.step) take_rows<1>(found, x + (size_t)row * C + at.c, 0);
    }
    if (!merge_all(found, parts, tickets + 1, at.c, rows, C, rows_per_chunk)) return;
    if (threadIdx.y == 0 && at.c < C) {
        Channels biased, unbiased;
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            biased.v[v] = found.m2.v[v] / rows;
            unbiased.v[v] = found.m2.v[v] / max(rows - 1, 1);
        }
        store(mean + at.c, found.mean);
        store(var + at.c, biased);
        if (moves) {
            move(running_mean, found.mean, at.c, share);
            move(running_var, unbiased, at.c, share);
        }
    }
    if (!batches || !moves) return;
    // Counted by the last tile: the others have read the count.
    if (gridDim.y > 1 && !last_block(tickets, gridDim.y)) return;
    if (threadIdx.x == 0 && threadIdx.y == 0) ++batches[0];
}

// One number a channel for each of the thread's channels; `otherwise` where the array was not given.
template <class T>
__device__ __forceinline__ Channels per_channel(const T* from, int c, real otherwise) {
    if (from) return load<VEC>(from + c);
    Channels all;
#pragma unroll
    for (int v = 0; v < VEC; ++v) all.v[v] = otherwise;
    return all;
}

// (x - mean) / sqrt(var + eps) * weight + bias of a thread's channels. Both directions ask it, and find the same sign.
struct Normalised {
    Channels centre, scale, shift;

    __device__ __forceinline__ Normalised(const real* mean, const real* var, const parameter* weight, const parameter* bias,
                                          real eps, int c)
        : centre(load<VEC>(mean + c)), scale(per_channel(weight, c, 1)), shift(per_channel(bias, c, 0)) {
        const Channels spread = load<VEC>(var + c);
#pragma unroll
        for (int v = 0; v < VEC; ++v) scale.v[v] /= sqrt(spread.v[v] + eps);
    }
    __device__ __forceinline__ real of(const Channels& u, int v) const {
        return fma(u.v[v] - centre.v[v], scale.v[v], shift.v[v]);
    }
};

extern "C" __global__ void batch_norm_normalise(
    stored* __restrict__ y, const stored* __restrict__ x, const real* __restrict__ mean, const real* __restrict__ var,
    const parameter* __restrict__ weight, const parameter* __restrict__ bias, const stored* __restrict__ residual, int rows,
    int C, int rows_per_chunk, real eps, int relu) {
    const Place at = my_place(rows, rows_per_chunk);
    if (at.c >= C) return;
    const Normalised normalised(mean, var, weight, bias, eps, at.c);
#pragma unroll 4
    for (int row = at.row; row < at.last; row += at.step) {
        const size_t i = (size_t)row * C + at.c;
        Channels u = load<VEC>(x + i);
        const Channels extra = residual ? load<VEC>(residual + i) : Channels{};
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real z = normalised.of(u, v) + extra.v[v];
            u.v[v] = relu && z < 0 ? real(0) : z;  // NaN stays NaN
        }
        store(y + i, u);
    }
}

// dz, the gradient before the activation: dy, or with a ReLU 0 where y <= 0. y is null without a ReLU, and with `relu` where
// it is what `normalised` makes of x, and rounded.
__device__ __forceinline__ Channels gradient(const stored* dy, const stored* y, int relu, const Normalised& normalised,
                                             const Channels& x, size_t i) {
    Channels d = load<VEC>(dy + i);
    if (y) {
        const Channels u = load<VEC>(y + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v) d.v[v] = u.v[v] <= 0 ? real(0) : d.v[v];
    } else if (relu) {
#pragma unroll
        for (int v = 0; v < VEC; ++v) d.v[v] = real(stored(normalised.of(x, v))) <= 0 ? real(0) : d.v[v];
    }
    return d;
}

// dbias = sum of dz, dweight = rstd times the sum of dz (x - mean).
extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS)
batch_norm_backward_sums(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ parts,
                         INOUT unsigned* __restrict__ tickets, const stored* __restrict__ dy,
                         const stored* __restrict__ x, const stored* __restrict__ y, const real* __restrict__ mean,
                         const real* __restrict__ var, const parameter* __restrict__ weight,
                         const parameter* __restrict__ bias, int rows, int C, int rows_per_chunk, real eps, int relu) {
    const Place at = my_place(rows, rows_per_chunk);
    Sums found = {};
    if (at.c < C) {
        const Normalised normalised(mean, var, weight, bias, eps, at.c);
        const Channels& centre = normalised.centre;
#pragma unroll 4
        for (int row = at.row; row < at.last; row += at.step) {
            const size_t i = (size_t)row * C + at.c;
            const Channels u = load<VEC>(x + i), d = gradient(dy, y, relu, normalised, u, i);
#pragma unroll
            for (int v = 0; v < VEC; ++v) found.sum.v[v] += d.v[v], found.dot.v[v] += d.v[v] * (u.v[v] - centre.v[v]);
        }
    }
    if (!merge_all(found, parts, tickets, at.c, rows, C, rows_per_chunk) || threadIdx.y > 0 || at.c >= C) return;
    const Channels spread = load<VEC>(var + at.c);
#pragma unroll
    for (int v = 0; v < VEC; ++v) found.dot.v[v] /= sqrt(spread.v[v] + eps);
    store(dbias + at.c, found.sum);
    store(dweight + at.c, found.dot);
}

// dx = weight rstd (dz - (dbias + xhat dweight) / count); without dweight and dbias (eval mode) weight rstd dz.
// count (1): of the rows that mean and var come from; null: these rows. dresidual = dz. Either gradient may be null.
extern "C" __global__ void batch_norm_backward(
    stored* __restrict__ dx, stored* __restrict__ dresidual, const stored* __restrict__ dy,
    const stored* __restrict__ x, const stored* __restrict__ y, const real* __restrict__ mean, const real* __restrict__ var,
    const parameter* __restrict__ weight, const parameter* __restrict__ bias, const real* __restrict__ dweight,
    const real* __restrict__ dbias, const real* __restrict__ count, int rows, int C, int rows_per_chunk, real eps, int relu) {
    const Place at = my_place(rows, rows_per_chunk);
    if (at.c >= C) return;
    const Normalised normalised(mean, var, weight, bias, eps, at.c);
    const Channels &centre = normalised.centre, spread = load<VEC>(var + at.c);
    Channels scale = per_channel(weight, at.c, 1), slope = per_channel(dweight, at.c, 0);
    Channels shift = per_channel(dbias, at.c, 0);
    const real all = count ? count[0] : real(rows);
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        const real rstd = 1 / sqrt(spread.v[v] + eps);
        scale.v[v] *= rstd;
        slope.v[v] *= rstd / all;
        shift.v[v] /= all;
    }
#pragma unroll 4
    for (int row = at.row; row < at.last; row += at.step) {
        const size_t i = (size_t)row * C + at.c;
        const Channels u = dweight || relu ? load<VEC>(x + i) : centre;
        Channels d = gradient(dy, y, relu, normalised, u, i);
        if (dresidual) store(dresidual + i, d);
        if (!dx) continue;
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            d.v[v] = scale.v[v] * (d.v[v] - shift.v[v] - (u.v[v] - centre.v[v]) * slope.v[v]);
        store(dx + i, d);
    }
}
