// unary.cu: functions of one element, their gradients, questions about elements, and limits.
//   all arrays: n elements, contiguous, in the same order; answers are bools, a byte each
//   dx = dy f'(saved), where saved is the function's input or output
// Launch: one thread per 4 elements; vectors if `aligned`. Traffic: each array once.
// real is also int, int64 and uint8, for the functions that whole numbers have.
#define VEC 4
#include "numbers.cuh"
#include "circular.cuh"
#include "elementwise.cuh"

// The order is that of gpunn/gpu/unary.py.
enum { EXP, EXPM1, LOG, LOG1P, SQRT, RSQRT, RECIPROCAL, SQUARE, SIN, COS, ABS, SIGN, FLOOR, CEIL, ROUND, INVERT };
enum { ISNAN, ISINF, ISFINITE };

// y[i] = f(x[i]), whatever type y has.
template <class Y, class F>
__device__ __forceinline__ void answer(Y* y, const real* x, int aligned, long long n, F f) {
    const long long first = my_first_element();
    if (aligned && first + VEC <= n) {
        const Vector<real, VEC> u = load<VEC>(x + first);
        Vector<Y, VEC> w;
#pragma unroll
        for (int j = 0; j < VEC; ++j) w.v[j] = f(u.v[j]);
        store(y + first, w);
    } else {
        for (long long i = first; i < min(first + VEC, n); ++i) y[i] = f(x[i]);
    }
}

template <class F>
__device__ __forceinline__ void pairs(real* y, const real* a, const real* b, int aligned, long long n, F f) {
    const long long first = my_first_element();
    if (aligned && first + VEC <= n) {
        Vector<real, VEC> u = load<VEC>(a + first);
        const Vector<real, VEC> w = load<VEC>(b + first);
#pragma unroll
        for (int j = 0; j < VEC; ++j) u.v[j] = f(u.v[j], w.v[j]);
        store(y + first, u);
    } else {
        for (long long i = first; i < min(first + VEC, n); ++i) y[i] = f(a[i], b[i]);
    }
}

template <class T>
__device__ __forceinline__ T sign_of(T u) {
    return T(u > 0) - T(u < 0);  // 0 for NaN
}

template <class T>
__device__ __forceinline__ T value(int function, T u) {
    if constexpr (FLOATING<T>) {
        switch (function) {
            case EXP: return exp(u);
            case EXPM1: return expm1(u);
            case LOG: return log(u);
            case LOG1P: return log1p(u);
            case SQRT: return sqrt(u);
            case RSQRT: return 1 / sqrt(u);
            case RECIPROCAL: return 1 / u;
            case SQUARE: return u * u;
            case SIN: return sine(u, 0);
            case COS: return sine(u, 1);
            case ABS: return fabs(u);
            case SIGN: return sign_of(u);
            case FLOOR: return floor(u);
            case CEIL: return ceil(u);
            default: return rint(u);
        }
    } else {
        switch (function) {
            case SQUARE: return u * u;
            case ABS: return u < 0 ? -u : u;
            case SIGN: return u > 0 ? T(1) : u < 0 ? T(-1) : T(0);
            case INVERT: return ~u;
            default: return u;  // a whole number is its own floor, ceiling and nearest one
        }
    }
}

template <class T>
__device__ __forceinline__ T gradient(int function, T dy, T saved) {
    if constexpr (FLOATING<T>) {
        switch (function) {
            case EXP: return dy * saved;
            case EXPM1: return dy * (saved + 1);
            case LOG: return dy / saved;
            case LOG1P: return dy / (saved + 1);
            case SQRT: return dy / (2 * saved);
            case RSQRT: return dy * T(-0.5) * saved * saved * saved;
            case RECIPROCAL: return -dy * saved * saved;
            case SQUARE: return 2 * dy * saved;
            case SIN: return dy * T(sine(saved, 1));
            case COS: return -dy * T(sine(saved, 0));
            case ABS: return dy * sign_of(saved);
            default: return 0;
        }
    } else {
        return 0;
    }
}

extern "C" __global__ void unary_forward(real* __restrict__ y, const real* __restrict__ x, int function, int aligned,
                                         long long n) {
    answer(y, x, aligned, n, [function](real u) { return value(function, u); });
}

extern "C" __global__ void unary_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                          const real* __restrict__ saved, int function, int aligned, long long n) {
    pairs(dx, dy, saved, aligned, n, [function](real d, real s) { return gradient(function, d, s); });
}

extern "C" __global__ void ask_elements(unsigned char* __restrict__ y, const real* __restrict__ x, int question,
                                        int aligned, long long n) {
    answer(y, x, aligned, n, [question](real u) -> unsigned char {
        const bool nan = u != u, finite = u - u == 0;
        return question == ISNAN ? nan : question == ISINF ? !nan && !finite : finite;
    });
}

// NaN passes both limits; a limit that is NaN wins.
extern "C" __global__ void clamp_forward(real* __restrict__ y, const real* __restrict__ x, real low, real high,
                                         int has_low, int has_high, int aligned, long long n) {
    answer(y, x, aligned, n, [=](real u) {
        if (has_low && (u < low || low != low)) u = low;
        if (has_high && (u > high || high != high)) u = high;
        return u;
    });
}

extern "C" __global__ void clamp_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                          const real* __restrict__ x, real low, real high, int has_low, int has_high,
                                          int aligned, long long n) {
    pairs(dx, dy, x, aligned, n, [=](real d, real u) {
        return (!has_low || u >= low) && (!has_high || u <= high) ? d : real(0);
    });
}
