// step.cu: y = 1 where x >= 0 (x > 0 if strict), else 0; NaN stays.
//   x, y: n elements, contiguous, in the same order
// Launch: one thread per VEC elements. Traffic: x, y once.
// Source: Rosenblatt 1958.
#include "elementwise.cuh"

extern "C" __global__ void step_forward(stored* __restrict__ y, const stored* __restrict__ x, int strict, long long n) {
    map(y, x, n, [strict](real u) { return u != u ? u : real(strict ? u > 0 : u >= 0); });
}
