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
#include "conv2d_pixels.cuh"
#include "gemm_tile.cuh"

// From a position (r, s, c) in the reduction to that BK further on: how r, s, c and the offset in memory change; then, where c
// is beyond the last channel, or s beyond the last of a row of filter elements, how the offset changes further. A whole
// change fits 32 bits (gpu/conv2d.py, refuse_wide); its parts may not, and wrap around.
//
// It is made before the loop. Doubles leave no registers to keep it in: it is made in every step, and BK is hidden from the
// compiler, which would still work out before the loop what follows from it.
enum { KEPT_STEP = WIDE == 1 };
__device__ __forceinline__ int steps_ahead() {
    int steps = BK;
#if IS_DOUBLE(REAL) && !defined(GPUNN_EMULATOR)
    asm volatile("" : "+r"(steps));
#endif
    return steps;
}
struct FilterStep {
    int depth, S, taps, s, c, offset, tap, row;
    // From a channel, filter element and row of those to the next.
    __device__ __forceinline__ FilterStep(const Divisor& by_depth, const Divisor& by_S, unsigned each, unsigned across,
                                          unsigned down)
        : depth(by_depth.value), S(by_S.value), c(steps_ahead()), tap(across - depth * each), row(down - S * across) {
        taps = s = by_depth.split(c);  // 8 at most: BK has 8 vectors, a filter element one or more
        const int r = by_S.split(s);
        offset = r * down + s * across + c * each;
    }
};

// A position (r, s, c) in the reduction and where it lies in memory, stepped forward without dividing.
struct FilterPosition {
    int s, c;
    ptrdiff_t offset, moved;  // moved: by the last seek or advance
    unsigned bit;             // of the filter element among the TAPS from the first of a pass on
    // Returns the row of filter elements.
    __device__ __forceinline__ int seek(int k, const Divisor& by_depth, const Divisor& by_S, int first) {
        c = k;
        s = by_depth.split(c);
        bit = 1u << (s - first) % 32;
        return by_S.split(s);
    }
    __device__ __forceinline__ void move_to(ptrdiff_t to) { moved = to - offset, offset = to; }
    __device__ __forceinline__ void advance(const FilterStep& step) {
        unsigned by = step.offset;
        c += step.c, s += step.s, bit <<= step.taps;
        if (c >= step.depth) c -= step.depth, ++s, by += step.tap, bit <<= 1;
        if (s >= step.S) s -= step.S, by += step.row;
        moved = (int)by;
    }
};

// The reduction goes in passes over TAPS filter elements, nearly always one. A row of A has a bit for each of a pass.

// Forward A: row = output pixel, k = (r, s, c): x under filter element (r, s) of that pixel.
struct Im2colRows {
    struct Row {
        const real* at;  // in the window, which may lie outside of x
        unsigned outside;
    };
    typedef Load Held;
    const real* x;
    const Conv2dShape& g;
    int first;
    FilterStep step;
    FilterPosition at;
    __device__ __forceinline__ Im2colRows(const real* group_x, const Conv2dShape& shape, int first_tap)
        : x(group_x), g(shape), first(first_tap), step(make_step()), at() {}
    __device__ __forceinline__ FilterStep make_step() const {
        return {g.by_group_C, g.by_S, 1, (unsigned)g.dilation_w * g.C, (unsigned)g.dilation_h * g.W * g.C};
    }
    __device__ __forceinline__ Row row(int n) const {
        int q = min(n, g.N * g.P * g.Q - 1);
        int p = g.by_Q.split(q);
        n = g.by_P.split(p);
        const int top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;
        return {x + ((ptrdiff_t)n * g.H * g.W + top * g.W + left) * g.C,
                taps_outside(first / g.S, first % g.S, g.R, g.S, top, left, g.dilation_h, g.dilation_w, g.H, g.W)};
    }
    __device__ __forceinline__ void seek(int k) {
        const int r = at.seek(k, g.by_group_C, g.by_S, first);
        at.move_to((ptrdiff_t)(r * g.dilation_h * g.W + at.s * g.dilation_w) * g.C + at.c);
    }
    __device__ __forceinline__ void advance() { at.advance(KEPT_STEP ? step : make_step()); }
    __device__ __forceinline__ void move(Row& row) const { row.at += at.moved; }
    __device__ __forceinline__ Held read(const Row& row) const {
        return (row.outside & at.bit) == 0 ? load<VEC>(row.at) : zeros();
    }
    __device__ __forceinline__ Load value(const Held& held) const { return held; }
};

// Backward-data A: row = input pixel of a phase, k = (r, s, output channel), counted over the phase's filter
// elements: dz at the output whose window has this pixel under that element.
template <bool RELU>
struct PixelGradientRows {
    struct Row {
        OutputGradient<RELU> at;  // what is reached, which may lie outside of dz
        unsigned outside;
    };
    typedef typename OutputGradient<RELU>::Held Held;
    OutputGradient<RELU> gradient;
    const Conv2dShape& g;
    const Phase& phase;
    int first;
    FilterStep step;
    FilterPosition at;
    __device__ __forceinline__ PixelGradientRows(const OutputGradient<RELU>& d, const Conv2dShape& shape, const Phase& of,
                                                 int first_tap)
        : gradient(d), g(shape), phase(of), first(first_tap), step(make_step()), at() {}
    __device__ __forceinline__ FilterStep make_step() const {
        return {g.by_group_K, phase.by_taps, 1, -(unsigned)g.reach_w * g.K, -(unsigned)g.reach_h * g.Q * g.K};
    }
    __device__ __forceinline__ Row row(int n) const {
        n = min(n, g.N * g.phase_H * g.phase_W - 1);
        const int2 pixel = phase_pixel(g, n);
        const int p = phase.h.output + pixel.x, q = phase.w.output + pixel.y;
        Row row = {gradient, taps_outside(first / phase.w.taps, first % phase.w.taps, phase.h.taps, phase.w.taps, p, q,
                                          -g.reach_h, -g.reach_w, g.P, g.Q)};
        row.at.move(((ptrdiff_t)n * g.P * g.Q + p * g.Q + q) * g.K);
        return row;
    }
    __device__ __forceinline__ void seek(int k) {
        const int r = at.seek(k, g.by_group_K, phase.by_taps, first);
        at.move_to((ptrdiff_t)(-r * g.reach_h * g.Q - at.s * g.reach_w) * g.K + at.c);
    }
    __device__ __forceinline__ void advance() { at.advance(KEPT_STEP ? step : make_step()); }
    __device__ __forceinline__ void move(Row& row) const { row.at.move(at.moved); }
    __device__ __forceinline__ Held read(const Row& row) const {
        Held held = {zeros(), zeros()};
        if ((row.outside & at.bit) == 0) row.at.read(held, 0);
        return held;
    }
    __device__ __forceinline__ Load value(const Held& held) const { return gradient.value(held); }
};

// Backward-data B: column = input channel, k as above: weight[output channel, r, s, column].
struct WeightColumns {
    typedef ::Column Column;
    typedef Load Held;
    const real* weight;  // k and this thread's first column
    const Conv2dShape& g;
    const Phase& phase;
    FilterStep step;
    FilterPosition at;
    __device__ __forceinline__ WeightColumns(const real* group_weight, const Conv2dShape& shape, const Phase& of)
        : weight(group_weight + (of.h.tap * shape.S + of.w.tap) * shape.group_C), g(shape), phase(of),
          step(make_step()), at() {}
    __device__ __forceinline__ FilterStep make_step() const {
        return {g.by_group_K, phase.by_taps, (unsigned)filter(), (unsigned)g.step_w * g.group_C,
                (unsigned)g.step_h * g.S * g.group_C};
    }
    __device__ __forceinline__ Column column(int c, int l) {
        if (l == 0) weight += c;
        return {l, c + l < g.group_C};
    }
    // A filter has fewer than 2^31 elements: refuse_too_many.
    __device__ __forceinline__ int filter() const { return g.R * g.S * g.group_C; }
    __device__ __forceinline__ void seek(int k) {
        const int r = at.seek(k, g.by_group_K, phase.by_taps, 0);
        at.move_to((ptrdiff_t)at.c * filter() + (r * g.step_h * g.S + at.s * g.step_w) * g.group_C);
        weight += at.moved;
    }
    __device__ __forceinline__ void advance() {
        at.advance(KEPT_STEP ? step : make_step());
        weight += at.moved;
    }
    __device__ __forceinline__ void read(Held& held, const Column& column) const {
        if (column.inside) held = load<VEC>(weight + column.offset);
    }
    __device__ __forceinline__ Load value(const Held& held, const Column&) const { return held; }
};

// Backward-weight B: column = (r, s, c), k = output pixel: x under filter element (r, s) of that pixel.
struct Im2colColumns {
    struct Column {
        int h, w;    // from a window's corner to the filter element
        int offset;  // from there to the number
    };
    typedef Load Held;
    const real *x, *corner;  // of the pixel's window; may lie outside of x
    const Conv2dShape& g;
    const PixelSteps& steps;
    PixelPosition now;
    __device__ __forceinline__ Im2colColumns(const real* group_x, const Conv2dShape& shape, const PixelSteps& s)
        : x(group_x), g(shape), steps(s), now() {}
    __device__ __forceinline__ Column column(int c, int l) const {
        c += l;
        if (c >= g.R * g.S * g.group_C) return {-0x7fffffff - 1, 0, 0};  // above every image
        int s = g.by_group_C.split(c);
        const int r = g.by_S.split(s), h = r * g.dilation_h, w = s * g.dilation_w;
        return {h, w, (h * g.W + w) * g.C + c};
    }
    __device__ __forceinline__ void seek(int k) {
        const int image = now.seek(k, g);
        corner = x + ((ptrdiff_t)image * g.H * g.W + now.top * g.W + now.left) * g.C;
    }
    __device__ __forceinline__ void advance() { corner += now.advance(steps, g); }
    __device__ __forceinline__ void read(Held& held, const Column& column) const {
        held = inside(now.top + column.h, now.left + column.w, g.H, g.W) ? load<VEC>(corner + column.offset) : zeros();
    }
    __device__ __forceinline__ Load value(const Held& held, const Column&) const { return held; }
};

// Panels of the forward pass. With the tile of 32 an SM has 12 warps, and they too few registers for rows that lie.
#if TILE == 32
template <int LENGTH, class Source>
using ForwardRows = RowPanel<LENGTH, Source>;
#else
template <int LENGTH, class Source>
using ForwardRows = LyingRows<LENGTH, Source>;
#endif

extern "C" __global__ void __launch_bounds__(THREADS, GRADIENT_BLOCKS)
conv2d_forward(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight,
               const real* __restrict__ bias, Conv2dShape g, int relu) {
    const int group = blockIdx.z, rows = g.N * g.P * g.Q, depth = g.R * g.S * g.group_C;
    const Tile tile = tile_at(blockIdx.x, g.group_K);
    const real* group_weight = weight + (size_t)group * g.group_K * depth;
    typedef ForwardRows<BM, Im2colRows> A;
    typedef ForwardRows<BN, MatrixRows> B;
    Accumulator sums;
    sums.clear();
    for (int tap = 0; tap < g.R * g.S; tap += TAPS) {
        A a(Im2colRows(x + group * g.group_C, g, tap), tile.top);
        B b(MatrixRows(group_weight, g.group_K, depth), tile.left);
        add_product(sums, a, b, tap * g.group_C, min(tap + TAPS, g.R * g.S) * g.group_C);
    }
    sums.finish(panels_of<A, B>());
    sums.write(y, MatrixTarget{(size_t)group * g.group_K, (size_t)g.K, rows}, tile, g.group_K,
               bias == nullptr ? bias : bias + group * g.group_K, relu);
}

// Tile `number` of all phases' tiles of the data gradient. The shape comes by value: its numbers are in registers then,
// which the loop needs.
template <bool RELU>
__device__ PRODUCT void data_gradient(real* __restrict__ dx, OutputGradient<RELU> gradient,
                                      const real* __restrict__ weight, const real* __restrict__ more,
                                      Conv2dShape g, int group, int number) {
    const int tiles = count_tiles(g.N * g.phase_H * g.phase_W, g.group_C);
    const Phase phase(g, number / tiles);
    const Tile tile = tile_at(number % tiles, g.group_C);
    const real* group_weight = weight + (size_t)group * g.group_K * g.R * g.S * g.group_C;
    typedef RowPanel<BM, PixelGradientRows<RELU>> A;
    typedef ColumnPanel<BN, WeightColumns> B;
    Accumulator sums;
    sums.clear();
    for (int tap = 0; tap < phase.h.taps * phase.w.taps; tap += TAPS) {
        A a(PixelGradientRows<RELU>(gradient, g, phase, tap), tile.top);
        B b(WeightColumns(group_weight, g, phase), tile.left);
        add_product(sums, a, b, tap * g.group_K, min(tap + TAPS, phase.h.taps * phase.w.taps) * g.group_K);
    }
    sums.finish(panels_of<A, B>());
    sums.write(dx, PixelTarget{g, phase, (size_t)group * g.group_C}, tile, g.group_C, nullptr, false, more);
}

// One slice of tile `number` of the weight gradient.
template <bool RELU>
__device__ PRODUCT void weight_gradient(real* __restrict__ dweight, real* __restrict__ dbias,
                                        real* __restrict__ dz, real* __restrict__ partial,
                                        unsigned* __restrict__ tickets,
                                        OutputGradient<RELU> gradient, const real* __restrict__ x,
                                        Conv2dShape g, const PixelSteps& steps, int group, int number, Slices slice) {
    const int columns = g.R * g.S * g.group_C;
    const Tile tile = tile_at(number, columns);
    int k_begin, k_end;
    slice.range(g.N * g.P * g.Q, k_begin, k_end);
    const int channel = group * g.group_K;  // the group's first
    const bool first = tile.left == 0, sum_rows = first && dbias != nullptr;  // the first column of tiles does it for all
    const GradientColumns<RELU> dz_columns(gradient, first ? dz : nullptr, g.group_K, g.K);
    ColumnPanel<BM, GradientColumns<RELU>> a(dz_columns, tile.top);
    ColumnPanel<BN, Im2colColumns> b(Im2colColumns(x + group * g.group_C, g, steps), tile.left);
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
template <bool RELU>
__device__ __forceinline__ OutputGradient<RELU> group_gradient(const real* dy, const real* y, const Conv2dShape& g,
                                                               int group) {
    return {dy + group * g.group_K, RELU ? y + group * g.group_K : y};
}

extern "C" __global__ void __launch_bounds__(THREADS, GRADIENT_BLOCKS)
conv2d_backward_data(real* __restrict__ dx, const real* __restrict__ dz, const real* __restrict__ weight,
                     const real* __restrict__ more, Conv2dShape g) {
    data_gradient(dx, group_gradient<false>(dz, nullptr, g, blockIdx.z), weight, more, g, blockIdx.z, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(THREADS, GRADIENT_BLOCKS)
conv2d_backward_weight(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dz,
                       real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                       const real* __restrict__ dy, const real* __restrict__ y, const real* __restrict__ x,
                       Conv2dShape g, PixelSteps steps, int slices) {
    const int group = blockIdx.z / slices;
    const Slices slice = {slices, (int)blockIdx.z % slices};
    if (y == nullptr)  // apart, so that the loop does not ask
        weight_gradient(dweight, dbias, nullptr, partial, tickets, group_gradient<false>(dy, y, g, group), x, g, steps,
                        group, blockIdx.x, slice);
    else
        weight_gradient(dweight, dbias, dz == nullptr ? dz : dz + group * g.group_K, partial, tickets,
                        group_gradient<true>(dy, y, g, group), x, g, steps, group, blockIdx.x, slice);
}

#if TILE != 128  // the tile of products so large that each has a launch of its own
template <bool RELU>
__device__ __forceinline__ void backward(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dx,
                                         real* __restrict__ partial, unsigned* __restrict__ tickets,
                                         const real* __restrict__ dy, const real* __restrict__ y,
                                         const real* __restrict__ x, const real* __restrict__ weight,
                                         const real* __restrict__ more, const Conv2dShape& g, const PixelSteps& steps,
                                         int slices) {
    const int group = blockIdx.z, tiles = count_tiles(g.group_K, g.R * g.S * g.group_C);
    const int number = (int)blockIdx.x - tiles * slices;
    const OutputGradient<RELU> gradient = group_gradient<RELU>(dy, y, g, group);
    if (number < 0)
        weight_gradient(dweight, dbias, nullptr, partial, tickets, gradient, x, g, steps, group, blockIdx.x % tiles,
                        {slices, (int)blockIdx.x / tiles});
    else
        data_gradient(dx, gradient, weight, more, g, group, number);
}

extern "C" __global__ void __launch_bounds__(THREADS, BOTH_BLOCKS)
conv2d_backward(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dx, real* __restrict__ partial,
                INOUT unsigned* __restrict__ tickets, const real* __restrict__ dy, const real* __restrict__ y,
                const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ more,
                Conv2dShape g, PixelSteps steps, int slices) {
    if (y == nullptr)
        backward<false>(dweight, dbias, dx, partial, tickets, dy, y, x, weight, more, g, steps, slices);
    else
        backward<true>(dweight, dbias, dx, partial, tickets, dy, y, x, weight, more, g, steps, slices);
}
#endif
