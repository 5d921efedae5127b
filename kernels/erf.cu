// erf.cu: the error function and its inverse.
//   y = erf(x);     dx = dy 2 / sqrt(pi) exp(-x^2)
//   y = erfinv(x);  dx = dy sqrt(pi) / 2 exp(y^2)
//   all arrays: n elements, contiguous, in the same order
// The functions are CUDA's own, whose guide gives errors of at most 2 units in the last place, of erfinv 5 in double.
// Launch: one thread per VEC elements. Traffic: each array once.
#include "elementwise.cuh"

extern "C" __global__ void erf_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return erf(u); });
}

extern "C" __global__ void erf_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                        const stored* __restrict__ x, long long n) {
    map(dx, dy, x, n, [](real d, real u) { return d * real(1.1283791670955126) * exp(-u * u); });
}

extern "C" __global__ void erfinv_forward(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return erfinv(u); });
}

extern "C" __global__ void erfinv_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                           const stored* __restrict__ y, long long n) {
    map(dx, dy, y, n, [](real d, real u) { return d * real(0.88622692545275801) * exp(u * u); });
}
