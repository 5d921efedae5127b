// conv2d.cu: convolution as an implicit matrix product (the im2col matrix exists only panel by panel in
// shared memory), forward and both gradients.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, K)   weight, dweight (K, R, S, C/groups)   bias (K) or null
//   y[n,p,q,k] = act(bias[k] + sum over r,s,c of x[n, p*stride - pad + r*dilation, ..., c] weight[k,r,s,c])
// dz = 0 where y <= 0, else dy, for a y with a ReLU; dy itself for y null. dbias (K): its column sums. Both as gemm_tn.
// more (N, H, W, C) is added to dx; null where nothing is.
// As products, for each group (blockIdx.z):
//   forward         (NPQ x RSC) (RSC x K)    rows: output pixels
//   backward data   (NHW x RSK) (RSK x C)    rows: input pixels, the sum over the outputs they reach. With strides, pixels
//                   stride apart reach through the same filter elements, every stride-th or so: each such phase is a
//                   product of its own, without the zeros
//   backward weight (K x NPQ) (NPQ x RSC)    split over NPQ into slices
// Launch: grid = (row tiles * column tiles [* phases], 1, groups [* slices]), block = THREADS.
//         conv2d_backward, all gradients at once: grid = (weight tiles * slices + data tiles * phases, 1, groups). The
//         first blocks compute the weight gradient, which takes longest; the others mask dy themselves: nobody waits.
// Traffic: forward reads x about once (R*S times from cache), weight once per row of tiles, writes y once. The data
//         gradient reads dy (or dz, or dy and y) as forward reads x; that of the weight reads x so, dy and y once per
//         row of tiles.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759; lecture topic L10.
#include "gemm_tile.cuh"

struct Conv2dShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int group_C, group_K;
    // Of a phase: its most rows and columns of pixels; from one of its filter elements to the next; how many outputs
    // that moves.
    int phase_H, phase_W, step_h, step_w, reach_h, reach_w;
    Divisor by_P, by_Q, by_S, by_group_C, by_group_K, by_phase_H, by_phase_W;
    Divisor by_phase_S, by_short_phase_S;  // a phase's filter elements in a row: as many as any, or one fewer
};

// A position (r, s, c) in the reduction, stepped forward without dividing.
struct FilterPosition {
    int r, s, c, k;
    __device__ __forceinline__ void seek(int to, const Divisor& by_depth, const Divisor& by_S) {
        k = c = to;
        s = by_depth.split(c);
        r = by_S.split(s);
    }
    __device__ __forceinline__ void advance(int depth, int S) {
        k += BK;
        for (c += BK; c >= depth; c -= depth)
            if (++s == S) s = 0, ++r;
    }
};

// Forward A: row = output pixel, k = (r, s, c): x under filter element (r, s) of that pixel.
struct Im2colRows {
    struct Row {
        const real* image;
        int top, left;
    };
    typedef Load Held;
    const real* x;
    const Conv2dShape& g;
    FilterPosition at;
    __device__ __forceinline__ Im2colRows(const real* group_x, const Conv2dShape& shape) : x(group_x), g(shape) {}
    __device__ __forceinline__ Row row(int n) const {
        if (n >= g.N * g.P * g.Q) return {nullptr, 0, 0};
        int q = n;
        n = g.by_Q.split(q);
        int p = n;
        n = g.by_P.split(p);
        return {x + (size_t)n * g.H * g.W * g.C, p * g.stride_h - g.pad_h, q * g.stride_w - g.pad_w};
    }
    __device__ __forceinline__ void seek(int k) { at.seek(k, g.by_group_C, g.by_S); }
    __device__ __forceinline__ void advance() { at.advance(g.group_C, g.S); }
    __device__ __forceinline__ Held read(const Row& row) const {
        const int h = row.top + at.r * g.dilation_h, w = row.left + at.s * g.dilation_w;
        if (row.image == nullptr || at.r >= g.R || h < 0 || h >= g.H || w < 0 || w >= g.W) return zeros();
        return load<VEC>(row.image + (size_t)(h * g.W + w) * g.C + at.c);
    }
    __device__ __forceinline__ Load value(const Held& held) const { return held; }
};

// The input pixels h, h + stride, h + 2 stride, ... of one axis, which meet every step-th filter element from `tap` on.
struct PhaseAxis {
    int first;  // pixel
    int tap, taps;
    int output;  // that the first pixel reaches through the first filter element; may lie outside
    __device__ __forceinline__ PhaseAxis(int h, int pad, int stride, int dilation, int length, int step)
        : first(h), tap(0) {
        while (tap < length && (h + pad - tap * dilation) % stride != 0) ++tap;
        taps = (length - tap + step - 1) / step;
        output = (h + pad - tap * dilation) / stride;
    }
};
struct Phase {
    PhaseAxis h, w;
    Divisor by_taps;  // in a filter row
    __device__ __forceinline__ Phase(const Conv2dShape& g, int number)
        : h(number / min(g.stride_w, g.W), g.pad_h, g.stride_h, g.dilation_h, g.R, g.step_h),
          w(number % min(g.stride_w, g.W), g.pad_w, g.stride_w, g.dilation_w, g.S, g.step_w),
          by_taps(w.taps == (int)g.by_phase_S.value ? g.by_phase_S : g.by_short_phase_S) {
    }
    __device__ __forceinline__ int depth(const Conv2dShape& g) const { return h.taps * w.taps * g.group_K; }
};

// n, a pixel of a phase counted over all images, becomes the image; returns its row and column in the phase.
__device__ __forceinline__ int2 phase_pixel(const Conv2dShape& g, int& n) {
    int j = n;
    n = g.by_phase_W.split(j);
    int i = n;
    n = g.by_phase_H.split(i);
    return make_int2(i, j);
}

// Backward-data A: row = input pixel of a phase, k = (r, s, output channel), counted over the phase's filter
// elements: dz at the output whose window has this pixel under that element.
struct PixelGradientRows {
    struct Row {
        size_t image;
        int p, q;
    };
    typedef OutputGradient::Held Held;
    OutputGradient gradient;
    const Conv2dShape& g;
    const Phase& phase;
    int depth;
    FilterPosition at;
    __device__ __forceinline__ PixelGradientRows(const OutputGradient& d, const Conv2dShape& shape, const Phase& of)
        : gradient(d), g(shape), phase(of), depth(of.depth(shape)) {}
    __device__ __forceinline__ Row row(int n) const {
        if (n >= g.N * g.phase_H * g.phase_W) return {0, -1, -1};  // outside of the outputs, through any filter element
        const int2 pixel = phase_pixel(g, n);
        return {(size_t)n * g.P * g.Q * g.K, phase.h.output + pixel.x, phase.w.output + pixel.y};
    }
    __device__ __forceinline__ void seek(int k) { at.seek(k, g.by_group_K, phase.by_taps); }
    __device__ __forceinline__ void advance() { at.advance(g.group_K, phase.w.taps); }
    __device__ __forceinline__ Held read(const Row& row) const {
        const int p = row.p - at.r * g.reach_h, q = row.q - at.s * g.reach_w;
        if (at.k >= depth || p < 0 || p >= g.P || q < 0 || q >= g.Q) return {zeros(), zeros()};
        return gradient.read(row.image + (size_t)(p * g.Q + q) * g.K + at.c);
    }
    __device__ __forceinline__ Load value(const Held& held) const { return gradient.value(held); }
};

// Backward-data B: column = input channel, k as above: weight[output channel, r, s, column].
struct WeightColumns {
    typedef int Column;
    typedef Load Held;
    const real* weight;
    const Conv2dShape& g;
    const Phase& phase;
    int depth;
    __device__ __forceinline__ WeightColumns(const real* group_weight, const Conv2dShape& shape, const Phase& of)
        : weight(group_weight + (of.h.tap * shape.S + of.w.tap) * shape.group_C), g(shape), phase(of),
          depth(of.depth(shape)) {}
    __device__ __forceinline__ Column column(int c) const { return c; }
    __device__ __forceinline__ Held read(const Column& c, int k) const {
        if (c >= g.group_C || k >= depth) return zeros();
        int s = g.by_group_K.split(k);
        const int r = phase.by_taps.split(s);
        return load<VEC>(weight + ((size_t)(k * g.R + r * g.step_h) * g.S + s * g.step_w) * g.group_C + c);
    }
    __device__ __forceinline__ Load value(const Held& held, const Column&, int) const { return held; }
};

// Where the data gradient goes: rows are the phase's pixels.
struct PixelTarget {
    const Conv2dShape& g;
    const Phase& phase;
    size_t start;
    __device__ __forceinline__ bool find(int n, size_t& at) const {
        if (n >= g.N * g.phase_H * g.phase_W) return false;
        const int2 pixel = phase_pixel(g, n);
        const int h = phase.h.first + pixel.x * g.stride_h, w = phase.w.first + pixel.y * g.stride_w;
        at = start + (((size_t)n * g.H + h) * g.W + w) * g.C;
        return h < g.H && w < g.W;
    }
};

// Backward-weight B: column = (r, s, c), k = output pixel: x under filter element (r, s) of that pixel.
struct Im2colColumns {
    struct Column {
        int h, w, c;  // where the filter element lies relative to the window's corner; c < 0: no such column
    };
    typedef Load Held;
    const real* x;
    const Conv2dShape& g;
    int k_end;
    __device__ __forceinline__ Im2colColumns(const real* group_x, const Conv2dShape& shape, int end)
        : x(group_x), g(shape), k_end(end) {}
    __device__ __forceinline__ Column column(int c) const {
        if (c >= g.R * g.S * g.group_C) return {0, 0, -1};
        int s = g.by_group_C.split(c);
        const int r = g.by_S.split(s);
        return {r * g.dilation_h - g.pad_h, s * g.dilation_w - g.pad_w, c};
    }
    __device__ __forceinline__ Held read(const Column& column, int n) const {
        if (column.c < 0 || n >= k_end) return zeros();
        int q = n;
        n = g.by_Q.split(q);
        int p = n;
        n = g.by_P.split(p);
        const int h = p * g.stride_h + column.h, w = q * g.stride_w + column.w;
        if (h < 0 || h >= g.H || w < 0 || w >= g.W) return zeros();
        return load<VEC>(x + ((size_t)(n * g.H + h) * g.W + w) * g.C + column.c);
    }
    __device__ __forceinline__ Load value(const Held& held, const Column&, int) const { return held; }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_forward(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight,
               const real* __restrict__ bias, Conv2dShape g, int relu) {
    const int group = blockIdx.z, rows = g.N * g.P * g.Q, depth = g.R * g.S * g.group_C;
    const Tile tile = tile_at(blockIdx.x, g.group_K);
    const real* group_weight = weight + (size_t)group * g.group_K * depth;
    RowPanel<BM, Im2colRows> a(Im2colRows(x + group * g.group_C, g), tile.top, 0);
    RowPanel<BN, MatrixRows> b(MatrixRows(group_weight, g.group_K, depth, depth), tile.left, 0);
    Accumulator sums;
    multiply(sums, a, b, 0, depth);
    sums.write(y, MatrixTarget{(size_t)group * g.group_K, (size_t)g.K, rows}, tile, g.group_K,
               bias == nullptr ? bias : bias + group * g.group_K, relu);
}

// Tile `number` of all phases' tiles of the data gradient.
__device__ __forceinline__ void data_gradient(real* __restrict__ dx, const OutputGradient& gradient,
                                              const real* __restrict__ weight, const real* __restrict__ more,
                                              const Conv2dShape& g, int group, int number) {
    const int tiles = count_tiles(g.N * g.phase_H * g.phase_W, g.group_C);
    const Phase phase(g, number / tiles);
    const Tile tile = tile_at(number % tiles, g.group_C);
    const real* group_weight = weight + (size_t)group * g.group_K * g.R * g.S * g.group_C;
    RowPanel<BM, PixelGradientRows> a(PixelGradientRows(gradient, g, phase), tile.top, 0);
    ColumnPanel<BN, WeightColumns> b(WeightColumns(group_weight, g, phase), tile.left, 0);
    Accumulator sums;
    multiply(sums, a, b, 0, phase.depth(g));
    sums.write(dx, PixelTarget{g, phase, (size_t)group * g.group_C}, tile, g.group_C, nullptr, false, more);
}

// One slice of tile `number` of the weight gradient.
__device__ __forceinline__ void weight_gradient(real* __restrict__ dweight, real* __restrict__ dbias,
                                                real* __restrict__ dz, real* __restrict__ partial,
                                                unsigned* __restrict__ tickets, const OutputGradient& gradient,
                                                const real* __restrict__ x, const Conv2dShape& g, int group, int number,
                                                const Slices& slice) {
    const int columns = g.R * g.S * g.group_C;
    const Tile tile = tile_at(number, columns);
    int k_begin, k_end;
    slice.range(g.N * g.P * g.Q, k_begin, k_end);
    const int channel = group * g.group_K;  // the group's first
    const bool first = tile.left == 0, sum_rows = first && dbias != nullptr;  // the first column of tiles does it for all
    const GradientColumns dz_columns(gradient, first ? dz : nullptr, g.group_K, g.K, k_end);
    ColumnPanel<BM, GradientColumns> a(dz_columns, tile.top, k_begin);
    ColumnPanel<BN, Im2colColumns> b(Im2colColumns(x + group * g.group_C, g, k_end), tile.left, k_begin);
    Accumulator sums;
    multiply(sums, a, b, k_begin, k_end, sum_rows);
    if (!sums.combine(partial, tickets, slice, group * count_tiles(g.group_K, columns) + number, g.group_K - tile.top,
                      columns - tile.left, sum_rows))
        return;
    sums.write(dweight, MatrixTarget{(size_t)channel * columns, (size_t)columns, g.group_K}, tile, columns, nullptr,
               false);
    if (sum_rows) sums.write_row_sums(dbias + channel, tile.top, g.group_K);
}

// dy and y from a group's first channel on.
__device__ __forceinline__ OutputGradient group_gradient(const real* dy, const real* y, const Conv2dShape& g,
                                                         int group) {
    return {dy + group * g.group_K, y == nullptr ? y : y + group * g.group_K};
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_backward_data(real* __restrict__ dx, const real* __restrict__ dz, const real* __restrict__ weight,
                     const real* __restrict__ more, Conv2dShape g) {
    data_gradient(dx, group_gradient(dz, nullptr, g, blockIdx.z), weight, more, g, blockIdx.z, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_backward_weight(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dz,
                       real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                       const real* __restrict__ dy, const real* __restrict__ y, const real* __restrict__ x,
                       Conv2dShape g, int slices) {
    const int group = blockIdx.z / slices;
    weight_gradient(dweight, dbias, dz == nullptr ? dz : dz + group * g.group_K, partial, tickets,
                    group_gradient(dy, y, g, group), x, g, group, blockIdx.x, {slices, (int)blockIdx.z % slices});
}

#if TILE != 128  // the tile of products so large that each has a launch of its own
extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_backward(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dx, real* __restrict__ partial,
                INOUT unsigned* __restrict__ tickets, const real* __restrict__ dy, const real* __restrict__ y,
                const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ more,
                Conv2dShape g, int slices) {
    const int group = blockIdx.z, tiles = count_tiles(g.group_K, g.R * g.S * g.group_C);
    const int number = (int)blockIdx.x - tiles * slices;
    const OutputGradient gradient = group_gradient(dy, y, g, group);
    if (number < 0)
        weight_gradient(dweight, dbias, nullptr, partial, tickets, gradient, x, g, group, blockIdx.x % tiles,
                        {slices, (int)blockIdx.x / tiles});
    else
        data_gradient(dx, gradient, weight, more, g, group, number);
}
#endif
