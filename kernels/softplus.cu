// softplus.cu: y = log(1 + exp(beta x)) / beta, and x where beta x > threshold;  dx = dy / (1 + exp(-beta x)), and dy there.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, x, dx once.
// Source: Dugas, Bengio, Belisle, Nadeau, Garcia 2001.
#include "activation.cuh"

extern "C" __global__ void softplus_forward(stored* __restrict__ y, const stored* __restrict__ x, real beta,
                                            real threshold, long long n) {
    map(y, x, n, [beta, threshold](real u) {
        const real v = beta * u;
        return v > threshold ? u : (v > 0 ? u : real(0)) + bend(v) / beta;  // bend keeps a NaN
    });
}

extern "C" __global__ void softplus_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                             const stored* __restrict__ x, real beta, real threshold, long long n) {
    map(dx, dy, x, n, [beta, threshold](real d, real u) {
        const real v = beta * u;
        return v > threshold ? d : d * logistic(v);
    });
}
