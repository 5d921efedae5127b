// conv2d_copies.cuh: where the asynchronous copies of a convolution's products find their vectors: Sources as half_tile.cuh
// describes them, of `number`s, whatever those are, EACH of them a vector. conv2d.cu says which product has which rows,
// columns and reduction. One group of channels; vectors divide them, so that each lies in one filter element.
//
// Offsets count numbers, in 32 bits, also those of windows that begin outside of their array. A filter has TAPS elements at
// most. The loop divides nothing: positions are stepped forward.
#ifndef GPUNN_CONV2D_COPIES_CUH
#define GPUNN_CONV2D_COPIES_CUH
#include "conv2d_pixels.cuh"

// A filter element and a channel in the reduction, and where that lies in memory.
struct TapPosition {
    int s, c, offset;
    unsigned bit;  // of the filter element
    // Returns the row of filter elements.
    __device__ __forceinline__ int seek(int k, const Divisor& by_channels, const Divisor& by_S) {
        c = k;
        s = by_channels.split(c);
        bit = 1u << s % TAPS;
        return by_S.split(s);
    }
    // By a step; from the end of a filter element to the next; at the end of a row of those.
    __device__ __forceinline__ void advance(int by, int each, int channels, int S, int tap, int row) {
        offset += by * each;
        for (c += by; c >= channels; c -= channels) {
            offset += tap;
            bit <<= 1;
            if (++s == S) s = 0, offset += row;
        }
    }
};

// Forward A: row = output pixel, k = (r, s, c): x under filter element (r, s) of that pixel.
struct Im2colRows {
    struct Row {
        int offset;  // of the window's corner
        unsigned outside;
    };
    const number* x;
    const Conv2dShape& g;
    TapPosition now;
    __device__ __forceinline__ Im2colRows(const number* of, const Conv2dShape& shape) : x(of), g(shape), now() {}
    __device__ __forceinline__ Row row(int n) const {
        int q = min(n, g.N * g.P * g.Q - 1);
        int p = g.by_Q.split(q);
        n = g.by_P.split(p);
        const int top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;
        return {(n * g.H * g.W + top * g.W + left) * g.C,
                taps_outside(0, 0, g.R, g.S, top, left, g.dilation_h, g.dilation_w, g.H, g.W)};
    }
    __device__ __forceinline__ void seek(int k) {
        const int r = now.seek(k, g.by_group_C, g.by_S);
        now.offset = (r * g.dilation_h * g.W + now.s * g.dilation_w) * g.C + now.c;
    }
    __device__ __forceinline__ void advance(int by) {
        now.advance(by, 1, g.C, g.S, g.dilation_w * g.C - g.C, (g.dilation_h * g.W - g.S * g.dilation_w) * g.C);
    }
    __device__ __forceinline__ const number* at(const Row& row, bool& inside) const {
        inside = inside && (row.outside & now.bit) == 0;
        return x + (row.offset + now.offset);
    }
};

// Backward-data A: row = input pixel of a phase, k = (r, s, output channel), counted over the phase's filter elements: dz at
// the output whose window has this pixel under that element.
struct PixelGradientRows {
    struct Row {
        int offset;  // of what is reached through the first element, which may lie outside of dz
        unsigned outside;
    };
    const number* dz;
    const Conv2dShape& g;
    const Phase& phase;
    TapPosition now;
    __device__ __forceinline__ PixelGradientRows(const number* of, const Conv2dShape& shape, const Phase& f)
        : dz(of), g(shape), phase(f), now() {}
    __device__ __forceinline__ Row row(int n) const {
        n = min(n, g.N * g.phase_H * g.phase_W - 1);
        const int2 pixel = phase_pixel(g, n);
        const int p = phase.h.output + pixel.x, q = phase.w.output + pixel.y;
        return {(n * g.P * g.Q + p * g.Q + q) * g.K,
                taps_outside(0, 0, phase.h.taps, phase.w.taps, p, q, -g.reach_h, -g.reach_w, g.P, g.Q)};
    }
    __device__ __forceinline__ void seek(int k) {
        const int r = now.seek(k, g.by_group_K, phase.by_taps);
        now.offset = (-r * g.reach_h * g.Q - now.s * g.reach_w) * g.K + now.c;
    }
    __device__ __forceinline__ void advance(int by) {
        now.advance(by, 1, g.K, phase.w.taps, -g.reach_w * g.K - g.K, (phase.w.taps * g.reach_w - g.reach_h * g.Q) * g.K);
    }
    __device__ __forceinline__ const number* at(const Row& row, bool& inside) const {
        inside = inside && (row.outside & now.bit) == 0;
        return dz + (row.offset + now.offset);
    }
};

// Backward-data B: column = input channel, k as above: weight[output channel, r, s, column].
struct WeightColumns {
    typedef int Column;
    const number* weight;  // from the phase's first filter element on
    const Conv2dShape& g;
    const Phase& phase;
    TapPosition now;
    __device__ __forceinline__ WeightColumns(const number* of, const Conv2dShape& shape, const Phase& f)
        : weight(of + (f.h.tap * shape.S + f.w.tap) * shape.C), g(shape), phase(f), now() {}
    __device__ __forceinline__ Column column(int c) const { return min(c, g.C - EACH); }
    __device__ __forceinline__ int filter() const { return g.R * g.S * g.C; }
    __device__ __forceinline__ void seek(int k) {
        const int r = now.seek(k, g.by_group_K, phase.by_taps);
        now.offset = now.c * filter() + (r * g.step_h * g.S + now.s * g.step_w) * g.C;
    }
    __device__ __forceinline__ void advance(int by) {
        now.advance(by, filter(), g.K, phase.w.taps, g.step_w * g.C - g.K * filter(),
                    (g.step_h * g.S - phase.w.taps * g.step_w) * g.C);
    }
    __device__ __forceinline__ const number* at(const Column& column, bool&) const { return weight + (now.offset + column); }
};

// Backward-weight B: column = (r, s, c), k = output pixel: x under filter element (r, s) of that pixel.
struct Im2colColumns {
    struct Column {
        int h, w, offset;  // from a window's corner to the filter element, and to the vector
    };
    const number* x;
    const Conv2dShape& g;
    const PixelSteps& steps;
    PixelPosition now;
    int n, offset;
    __device__ __forceinline__ Im2colColumns(const number* of, const Conv2dShape& shape, const PixelSteps& s)
        : x(of), g(shape), steps(s), now(), n(0), offset(0) {}
    __device__ __forceinline__ Column column(int c) const {
        c = min(c, g.R * g.S * g.C - EACH);
        int s = g.by_group_C.split(c);
        const int r = g.by_S.split(s), h = r * g.dilation_h, w = s * g.dilation_w;
        return {h, w, (h * g.W + w) * g.C + c};
    }
    __device__ __forceinline__ void seek(int k) {
        n = k;
        const int image = now.seek(k, g);
        offset = (image * g.H * g.W + now.top * g.W + now.left) * g.C;
    }
    __device__ __forceinline__ void advance(int by) {
        if (by != BK) return seek(n + by);  // the first step; n is not needed any more
        offset += now.advance(steps, g);
    }
    __device__ __forceinline__ const number* at(const Column& column, bool& inside) const {
        inside = inside && ::inside(now.top + column.h, now.left + column.w, g.H, g.W);
        return x + (offset + column.offset);
    }
};

#endif  // GPUNN_CONV2D_COPIES_CUH
