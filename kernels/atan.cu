// atan.cu: the inverses of sine, cosine, tangent and their hyperbolic kin, and the angle of a point.
//   y = f(x);  dx = dy f'(x), with f' in terms of x
//   y = the angle of the point (b, a);  da = dy b / (a^2 + b^2), db = -dy a / (a^2 + b^2), both 0 at the origin
//   all arrays: n elements, contiguous, in the same order
// The functions are CUDA's own, whose guide gives errors of at most 4 units in the last place in float, 3 in double.
// Launch: one thread per VEC elements. Traffic: each array once.
#include "elementwise.cuh"

// The order is that of gpunn/ops/atan.py.
enum { ACOS, ACOSH, ASIN, ASINH, ATAN, ATANH };

__device__ __forceinline__ real value(int function, real u) {
    switch (function) {
        case ACOS: return acos(u);
        case ACOSH: return acosh(u);
        case ASIN: return asin(u);
        case ASINH: return asinh(u);
        case ATAN: return atan(u);
        default: return atanh(u);
    }
}

__device__ __forceinline__ real gradient(int function, real dy, real u) {
    const real square = u * u;
    switch (function) {
        case ACOS: return -dy / sqrt(1 - square);
        case ACOSH: return dy / sqrt(square - 1);
        case ASIN: return dy / sqrt(1 - square);
        case ASINH: return dy / sqrt(square + 1);
        case ATAN: return dy / (square + 1);
        default: return dy / (1 - square);
    }
}

extern "C" __global__ void atan_forward(stored* __restrict__ y, const stored* __restrict__ x, int function, long long n) {
    map(y, x, n, [function](real u) { return value(function, u); });
}

extern "C" __global__ void atan_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                         const stored* __restrict__ x, int function, long long n) {
    map(dx, dy, x, n, [function](real d, real u) { return gradient(function, d, u); });
}

extern "C" __global__ void atan2_forward(stored* __restrict__ y, const stored* __restrict__ a, const stored* __restrict__ b,
                                         long long n) {
    map(y, a, b, n, [](real u, real w) { return atan2(u, w); });
}

__device__ __forceinline__ void turn(real& da, real& db, real dy, real a, real b) {
    const real length = a * a + b * b;
    const real scaled = length == 0 ? real(0) : dy / length;
    da = scaled * b;
    db = -scaled * a;
}

extern "C" __global__ void atan2_backward(stored* __restrict__ da, stored* __restrict__ db, const stored* __restrict__ dy,
                                          const stored* __restrict__ a, const stored* __restrict__ b, long long n) {
    const long long first = my_first_element();
    if (first + VEC <= n) {
        const Vector<real, VEC> d = load<VEC>(dy + first);
        Vector<real, VEC> u = load<VEC>(a + first), w = load<VEC>(b + first);
#pragma unroll
        for (int j = 0; j < VEC; ++j) turn(u.v[j], w.v[j], d.v[j], real(u.v[j]), real(w.v[j]));
        store(da + first, u);
        store(db + first, w);
    } else {
        for (long long i = first; i < n; ++i) {
            real of_a, of_b;
            turn(of_a, of_b, dy[i], a[i], b[i]);
            da[i] = of_a, db[i] = of_b;
        }
    }
}
