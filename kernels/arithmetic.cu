// arithmetic.cu: y = a + b, total += extra, y = x, y = factor * x, element by element.
//   all arrays: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: each operand once.
#include "elementwise.cuh"

extern "C" __global__ void add_same_shape(real* __restrict__ y, const real* __restrict__ a,
                                          const real* __restrict__ b, long long n) {
    map(y, a, b, n, [](real u, real w) { return u + w; });
}

extern "C" __global__ void accumulate(INOUT real* __restrict__ total, const real* __restrict__ extra, long long n) {
    map(total, total, extra, n, [](real u, real w) { return u + w; });
}

extern "C" __global__ void copy(real* __restrict__ y, const real* __restrict__ x, long long n) {
    map(y, x, n, [](real u) { return u; });
}

extern "C" __global__ void scale(real* __restrict__ y, const real* __restrict__ x, real factor, long long n) {
    map(y, x, n, [factor](real u) { return factor * u; });
}

// The factor on the device: a loss's gradient times what arrives from above.
extern "C" __global__ void scale_by_scalar(real* __restrict__ y, const real* __restrict__ x,
                                           const real* __restrict__ factor, long long n) {
    const real f = factor[0];
    map(y, x, n, [f](real u) { return f * u; });
}
