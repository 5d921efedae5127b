// leaky_relu.cu: y = x where x > 0, else slope x;  dx = dy where signs > 0, else slope dy.
//   all arrays: n elements, contiguous, in the same order; signs is x or y, whichever was kept
// Launch: one thread per VEC elements. Traffic: x, y once; dy, signs, dx once.
// Source: Maas, Hannun, Ng 2013.
#include "elementwise.cuh"

extern "C" __global__ void leaky_relu_forward(stored* __restrict__ y, const stored* __restrict__ x, real slope,
                                              long long n) {
    map(y, x, n, [slope](real u) { return u > 0 ? u : slope * u; });
}

extern "C" __global__ void leaky_relu_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                               const stored* __restrict__ signs, real slope, long long n) {
    map(dx, dy, signs, n, [slope](real d, real u) { return u > 0 ? d : slope * d; });
}
