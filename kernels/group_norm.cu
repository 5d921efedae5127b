// group_norm.cu: y = (x - mean) rstd weight + bias, with mean and rstd = 1 / sqrt(var + eps) of each group of channels
// of an item over all positions, and its gradients: with g = dy weight, xhat = (x - mean) rstd, means over the group,
// dx = rstd (g - mean(g) - xhat mean(g xhat)); dweight = the sum over items and positions of dy xhat, dbias of dy.
//   x, y, dy, dx (planes, rows, lanes): of images and features, channels last, (N, H W or 1, C): a lane is a channel;
//   of all else, channels first, (N C, length / VEC, VEC): a plane is one channel of one item
//   mean, rstd, g_mean, slope (N G)   weight, bias, dweight, dbias (C)
//   parts (chunks, N C), two arrays: what one block found in its chunk of the rows, for each channel of each item
// Launch: block = (vectors of lanes, rows, planes), at most BLOCK threads; grid = (chunks of planes, tiles of lanes).
// Forward: moments; statistics, a warp or a block for each group; normalise. Backward: backward_sums; for dx
// backward_means, as statistics, and backward; for dweight and dbias parameters, block = (channels, items).
// Traffic: forward x twice, y once; backward dy, x twice, dx once; and parts, which are small where positions are many.
// Moments are merged by Chan's formula, each taken about its own mean, and backward adds up dy (x - mean): a mean far
// from 0 costs no digits but those lost in storing it. All sums are in a fixed order: the same bits every time.
// Source: Wu, He 2018, arXiv:1803.08494; Chan, Golub, LeVeque 1979, Stanford STAN-CS-79-773.
#include "share.cuh"

#define BLOCK 256  // threads, at most
#define AT_ONCE 4  // rows a thread loads before it computes, so that several loads are under way

typedef Vector<real, VEC> Numbers;  // one for each of a thread's lanes

struct Layout {
    Divisor per_group, channels;  // channels of a group, and of an item
    int groups, channels_last;    // groups of an item; whether a lane is a channel
};

// -- who works on what ----------------------------------------------------------------------------

// Of a thread: VEC lanes of a plane, every `step`th row from `row`.
struct Place {
    int plane, chunk, lane, row, last, step;
    bool inside;
};

__device__ __forceinline__ Place my_place(int planes, int rows, int lanes, int rows_per_chunk, int chunks) {
    const int chunk = blockIdx.x % chunks, plane = blockIdx.x / chunks * blockDim.z + threadIdx.z;
    const int lane = (blockIdx.y * blockDim.x + threadIdx.x) * VEC, first = chunk * rows_per_chunk;
    const bool inside = plane < planes && lane < lanes;
    // Threads outside have no rows: they reach the barriers and do nothing else.
    const int last = inside ? min(rows, first + rows_per_chunk) : 0;
    return {plane, chunk, lane, first + (int)threadIdx.y, last, (int)blockDim.y, inside};
}

// Whose channel a lane is.
struct Owner {
    size_t group;
    int channel;
};

__device__ __forceinline__ Owner owner_of(int plane, int lane, const Layout& layout) {
    if (layout.channels_last) return {(size_t)plane * layout.groups + layout.per_group.quotient(lane), lane};
    int channel = plane;
    layout.channels.split(channel);
    return {(size_t)layout.per_group.quotient(plane), channel};
}

// A parameter of a thread's lanes' channels; `otherwise` where there is none. Of channels last aligned, as x is.
__device__ __forceinline__ Numbers of_channels(const real* __restrict__ parameter, real otherwise, const Place& at,
                                               const Layout& layout) {
    if (parameter && layout.channels_last) return load<VEC>(parameter + at.lane);
    const real all = parameter ? parameter[owner_of(at.plane, at.lane, layout).channel] : otherwise;
    Numbers found;
#pragma unroll
    for (int v = 0; v < VEC; ++v) found.v[v] = all;
    return found;
}

// Merges what the rows of threads have, pair by pair; the first row of threads gets the result.
template <class Part>
__device__ __forceinline__ void merge_threads(Part& mine) {
    __shared__ Part found[BLOCK];
    Part* here = found + (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
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

// Leaves what the block found of each channel; where a plane is one channel, its lanes are merged first.
template <class Part>
__device__ __forceinline__ void leave(Part& mine, real* first, real* second, const Place& at, int planes, int lanes,
                                      const Layout& layout) {
    merge_threads(mine);
    if (threadIdx.y > 0 || !at.inside) return;
    if (layout.channels_last) {
        const size_t i = ((size_t)at.chunk * planes + at.plane) * lanes + at.lane;
        store(first + i, mine.first);
        store(second + i, mine.second);
        return;
    }
    mine.merge_lanes();
    const size_t i = (size_t)at.chunk * planes + at.plane;
    first[i] = mine.first.v[0];
    second[i] = mine.second.v[0];
}

// -- forward --------------------------------------------------------------------------------------

// Some rows: how many they are, by lane their mean, and the sum of their squared distances from it.
struct Moments {
    int n;
    Numbers first, second;

    __device__ __forceinline__ void merge(const Moments& other) {
        if (n + other.n > 0) merge(other, real(other.n) / (n + other.n));
    }
    // `share`: the other's, of all rows.
    __device__ __forceinline__ void merge(const Moments& other, real share) {
        const real both = n * share;
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real apart = other.first.v[v] - first.v[v];
            first.v[v] += apart * share;
            second.v[v] += other.second.v[v] + apart * both * apart;
        }
        n += other.n;
    }
    // Some more of a thread's own rows.
    __device__ __forceinline__ void take(const Moments& rows) {
        merge(rows, share_of(real(rows.n), real(n + rows.n)));
    }
    // All lanes into the first of them.
    __device__ __forceinline__ void merge_lanes() {
#pragma unroll
        for (int v = 1; v < VEC; ++v) {
            const real apart = first.v[v] - first.v[0];
            first.v[0] += apart / (v + 1);
            second.v[0] += second.v[v] + apart * (n * (real(v) / (v + 1))) * apart;
        }
    }
};

// Of N rows: about their own mean.
template <int N>
__device__ __forceinline__ Moments moments_of(const real* from, size_t stride) {
    Numbers u[N];
#pragma unroll
    for (int j = 0; j < N; ++j) u[j] = load<VEC>(from + j * stride);
    Moments found = {N};
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        real mean = 0, m2 = 0;
#pragma unroll
        for (int j = 0; j < N; ++j) mean += u[j].v[v];
        mean /= N;
#pragma unroll
        for (int j = 0; j < N; ++j) m2 += (u[j].v[v] - mean) * (u[j].v[v] - mean);
        found.first.v[v] = mean, found.second.v[v] = m2;
    }
    return found;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_moments(real* __restrict__ part_mean, real* __restrict__ part_m2, const real* __restrict__ x, int planes,
                       int rows, int lanes, int rows_per_chunk, int chunks, Layout layout) {
    const Place at = my_place(planes, rows, lanes, rows_per_chunk, chunks);
    const real* from = x + (size_t)at.plane * rows * lanes + at.lane;
    const size_t stride = (size_t)at.step * lanes;
    Moments found = {};
    int row = at.row;
    for (; row + (AT_ONCE - 1) * at.step < at.last; row += AT_ONCE * at.step)
        found.take(moments_of<AT_ONCE>(from + (size_t)row * lanes, stride));
    for (; row < at.last; row += at.step) found.take(moments_of<1>(from + (size_t)row * lanes, stride));
    leave(found, part_mean, part_m2, at, planes, lanes, layout);
}

// Sum over the threads of one group: a warp, of several in a block, or the whole block; the same bits in each.
template <int Slot>
__device__ __forceinline__ real group_sum(real value) {
    return blockDim.x == WARP ? warp_sum(value) : block_sum<Slot>(value);
}

// The parts of a group: f(i, chunk, k) for each channel k of the group in each chunk, found at i.
template <class F>
__device__ __forceinline__ void each_part(long long group, long long pairs, int chunks, Divisor per_group, F f) {
    const int count = chunks * (int)per_group.value;
#pragma unroll 4
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        int k = j;
        const int chunk = per_group.split(k);
        f(chunk * pairs + group * per_group.value + k, chunk, k);
    }
}

// groups = N G, pairs = N C; size: numbers of a group; width: those of one channel in a row.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_statistics(real* __restrict__ mean, real* __restrict__ rstd, const real* __restrict__ part_mean,
                          const real* __restrict__ part_m2, long long groups, long long pairs, int chunks, real size,
                          Layout layout, int rows, int rows_per_chunk, int width, real eps) {
    const long long group = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (group >= groups) return;  // a warp of its own then: no barrier misses it
    const real about = part_mean[group * layout.per_group.value];
    const auto numbers_in = [&](int chunk) {
        return real(min(rows_per_chunk, rows - chunk * rows_per_chunk)) * width;
    };
    real apart = 0, square = 0;
    each_part(group, pairs, chunks, layout.per_group, [&](long long i, int chunk, int) {
        apart += numbers_in(chunk) * (part_mean[i] - about);
    });
    const real rest = group_sum<0>(apart) / size;
    each_part(group, pairs, chunks, layout.per_group, [&](long long i, int chunk, int) {
        const real distance = part_mean[i] - about - rest;
        square += part_m2[i] + numbers_in(chunk) * distance * distance;
    });
    const real var = group_sum<1>(square) / size;
    if (threadIdx.x > 0) return;
    mean[group] = about + rest;
    rstd[group] = 1 / sqrt(var + eps);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_normalise(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ mean,
                         const real* __restrict__ rstd, const real* __restrict__ weight, const real* __restrict__ bias,
                         int planes, int rows, int lanes, int rows_per_chunk, int chunks, Layout layout) {
    const Place at = my_place(planes, rows, lanes, rows_per_chunk, chunks);
    if (!at.inside) return;
    const Numbers shift = of_channels(bias, 0, at, layout);
    Numbers centre, scale = of_channels(weight, 1, at, layout);
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        const size_t group = owner_of(at.plane, at.lane + v, layout).group;
        centre.v[v] = mean[group];
        scale.v[v] *= rstd[group];
    }
#pragma unroll 4
    for (int row = at.row; row < at.last; row += at.step) {
        const size_t i = ((size_t)at.plane * rows + row) * lanes + at.lane;
        Numbers u = load<VEC>(x + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v) u.v[v] = (u.v[v] - centre.v[v]) * scale.v[v] + shift.v[v];
        store(y + i, u);
    }
}

// -- backward -------------------------------------------------------------------------------------

// Some rows: by lane the sum of dy, and that of dy (x - mean), which in the end becomes that of dy xhat.
struct Sums {
    Numbers first, second;

    __device__ __forceinline__ void merge(const Sums& other) {
#pragma unroll
        for (int v = 0; v < VEC; ++v) first.v[v] += other.first.v[v], second.v[v] += other.second.v[v];
    }
    __device__ __forceinline__ void merge_lanes() {
#pragma unroll
        for (int v = 1; v < VEC; ++v) first.v[0] += first.v[v], second.v[0] += second.v[v];
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_backward_sums(real* __restrict__ part_sum, real* __restrict__ part_dot, const real* __restrict__ dy,
                             const real* __restrict__ x, const real* __restrict__ mean, const real* __restrict__ rstd,
                             int planes, int rows, int lanes, int rows_per_chunk, int chunks, Layout layout) {
    const Place at = my_place(planes, rows, lanes, rows_per_chunk, chunks);
    Sums found = {};
    if (at.inside) {
        Numbers centre, scale;
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const size_t group = owner_of(at.plane, at.lane + v, layout).group;
            centre.v[v] = mean[group];
            scale.v[v] = rstd[group];
        }
#pragma unroll 4
        for (int row = at.row; row < at.last; row += at.step) {
            const size_t i = ((size_t)at.plane * rows + row) * lanes + at.lane;
            const Numbers d = load<VEC>(dy + i), u = load<VEC>(x + i);
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                found.first.v[v] += d.v[v];
                found.second.v[v] += d.v[v] * (u.v[v] - centre.v[v]);
            }
        }
#pragma unroll
        for (int v = 0; v < VEC; ++v) found.second.v[v] *= scale.v[v];
    }
    leave(found, part_sum, part_dot, at, planes, lanes, layout);
}

// g_mean = mean(g), slope = rstd mean(g xhat).
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_backward_means(real* __restrict__ g_mean, real* __restrict__ slope, const real* __restrict__ part_sum,
                              const real* __restrict__ part_dot, const real* __restrict__ rstd,
                              const real* __restrict__ weight, long long groups, long long pairs, int chunks, real size,
                              Layout layout) {
    const long long group = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (group >= groups) return;
    const int first = (int)(group % layout.groups) * (int)layout.per_group.value;
    real sum = 0, dot = 0;
    each_part(group, pairs, chunks, layout.per_group, [&](long long i, int, int k) {
        const real scale = weight ? weight[first + k] : real(1);
        sum += scale * part_sum[i];
        dot += scale * part_dot[i];
    });
    sum = group_sum<0>(sum);
    dot = group_sum<1>(dot);
    if (threadIdx.x > 0) return;
    g_mean[group] = sum / size;
    slope[group] = dot / size * rstd[group];
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_backward(real* __restrict__ dx, const real* __restrict__ dy, const real* __restrict__ x,
                        const real* __restrict__ mean, const real* __restrict__ rstd, const real* __restrict__ weight,
                        const real* __restrict__ g_mean, const real* __restrict__ slope, int planes, int rows,
                        int lanes, int rows_per_chunk, int chunks, Layout layout) {
    const Place at = my_place(planes, rows, lanes, rows_per_chunk, chunks);
    if (!at.inside) return;
    const Numbers factor = of_channels(weight, 1, at, layout);
    Numbers centre, scale, shift, across;
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        const size_t group = owner_of(at.plane, at.lane + v, layout).group;
        centre.v[v] = mean[group];
        scale.v[v] = rstd[group];
        shift.v[v] = g_mean[group];
        across.v[v] = slope[group];
    }
#pragma unroll 4
    for (int row = at.row; row < at.last; row += at.step) {
        const size_t i = ((size_t)at.plane * rows + row) * lanes + at.lane;
        Numbers d = load<VEC>(dy + i);
        const Numbers u = load<VEC>(x + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            d.v[v] = scale.v[v] * (d.v[v] * factor.v[v] - shift.v[v] - (u.v[v] - centre.v[v]) * across.v[v]);
        store(dx + i, d);
    }
}

// Either output may be null. A thread adds up every blockDim.y-th slice of its channel: a chunk of an item. VEC is 1.
extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    group_norm_parameters(real* __restrict__ dweight, real* __restrict__ dbias, const real* __restrict__ part_sum,
                          const real* __restrict__ part_dot, int slices, int C) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    Sums found = {};
    if (c < C) {
#pragma unroll 4
        for (int slice = threadIdx.y; slice < slices; slice += blockDim.y) {
            const size_t i = (size_t)slice * C + c;
            found.first.v[0] += part_sum[i];
            found.second.v[0] += part_dot[i];
        }
    }
    merge_threads(found);
    if (threadIdx.y > 0 || c >= C) return;
    if (dbias) dbias[c] = found.first.v[0];
    if (dweight) dweight[c] = found.second.v[0];
}
