// logsigmoid.cu: y = log(1 / (1 + exp(-x))) = min(x, 0) - log1p(exp(-|x|));  dx = dy / (1 + exp(x)).
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, x, dx once.
// Source: lecture topic L4.
#include "activation.cuh"

extern "C" __global__ void logsigmoid_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return (u < 0 ? u : real(0)) - bend(u); });  // bend keeps a NaN
}

extern "C" __global__ void logsigmoid_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                               const stored* __restrict__ x, long long n) {
    map(dx, dy, x, n, [](real d, real u) { return d * logistic(-u); });
}
