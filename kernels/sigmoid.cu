// sigmoid.cu: y = 1 / (1 + exp(-x));  dx = dy y (1 - y).
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, y, dx once.
// Source: lecture topic L4.
#include "activation.cuh"

extern "C" __global__ void sigmoid_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return logistic(u); });
}

extern "C" __global__ void sigmoid_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                            const stored* __restrict__ y, long long n) {
    map(dx, dy, y, n, [](real d, real u) { return d * u * (1 - u); });
}
