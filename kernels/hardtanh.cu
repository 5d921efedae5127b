// hardtanh.cu: y = min(max(x, low), high);  dx = 0 where y is one of the limits, else dy.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, y, dx once.
// Source: Collobert 2004; with 0 and 6 Krizhevsky 2010.
#include "elementwise.cuh"

extern "C" __global__ void hardtanh_forward(stored* __restrict__ y, const stored* __restrict__ x, real low, real high,
                                            long long n) {
    // NaN stays NaN: it is neither below nor above.
    map(y, x, n, [low, high](real u) { return u < low ? low : u > high ? high : u; });
}

extern "C" __global__ void hardtanh_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                             const stored* __restrict__ y, real low, real high, long long n) {
    map(dx, dy, y, n, [low, high](real d, real u) { return u <= low || u >= high ? real(0) : d; });
}
