// gelu.cu: y = x P(x), P(x) = (1 + erf(x / sqrt 2)) / 2;  dx = dy (P(x) + x exp(-x^2 / 2) / sqrt(2 pi)). The same with
// P(x) = (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 in the kernels called gelu_tanh.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once; dy, x, dx once.
// Source: Hendrycks, Gimpel 2016, arXiv:1606.08415.
#include "elementwise.cuh"

#define ROOT_HALF real(0.70710678118654752)
#define DENSITY real(0.39894228040143268)  // 1 / sqrt(2 pi)
#define SCALE real(0.79788456080286536)    // sqrt(2 / pi)
#define CUBE real(0.044715)

__device__ __forceinline__ real inner_tanh(real u) {
    return tanh(SCALE * (u + CUBE * u * u * u));
}

// P(u), by erfc(-v), which far below 0 keeps the digits that 1 + erf(v) cancels.
__device__ __forceinline__ real share_below(real u) {
    return real(0.5) * erfc(-u * ROOT_HALF);
}

extern "C" __global__ void gelu_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return u * share_below(u); });
}

extern "C" __global__ void gelu_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                         const stored* __restrict__ x, long long n) {
    map(dx, dy, x, n, [](real d, real u) {
        return d * (share_below(u) + u * DENSITY * exp(real(-0.5) * u * u));
    });
}

extern "C" __global__ void gelu_tanh_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return real(0.5) * u * (1 + inner_tanh(u)); });
}

extern "C" __global__ void gelu_tanh_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                              const stored* __restrict__ x, long long n) {
    map(dx, dy, x, n, [](real d, real u) {
        const real t = inner_tanh(u), slope = SCALE * (1 + 3 * CUBE * u * u);
        return d * real(0.5) * (1 + t + u * (1 - t * t) * slope);
    });
}
