// conv2d_pixels.cuh: from one output pixel to another of a convolution, without dividing.
#ifndef GPUNN_CONV2D_PIXELS_CUH
#define GPUNN_CONV2D_PIXELS_CUH
#include "conv2d_shape.cuh"

// What changes from an output pixel to that BK further on, counted over all images: its window's row and column, and the
// offset of its corner; then, where it is beyond the last column, by how much less, and the offset by how much more; the same
// of rows.
struct PixelSteps {
    int w, h, offset, w_last, w_turn, w_offset, h_last, h_turn, h_offset;
};

// The first row and column of an output pixel's window; they may lie outside of the image.
struct PixelPosition {
    int top, left;
    // Returns the image.
    __device__ __forceinline__ int seek(int n, const Conv2dShape& g) {
        int q = n, p = g.by_Q.split(q);
        const int image = g.by_P.split(p);
        top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;
        return image;
    }
    // Returns by how much the corner moves. Sums wrap around until they are complete.
    __device__ __forceinline__ int advance(const PixelSteps& steps, const Conv2dShape& g) {
        unsigned moved = steps.offset;
        left += steps.w, top += steps.h;
        if (left > steps.w_last) left -= steps.w_turn, top += g.stride_h, moved += steps.w_offset;
        if (top > steps.h_last) top -= steps.h_turn, moved += steps.h_offset;
        return moved;
    }
};

#endif  // GPUNN_CONV2D_PIXELS_CUH
