// elu.cu: y = x where x > 0, else alpha (exp(x) - 1);  dx = dy (y + alpha) where y <= 0, else dy, also where y is NaN.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, y, dx once.
// Source: Clevert, Unterthiner, Hochreiter 2016, arXiv:1511.07289.
#include "elementwise.cuh"

extern "C" __global__ void elu_forward(stored* __restrict__ y, const stored* __restrict__ x, real alpha, long long n) {
    map(y, x, n, [alpha](real u) { return u > 0 ? u : alpha * expm1(u); });
}

extern "C" __global__ void elu_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                        const stored* __restrict__ y, real alpha, long long n) {
    map(dx, dy, y, n, [alpha](real d, real u) { return u <= 0 ? d * (u + alpha) : d; });
}
