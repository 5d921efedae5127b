// tanh.cu: y = tanh(x);  dx = dy (1 - y^2).
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, y, dx once.
// Source: lecture topic L4.
#include "elementwise.cuh"

extern "C" __global__ void tanh_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return tanh(u); });
}

extern "C" __global__ void tanh_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                         const stored* __restrict__ y, long long n) {
    map(dx, dy, y, n, [](real d, real u) { return d * (1 - u * u); });
}
