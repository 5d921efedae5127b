// augment.cu: changes of training images.
//   resample: y[n, p, q] = x[n, rows[n, p], columns[n, q]], `fill` where that lies outside of the image
//   erase:    y = x but for a rectangle of each image, which becomes `fill`
//   jitter:   pixels brighter, with more contrast, with more colour (the formulas are in ops/augment.py)
//   x (N, H, W, C)   y (N, P, Q, C), or as x   rows (N, P), columns (N, Q), top, left (N) int64
//   brightness, contrast, saturation (N)   mean, std (C)
// Launch: resample, erase: one thread per VEC channels of a pixel of y, 256 a block. jitter: one block of up to 1024
// threads, whole warps, for each image.
// Traffic: x and y once; jitter x twice, the second time out of the L2 cache.
// Source: DeVries and Taylor 2017, arXiv:1708.04552 (erase); lecture topic T6.
#include "common.cuh"

struct Images {
    int H, W, C;
    Divisor by_channels, by_width, by_height;  // of y, channels in vectors
};

extern "C" __global__ void resample(real* __restrict__ y, const real* __restrict__ x,
                                    const long long* __restrict__ rows, const long long* __restrict__ columns,
                                    Images g, real fill, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int c = (int)number;
    int q = g.by_channels.split(c);
    int p = g.by_width.split(q);
    const int n = g.by_height.split(p);
    const long long h = rows[(size_t)n * g.by_height.value + p], w = columns[(size_t)n * g.by_width.value + q];
    Vector<real, VEC> pixel;
    if (h >= 0 && h < g.H && w >= 0 && w < g.W) {
        pixel = load<VEC>(x + (((size_t)n * g.H + h) * g.W + w) * g.C + c * VEC);
    } else {
#pragma unroll
        for (int v = 0; v < VEC; ++v) pixel.v[v] = fill;
    }
    store(y + (size_t)number * VEC, pixel);
}

extern "C" __global__ void erase(real* __restrict__ y, const real* __restrict__ x, const long long* __restrict__ top,
                                 const long long* __restrict__ left, Images g, int height, int width, real fill,
                                 int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int c = (int)number;
    int w = g.by_channels.split(c);
    int h = g.by_width.split(w);
    const int n = g.by_height.split(h);
    const long long down = h - top[n], across = w - left[n];
    Vector<real, VEC> pixel;
    if (down >= 0 && down < height && across >= 0 && across < width) {
#pragma unroll
        for (int v = 0; v < VEC; ++v) pixel.v[v] = fill;
    } else {
        pixel = load<VEC>(x + (size_t)number * VEC);
    }
    store(y + (size_t)number * VEC, pixel);
}

// Within 0 and 1; NaN stays NaN.
__device__ __forceinline__ real clipped(real p) {
    return p < 0 ? real(0) : p > 1 ? real(1) : p;
}

// ITU-R BT.601, of three channels; one channel is grey itself.
__device__ __forceinline__ real grey(const real* p, bool colours) {
    return colours ? (real(0.299) * p[0] + real(0.587) * p[1]) + real(0.114) * p[2] : p[0];
}

// The channels of a pixel made brighter.
__device__ __forceinline__ void bright(real* p, const real* x, const real* mean, const real* std, bool colours,
                                       real brightness) {
    p[0] = clipped((x[0] * std[0] + mean[0]) * brightness);
    if (colours) {
        p[1] = clipped((x[1] * std[1] + mean[1]) * brightness);
        p[2] = clipped((x[2] * std[2] + mean[2]) * brightness);
    }
}

extern "C" __global__ void jitter(real* __restrict__ y, const real* __restrict__ x,
                                  const real* __restrict__ brightness, const real* __restrict__ contrast,
                                  const real* __restrict__ saturation, const real* __restrict__ mean,
                                  const real* __restrict__ std, int pixels, int C) {
    const size_t image = (size_t)blockIdx.x * pixels * C;
    const real b = brightness[blockIdx.x], k = contrast[blockIdx.x], s = saturation[blockIdx.x];
    const bool colours = C == 3;
    real sum = 0;
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        real p[3];
        bright(p, x + image + (size_t)i * C, mean, std, colours, b);
        sum += grey(p, colours);
    }
    const real g = block_sum<0>(sum) / pixels;
    for (int i = threadIdx.x; i < pixels; i += blockDim.x) {
        const size_t at = image + (size_t)i * C;
        real p[3];
        bright(p, x + at, mean, std, colours, b);
#pragma unroll
        for (int c = 0; c < 3; ++c)
            if (c < C) p[c] = clipped(g + (p[c] - g) * k);
        const real own = grey(p, colours);
#pragma unroll
        for (int c = 0; c < 3; ++c)
            if (c < C) y[at + c] = (clipped(own + (p[c] - own) * s) - mean[c]) / std[c];
    }
}
