// adaptive_avg_pool2d.cu: y[n,p,q,c] = the mean of x over rows floor(p H / P) to ceil((p + 1) H / P) and columns
// likewise, and dx[n,h,w,c] = the sum over the windows that cover (h, w) of dy / their number of elements.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, C), of type stored
// Launch: forward and backward one thread per VEC channels of an output or input; forward_large (global pooling)
// one block per output and tile of channels, block = (vectors of channels, rows), at most BLOCK threads;
// backward_global one thread per VEC channels of some pixels of an image.
// Traffic: forward x once (where windows overlap, again from cache), y once; backward dy about once, dx once.
// No atomics: the same bits every time.
// Source: lecture topic L15; global average pooling: Lin, Chen, Yan 2013, arXiv:1312.4400.
#include "pool_mean.cuh"

extern "C" __global__ void adaptive_avg_pool2d_forward(stored* __restrict__ y, const stored* __restrict__ x,
                                                       AdaptiveWindows g, int threads) {
    mean_by_thread(y, x, g, threads);
}

extern "C" __global__ void adaptive_avg_pool2d_forward_large(stored* __restrict__ y, const stored* __restrict__ x,
                                                             AdaptiveWindows g) {
    mean_by_block(y, x, g);
}

extern "C" __global__ void adaptive_avg_pool2d_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                                        AdaptiveWindows g, int threads) {
    mean_backward(dx, dy, g, threads);
}

// Global pooling: P = Q = 1. An image's pixels are cut into parts of `each`.
struct WholeImages {
    int pixels, C, each;
    real count;
    Divisor by_vectors, by_parts;
};

// All pixels of an image get the same, so a thread reads dy once and writes.
extern "C" __global__ void adaptive_avg_pool2d_backward_global(stored* __restrict__ dx, const stored* __restrict__ dy,
                                                               WholeImages g, int threads) {
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= threads) return;
    int part = g.by_vectors.split(c);
    const int n = g.by_parts.split(part);
    Vector<real, VEC> share = load<VEC>(dy + (size_t)n * g.C + c * VEC);
    const real factor = 1 / g.count;
#pragma unroll
    for (int v = 0; v < VEC; ++v) share.v[v] *= factor;
    const int first = part * g.each, last = min(g.pixels, first + g.each);
    stored* to = dx + ((size_t)n * g.pixels + first) * g.C + c * VEC;
    for (int i = first; i < last; ++i, to += g.C) store(to, share);
}
