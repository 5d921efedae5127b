// silu.cu: y = x s with s = 1 / (1 + exp(-x));  dx = dy s (1 + x (1 - s)).
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, x, dx once.
// Source: Elfwing, Uchibe, Doya 2018, arXiv:1702.03118.
#include "activation.cuh"

extern "C" __global__ void silu_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return u / (1 + exp(-u)); });  // one division: -inf gives NaN, as in PyTorch
}

extern "C" __global__ void silu_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                         const stored* __restrict__ x, long long n) {
    map(dx, dy, x, n, [](real d, real u) {
        const real s = logistic(u);
        return d * s * (1 + u * (1 - s));
    });
}
