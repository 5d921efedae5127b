// conv2d_depthwise.cu: convolutions whose groups have few channels, where a matrix product would be mostly padding.
//   x, dx (N, H, W, C)   y, dy, dz (N, P, Q, K)   weight, dweight (K, R, S, C/groups)   bias, dbias (K) or null, all of type stored
// Formulas and dz as in conv2d.cu. DEPTHWISE=1: one channel in, one out; vectors lie across channels. DEPTHWISE=0: a few
// of each; a thread has one channel of what is computed, and vectors lie along the channels that it sums over.
// Forward and backward data are one sum: over the elements of a filter, of an input under them. A thread computes T
// columns of one row and of one channel vector; where the elements of a filter row lie as far apart as those columns,
// what it has loaded for one element it keeps for the next. Backward data gathers: what it computes at once are columns
// a stride apart, which all meet the same filter elements.
// Launch: forward, backward data: grid = image * row tile * column tile * channel tile, block = (channel vectors,
// columns / T, rows) and filters of the channel tile in shared memory; backward weight: grid = (channel tiles, slices
// of the N * P rows), block = (channel vectors, parts of a filter, rows at a time).
// Traffic: forward x and weight about once (R * (1 + (S-1)/T) times from cache), y once; backward data dz and dx alike;
// backward weight x, dy and y once (R times from cache), dz once.
// Source: Howard et al. 2017, "MobileNets", arXiv:1704.04861, for the layer.
#include "stored.cuh"

enum { T = 4, TAPS = 4, SUMS = TAPS + 1 };  // columns; filter elements of a row, and with the bias

struct NarrowShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int group_C, group_K;
    int reach_h, reach_w;  // as in conv2d.cu
    int parts;  // of a filter, TAPS elements of a row and VEC channels each
    Divisor by_P, by_S, by_group_C, by_group_K, by_chunks, by_parts_S;  // chunks: vectors of a sum over channels
    // Where a block lies: tiles of channels, columns and rows; columns that a thread begins with (backward data).
    Divisor by_channel_tiles, by_column_tiles, by_row_tiles, by_phases;
    Divisor by_stride_h, by_stride_w, by_step_h, by_step_w;  // a pixel meets every step-th filter element
};

typedef Vector<real, VEC> In;
typedef Vector<real, DEPTHWISE ? VEC : 1> Out;
enum { WIDTH = DEPTHWISE ? VEC : 1 };  // channels of an Out

template <class V>
__device__ __forceinline__ void clear(V& v) {
#pragma unroll
    for (int j = 0; j < (int)(sizeof(v.v) / sizeof(real)); ++j) v.v[j] = 0;
}
__device__ __forceinline__ void add(In& sum, const In& more) {
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum.v[j] += more.v[j];
}
__device__ __forceinline__ void add_product(Out& sum, const In& u, const In& w) {
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum.v[j % WIDTH] += u.v[j] * w.v[j];
}

// One axis of what is computed from `o` on, o + one further apart, ...: of what is read, element a of the filter meets
// first + a * delta, and is number tap + a * step. delta > 0.
struct Walk {
    int first, delta, tap, step, taps;
};
__device__ __forceinline__ Walk walk_forward(int o, int pad, int stride, int dilation, int length) {
    return {o * stride - pad, dilation, 0, 1, length};
}
// A pixel meets every step-th filter element from some one on, through outputs `reach` apart.
__device__ __forceinline__ Walk walk_back(int o, int pad, int dilation, int length, int reach, const Divisor& by_stride,
                                          const Divisor& by_step) {
    const int stride = by_stride.value, step = by_step.value;
    // How far the tap's output is from the first: whole strides where there is one, negative before the first.
    const auto distance = [=](int tap) { return o + pad - tap * dilation; };
    const auto strides = [&](int tap) {
        const int found = by_stride.quotient(abs(distance(tap)));
        return distance(tap) < 0 ? -found : found;
    };
    int tap = 0;
    while (tap < length && strides(tap) * stride != distance(tap)) ++tap;
    const int taps = by_step.quotient(length - tap + step - 1);
    const int last = tap + (taps - 1) * step;
    return {strides(last), reach, last, -step, taps};
}

// Where a thread is at work: its image, row, first column and channel.
struct Place {
    int n, row, column, channel;
    __device__ __forceinline__ explicit Place(const NarrowShape& g) {
        int tile = blockIdx.x;
        channel = tile;
        tile = g.by_channel_tiles.split(channel);
        column = tile;
        tile = g.by_column_tiles.split(column);
        row = tile;
        n = g.by_row_tiles.split(row);
        channel = (channel * blockDim.x + threadIdx.x) * WIDTH;
        row = row * blockDim.z + threadIdx.z;
        column = column * blockDim.y + threadIdx.y;
    }
};

// A row of an image; zero outside it.
struct Row {
    const stored* data;
    int columns, channels;
    __device__ __forceinline__ In read(int w) const {
        In u;
        if (w >= 0 && w < columns) return load<VEC>(data + (size_t)w * channels);
        clear(u);
        return u;
    }
};

// The sums of one thread. image: its first channel; filters: its own in shared memory, a vector every `lanes`.
__device__ __forceinline__ void gather(Out (&sum)[T], const stored* image, int rows, int columns, int channels,
                                       const Walk& down, const Walk& across, int apart, const In* filters, int S,
                                       int chunks) {
    const int lanes = blockDim.x;
    for (int a = 0; a < down.taps; ++a) {
        const int h = down.first + a * down.delta;
        if (h < 0 || h >= rows) continue;
        for (int chunk = 0; chunk < chunks; ++chunk) {
            const Row row = {image + (size_t)h * columns * channels + chunk * VEC, columns, channels};
            const In* filter = filters + (((down.tap + a * down.step) * S + across.tap) * chunks + chunk) * lanes;
            const int next = across.step * chunks * lanes;
            int w = across.first;
            if (across.delta == apart) {
                In held[T];
#pragma unroll
                for (int t = 0; t < T - 1; ++t) held[t] = row.read(w + t * apart);
                w += (T - 1) * apart;
                for (int b = 0; b < across.taps; ++b, w += apart, filter += next) {
                    held[T - 1] = row.read(w);
                    const In f = *filter;
#pragma unroll
                    for (int t = 0; t < T; ++t) add_product(sum[t], held[t], f);
#pragma unroll
                    for (int t = 0; t < T - 1; ++t) held[t] = held[t + 1];
                }
            } else {
                for (int b = 0; b < across.taps; ++b, w += across.delta, filter += next) {
                    const In f = *filter;
#pragma unroll
                    for (int t = 0; t < T; ++t) add_product(sum[t], row.read(w + t * apart), f);
                }
            }
        }
    }
}

// Brings the filters of this block's channels to shared memory, [r * S + s][chunk][channel vector]. Back: channel is
// that of x, and the sum is over those of y.
template <bool BACK>
__device__ __forceinline__ void take_filters(In* filters, const stored* __restrict__ weight, const NarrowShape& g,
                                             int channel, int chunks) {
    const int taps = g.R * g.S, filter = taps * g.group_C;  // elements of one
    int group = channel, inner = 0;
    if (BACK) inner = channel, group = g.by_group_C.split(inner);
    for (int i = threadIdx.z * blockDim.y + threadIdx.y; i < taps * chunks; i += blockDim.y * blockDim.z) {
        int chunk = i;
        const int tap = g.by_chunks.split(chunk);
        In f;
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            size_t at;
            if (DEPTHWISE)
                at = (size_t)(channel + j) * taps + tap;
            else if (BACK)
                at = (size_t)(group * g.group_K + chunk * VEC + j) * filter + tap * g.group_C + inner;
            else
                at = (size_t)channel * filter + tap * g.group_C + chunk * VEC + j;
            f.v[j] = channel < (BACK ? g.C : g.K) ? real(weight[at]) : real(0);
        }
        filters[i * blockDim.x + threadIdx.x] = f;
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(256, 1)
conv2d_narrow_forward(stored* __restrict__ y, const stored* __restrict__ x, const stored* __restrict__ weight,
                      const stored* __restrict__ bias, NarrowShape g, int relu) {
    DYNAMIC_SHARED(In, filters);
    const Place at(g);
    const int chunks = DEPTHWISE ? 1 : g.group_C / VEC, first = at.column * T;
    take_filters<false>(filters, weight, g, at.channel, chunks);
    if (at.channel >= g.K || at.row >= g.P || first >= g.Q) return;
    const int from = DEPTHWISE ? at.channel : g.by_group_K.quotient(at.channel) * g.group_C;  // saves registers
    Out sum[T];
#pragma unroll
    for (int t = 0; t < T; ++t) clear(sum[t]);
    gather(sum, x + (size_t)at.n * g.H * g.W * g.C + from, g.H, g.W, g.C,
           walk_forward(at.row, g.pad_h, g.stride_h, g.dilation_h, g.R),
           walk_forward(first, g.pad_w, g.stride_w, g.dilation_w, g.S), g.stride_w, filters + threadIdx.x, g.S, chunks);
    Out shift;
    clear(shift);
    if (bias != nullptr) shift = load<WIDTH>(bias + at.channel);
    stored* out = y + (((size_t)at.n * g.P + at.row) * g.Q + first) * g.K + at.channel;
#pragma unroll
    for (int t = 0; t < T; ++t) {
        if (first + t >= g.Q) continue;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sum[t].v[j] += shift.v[j];
            if (relu && sum[t].v[j] < 0) sum[t].v[j] = 0;
        }
        store(out + (size_t)t * g.K, sum[t]);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
conv2d_narrow_backward_data(stored* __restrict__ dx, const stored* __restrict__ dz, const stored* __restrict__ weight,
                            NarrowShape g) {
    DYNAMIC_SHARED(In, filters);
    const Place at(g);
    const int chunks = DEPTHWISE ? 1 : g.group_K / VEC;
    take_filters<true>(filters, weight, g, at.channel, chunks);
    int first = at.column;  // a column less than a stride from the left, ...
    const int ahead = g.by_phases.split(first);
    first += ahead * T * g.stride_w;
    if (at.channel >= g.C || at.row >= g.H || first >= g.W) return;
    const int from = g.by_group_C.quotient(at.channel) * g.group_K;
    Out sum[T];
#pragma unroll
    for (int t = 0; t < T; ++t) clear(sum[t]);
    gather(sum, dz + (size_t)at.n * g.P * g.Q * g.K + from, g.P, g.Q, g.K,
           walk_back(at.row, g.pad_h, g.dilation_h, g.R, g.reach_h, g.by_stride_h, g.by_step_h),
           walk_back(first, g.pad_w, g.dilation_w, g.S, g.reach_w, g.by_stride_w, g.by_step_w), 1, filters + threadIdx.x, g.S,
           chunks);
    stored* out = dx + (((size_t)at.n * g.H + at.row) * g.W + first) * g.C + at.channel;
#pragma unroll
    for (int t = 0; t < T; ++t)
        if (first + t * g.stride_w < g.W) store(out + (size_t)t * g.stride_w * g.C, sum[t]);
}

// Adds up what the block's rows at a time have, in their order; threads with z = 0 get the sums.
__device__ __forceinline__ void sum_rows(In (&sum)[SUMS], In* shared) {
    const int across = blockDim.x * blockDim.y, mine = threadIdx.y * blockDim.x + threadIdx.x;
    if (threadIdx.z > 0)
#pragma unroll
        for (int i = 0; i < SUMS; ++i) shared[((threadIdx.z - 1) * SUMS + i) * across + mine] = sum[i];
    __syncthreads();
    if (threadIdx.z > 0) return;
    for (int z = 1; z < (int)blockDim.z; ++z)
#pragma unroll
        for (int i = 0; i < SUMS; ++i) add(sum[i], shared[((z - 1) * SUMS + i) * across + mine]);
}

// A thread has TAPS elements of a filter row, WIDTH filters (DEPTHWISE) or VEC channels of one. Those with the first part
// also write dz and sum it up.
// partial (slices, channel tiles, SUMS, threads with z = 0), as vectors; tickets (channel tiles).
extern "C" __global__ void __launch_bounds__(256, 1)
conv2d_narrow_backward_weight(stored* __restrict__ dweight, stored* __restrict__ dbias, stored* __restrict__ dz,
                              real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                              const stored* __restrict__ dy, const stored* __restrict__ y, const stored* __restrict__ x,
                              NarrowShape g, int rows_per_slice) {
    DYNAMIC_SHARED(In, shared);
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    int s = threadIdx.y;  // the part: chunk, r, s
    int r = g.by_parts_S.split(s);
    const int chunk = r / g.R;
    r -= chunk * g.R;
    s *= TAPS;
    const bool keeps = threadIdx.y == 0;
    const int from = g.by_group_K.quotient(channel) * g.group_C + chunk * VEC;
    const int first = blockIdx.y * rows_per_slice, last = min(g.N * g.P, first + rows_per_slice);
    In sum[SUMS];
#pragma unroll
    for (int i = 0; i < SUMS; ++i) clear(sum[i]);
    if (channel < g.K) {
        for (int row = first + threadIdx.z; row < last; row += blockDim.z) {
            int p = row;
            const int n = g.by_P.split(p), h = p * g.stride_h - g.pad_h + r * g.dilation_h;
            const bool inside = h >= 0 && h < g.H;
            if (!inside && !keeps) continue;
            const Row image = {x + ((size_t)n * g.H + (inside ? h : 0)) * g.W * g.C + from, inside ? g.W : 0, g.C};
            int w = s * g.dilation_w - g.pad_w;
            In held[TAPS];
            const bool slide = g.dilation_w == g.stride_w;
            if (slide) {
#pragma unroll
                for (int t = 0; t < TAPS - 1; ++t) held[t + 1] = image.read(w + t * g.dilation_w);
            }
            for (int q = 0; q < g.Q; ++q, w += g.stride_w) {
                const size_t at = ((size_t)row * g.Q + q) * g.K + channel;
                Out d = load<WIDTH>(dy + at);
                if (y != nullptr) {
                    const Out u = load<WIDTH>(y + at);
#pragma unroll
                    for (int j = 0; j < WIDTH; ++j) d.v[j] = u.v[j] <= 0 ? real(0) : d.v[j];
                    if (keeps && dz != nullptr) store(dz + at, d);
                }
                if (keeps)
#pragma unroll
                    for (int j = 0; j < WIDTH; ++j) sum[TAPS].v[j] += d.v[j];
                if (slide) {
#pragma unroll
                    for (int t = 0; t < TAPS - 1; ++t) held[t] = held[t + 1];
                    held[TAPS - 1] = image.read(w + (TAPS - 1) * g.dilation_w);
                } else {
#pragma unroll
                    for (int t = 0; t < TAPS; ++t) held[t] = image.read(w + t * g.dilation_w);
                }
#pragma unroll
                for (int t = 0; t < TAPS; ++t)
#pragma unroll
                    for (int j = 0; j < VEC; ++j) sum[t].v[j] += d.v[j % WIDTH] * held[t].v[j];
            }
        }
    }
    sum_rows(sum, shared);
    if (gridDim.y > 1) {
        const int across = blockDim.x * blockDim.y, mine = threadIdx.y * blockDim.x + threadIdx.x;
        const size_t apart = (size_t)gridDim.x * SUMS * across * VEC;  // from slice to slice
        real* left = partial + ((size_t)blockIdx.x * SUMS * across + mine) * VEC;
        if (threadIdx.z == 0)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) store(left + blockIdx.y * apart + (size_t)i * across * VEC, sum[i]);
        if (!last_block(&tickets[blockIdx.x], gridDim.y)) return;
#pragma unroll
        for (int i = 0; i < SUMS; ++i) clear(sum[i]);
        for (int slice = threadIdx.z; slice < (int)gridDim.y; slice += blockDim.z)
#pragma unroll
            for (int i = 0; i < SUMS; ++i) add(sum[i], load<VEC>(left + slice * apart + (size_t)i * across * VEC));
        sum_rows(sum, shared);
    }
    if (threadIdx.z > 0 || channel >= g.K) return;
    if (keeps && dbias != nullptr) {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) dbias[channel + j] = sum[TAPS].v[j];
    }
#pragma unroll
    for (int t = 0; t < TAPS; ++t) {
        if (s + t >= g.S) continue;
        const int tap = r * g.S + s + t;
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            if (DEPTHWISE)
                dweight[(size_t)(channel + j) * g.R * g.S + tap] = sum[t].v[j];
            else
                dweight[((size_t)channel * g.R * g.S + tap) * g.group_C + chunk * VEC + j] = sum[t].v[j];
        }
    }
}
