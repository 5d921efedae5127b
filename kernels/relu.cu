// relu.cu: y = max(x, 0);  dx = 0 where y <= 0, else dy, also where y is NaN.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, y, dx once.
// Source: Nair and Hinton 2010.
#include "elementwise.cuh"

extern "C" __global__ void relu_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    // NaN stays NaN, as in PyTorch: NaN < 0 is false.
    map(y, x, n, [](real u) { return u < 0 ? real(0) : u; });
}

extern "C" __global__ void relu_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                         const stored* __restrict__ y, long long n) {
    map(dx, dy, y, n, [](real d, real u) { return u <= 0 ? real(0) : d; });
}
