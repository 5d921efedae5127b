// adaptive_avg_pool2d.cu: y[n,p,q,c] = the mean of x over rows floor(p H / P) to ceil((p + 1) H / P) and columns
// likewise, and dx[n,h,w,c] = the sum over the windows that cover (h, w) of dy / their number of elements.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, C)
// Launch: forward and backward one thread per VEC channels of an output or input; forward_large (global pooling)
// one block per output and tile of channels, block = (vectors of channels, rows), at most BLOCK threads.
// Traffic: forward x once (where windows overlap, again from cache), y once; backward dy about once, dx once.
// No atomics: the same bits every time.
// Source: lecture topic L15; global average pooling: Lin, Chen, Yan 2013, arXiv:1312.4400.
#include "pool_mean.cuh"

extern "C" __global__ void adaptive_avg_pool2d_forward(real* __restrict__ y, const real* __restrict__ x,
                                                       AdaptiveWindows g, int threads) {
    mean_by_thread(y, x, g, threads);
}

extern "C" __global__ void adaptive_avg_pool2d_forward_large(real* __restrict__ y, const real* __restrict__ x,
                                                             AdaptiveWindows g) {
    mean_by_block(y, x, g);
}

extern "C" __global__ void adaptive_avg_pool2d_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                                        AdaptiveWindows g, int threads) {
    mean_backward(dx, dy, g, threads);
}
