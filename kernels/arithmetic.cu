// arithmetic.cu: y = a + b, total += extra, y = x, y = factor * x, element by element.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: each operand once.
#include "elementwise.cuh"

extern "C" __global__ void add_same_shape(stored* __restrict__ y, const stored* __restrict__ a,
                                          const stored* __restrict__ b, long long n) {
    map(y, a, b, n, [](real u, real w) { return u + w; });
}

extern "C" __global__ void accumulate(INOUT stored* __restrict__ total, const stored* __restrict__ extra, long long n) {
    map(total, total, extra, n, [](real u, real w) { return u + w; });
}

extern "C" __global__ void copy(stored* __restrict__ y, const stored* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return u; });
}

extern "C" __global__ void scale(stored* __restrict__ y, const stored* __restrict__ x, real factor, long long n) {
    map(y, x, n, [factor](real u) { return factor * u; });
}

// The factor on the device: a loss's gradient times what arrives from above.
extern "C" __global__ void scale_by_scalar(stored* __restrict__ y, const stored* __restrict__ x,
                                           const stored* __restrict__ factor, long long n) {
    const real f = factor[0];
    map(y, x, n, [f](real u) { return f * u; });
}
