// conv2d_shape.cuh: the sizes of a convolution, and the phases of its data gradient.
#ifndef GPUNN_CONV2D_SHAPE_CUH
#define GPUNN_CONV2D_SHAPE_CUH
#include "common.cuh"

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

__device__ __forceinline__ bool inside(int h, int w, int H, int W) {
    return (unsigned)h < (unsigned)H && (unsigned)w < (unsigned)W;
}

// Of filter elements a bit for each that lies outside of H x W, so that a loop has nothing to compare: of at most TAPS, row by
// row from (r, s) on; element (r, s) lies at (top + r * down, left + s * across).
enum { TAPS = 32 };
__device__ __forceinline__ unsigned taps_outside(int r, int s, int R, int S, int top, int left, int down, int across, int H,
                                                 int W) {
    unsigned outside = 0;
#pragma unroll 1
    for (int tap = 0; tap < TAPS && r < R; ++tap) {
        if (!inside(top + r * down, left + s * across, H, W)) outside |= 1u << tap;
        if (++s == S) s = 0, ++r;
    }
    return outside;
}

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
};

// n, a pixel of a phase counted over all images, becomes the image; returns its row and column in the phase.
__device__ __forceinline__ int2 phase_pixel(const Conv2dShape& g, int& n) {
    int j = n;
    n = g.by_phase_W.split(j);
    int i = n;
    n = g.by_phase_H.split(i);
    return make_int2(i, j);
}

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

#endif  // GPUNN_CONV2D_SHAPE_CUH
