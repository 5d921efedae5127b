// absolute_relu.cu: y = |x|;  dx = dy where x > 0, -dy where x < 0, else 0.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, x, dx once.
// Source: Jarrett, Kavukcuoglu, Ranzato, LeCun 2009.
#include "elementwise.cuh"

extern "C" __global__ void absolute_relu_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return fabs(u); });
}

extern "C" __global__ void absolute_relu_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                                  const stored* __restrict__ x, long long n) {
    map(dx, dy, x, n, [](real d, real u) { return d * ((u > 0) - (u < 0)); });
}
