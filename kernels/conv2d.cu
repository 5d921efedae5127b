// conv2d.cu: convolution as an implicit matrix product (the im2col matrix exists only panel by panel in
// shared memory), forward and both gradients.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, K)   weight, dweight (K, R, S, C/groups)   bias (K) or null
//   y[n,p,q,k] = act(bias[k] + sum over r,s,c of x[n, p*stride - pad + r*dilation, ..., c] weight[k,r,s,c])
// As products, for each group (blockIdx.z):
//   forward         (NPQ x RSC) (RSC x K)    rows: output pixels
//   backward data   (NHW x RSK) (RSK x C)    rows: input pixels, the sum over the outputs they reach
//   backward weight (K x NPQ) (NPQ x RSC)    split over NPQ into slices, added in order by combine.cu
// Launch: grid = (row tiles * column tiles, 1, groups [* slices]), block = THREADS.
// Traffic: forward reads x about once (R*S times from cache), weight once per row of tiles, writes y once.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759; lecture topic L10.
#include "gemm_tile.cuh"

struct Conv2dShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int group_C, group_K;
    Divisor by_H, by_W, by_P, by_Q, by_S, by_group_C, by_group_K, by_stride_h, by_stride_w;
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
    __device__ __forceinline__ Load read(const Row& row) const {
        const int h = row.top + at.r * g.dilation_h, w = row.left + at.s * g.dilation_w;
        if (row.image == nullptr || at.r >= g.R || h < 0 || h >= g.H || w < 0 || w >= g.W) return zeros();
        return load<VEC>(row.image + (size_t)(h * g.W + w) * g.C + at.c);
    }
};

// Backward-data A: row = input pixel, k = (r, s, output channel): dy at the output whose window has
// this pixel under filter element (r, s), if the stride allows one.
struct OutputGradientRows {
    struct Row {
        const real* image;
        int h, w;
    };
    const real* dy;
    const Conv2dShape& g;
    FilterPosition at;
    __device__ __forceinline__ OutputGradientRows(const real* group_dy, const Conv2dShape& shape)
        : dy(group_dy), g(shape) {}
    __device__ __forceinline__ Row row(int n) const {
        if (n >= g.N * g.H * g.W) return {nullptr, 0, 0};
        int w = n;
        n = g.by_W.split(w);
        int h = n;
        n = g.by_H.split(h);
        return {dy + (size_t)n * g.P * g.Q * g.K, h + g.pad_h, w + g.pad_w};
    }
    __device__ __forceinline__ void seek(int k) { at.seek(k, g.by_group_K, g.by_S); }
    __device__ __forceinline__ void advance() { at.advance(g.group_K, g.S); }
    __device__ __forceinline__ Load read(const Row& row) const {
        int above = row.h - at.r * g.dilation_h, before = row.w - at.s * g.dilation_w;
        if (row.image == nullptr || at.r >= g.R || above < 0 || before < 0) return zeros();
        const int p = g.by_stride_h.split(above), q = g.by_stride_w.split(before);  // leave the remainders
        if (above != 0 || before != 0 || p >= g.P || q >= g.Q) return zeros();
        return load<VEC>(row.image + (size_t)(p * g.Q + q) * g.K + at.c);
    }
};

// Backward-data B: column = input channel, k = (r, s, output channel): weight[output channel, r, s, column].
struct WeightColumns {
    typedef int Column;
    const real* weight;
    const Conv2dShape& g;
    __device__ __forceinline__ WeightColumns(const real* group_weight, const Conv2dShape& shape)
        : weight(group_weight), g(shape) {}
    __device__ __forceinline__ Column column(int c) const { return c; }
    __device__ __forceinline__ Load read(const Column& c, int k) const {
        if (c >= g.group_C || k >= g.R * g.S * g.group_K) return zeros();
        const int rs = g.by_group_K.split(k);
        return load<VEC>(weight + ((size_t)k * g.R * g.S + rs) * g.group_C + c);
    }
};

// Backward-weight B: column = (r, s, c), k = output pixel: x under filter element (r, s) of that pixel.
struct Im2colColumns {
    struct Column {
        int h, w, c;  // where the filter element lies relative to the window's corner; c < 0: no such column
    };
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
    __device__ __forceinline__ Load read(const Column& column, int n) const {
        if (column.c < 0 || n >= k_end) return zeros();
        int q = n;
        n = g.by_Q.split(q);
        int p = n;
        n = g.by_P.split(p);
        const int h = p * g.stride_h + column.h, w = q * g.stride_w + column.w;
        if (h < 0 || h >= g.H || w < 0 || w >= g.W) return zeros();
        return load<VEC>(x + ((size_t)(n * g.H + h) * g.W + w) * g.C + column.c);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_forward(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight,
               const real* __restrict__ bias, Conv2dShape g, int relu) {
    const int group = blockIdx.z, rows = g.N * g.P * g.Q, depth = g.R * g.S * g.group_C;
    const Tile at = my_tile(g.group_K);
    const real* group_weight = weight + (size_t)group * g.group_K * depth;
    RowPanel<BM, Im2colRows> a(Im2colRows(x + group * g.group_C, g), at.top, 0);
    RowPanel<BN, MatrixRows> b(MatrixRows(group_weight, g.group_K, depth, depth), at.left, 0);
    Accumulator sums;
    multiply(sums, a, b, 0, depth);
    sums.write(y, group * g.group_K, g.K, at.top, at.left, rows, g.group_K,
               bias == nullptr ? bias : bias + group * g.group_K, relu);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_backward_data(real* __restrict__ dx, const real* __restrict__ dy, const real* __restrict__ weight,
                     Conv2dShape g) {
    const int group = blockIdx.z, rows = g.N * g.H * g.W, depth = g.R * g.S * g.group_K;
    const Tile at = my_tile(g.group_C);
    const real* group_weight = weight + (size_t)group * g.group_K * g.R * g.S * g.group_C;
    RowPanel<BM, OutputGradientRows> a(OutputGradientRows(dy + group * g.group_K, g), at.top, 0);
    ColumnPanel<BN, WeightColumns> b(WeightColumns(group_weight, g), at.left, 0);
    Accumulator sums;
    multiply(sums, a, b, 0, depth);
    sums.write(dx, group * g.group_C, g.C, at.top, at.left, rows, g.group_C, nullptr, false);
}

// partial (slices, K, R, S, C/groups); with one slice it is dweight itself.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv2d_backward_weight(real* __restrict__ partial, const real* __restrict__ dy, const real* __restrict__ x,
                       Conv2dShape g, int slices) {
    const int group = blockIdx.z / slices, slice = blockIdx.z % slices;
    const int columns = g.R * g.S * g.group_C;
    const Tile at = my_tile(columns);
    int k_begin, k_end;
    slice_of(g.N * g.P * g.Q, slices, slice, k_begin, k_end);
    ColumnPanel<BM, MatrixColumns> a(MatrixColumns(dy + group * g.group_K, g.group_K, g.K, k_end), at.top, k_begin);
    ColumnPanel<BN, Im2colColumns> b(Im2colColumns(x + group * g.group_C, g, k_end), at.left, k_begin);
    Accumulator sums;
    multiply(sums, a, b, k_begin, k_end);
    sums.write(partial, ((size_t)slice * g.K + group * g.group_K) * columns, columns, at.top, at.left, g.group_K, columns,
               nullptr, false);
}
