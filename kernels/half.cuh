// half.cuh: float16 and bfloat16 as their 16 bits, to float and back, for GPUs of every generation and the emulator.
// Rounding is to the nearest, ties to even; NaN stays NaN, and numbers beyond the largest become infinite.
// Where whole numbers alone decide, flushed subnormals make no difference.
#pragma once

__device__ __forceinline__ unsigned bits_of(float x) { return __float_as_uint(x); }

__device__ __forceinline__ float from_bfloat16(unsigned short h) { return __uint_as_float((unsigned)h << 16); }

__device__ __forceinline__ unsigned short to_bfloat16(float x) {
    const unsigned u = bits_of(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (unsigned short)(u >> 16 | 0x40u);  // a NaN that no cut makes infinite
    return (unsigned short)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

__device__ __forceinline__ float from_float16(unsigned short h) {
#ifdef GPUNN_EMULATOR
    const unsigned sign = (unsigned)(h & 0x8000u) << 16, rest = (unsigned)(h & 0x7fffu) << 13;
    if (rest >= 0x0f800000u) return __uint_as_float(sign | (rest + 0x70000000u));  // infinite or NaN
    if (rest >= 0x00800000u) return __uint_as_float(sign | (rest + 0x38000000u));  // exponents count from -127, not -15
    const float small = (float)(h & 0x3ffu) * 5.9604644775390625e-8f;              // subnormal: steps of 2^-24
    return __uint_as_float(sign | bits_of(small));
#else
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));  // of all numbers, small ones too
    return x;
#endif
}

__device__ __forceinline__ unsigned short to_float16(float x) {
    const unsigned u = bits_of(x), sign = u >> 16 & 0x8000u, size = u & 0x7fffffffu;
    if (size > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);  // from 65520 on, half way beyond the largest
    if (size >= 0x38800000u) {                                         // 2^-14, the smallest normal one
        return (unsigned short)(sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13);
    }
    if (size <= 0x33000000u) return (unsigned short)sign;  // up to 2^-25, half of the smallest
    const unsigned shift = 126u - (size >> 23), digits = (size & 0x7fffffu) | 0x800000u;
    const unsigned whole = digits >> shift, cut = digits & ((1u << shift) - 1u), middle = 1u << (shift - 1u);
    return (unsigned short)(sign | (whole + (cut > middle || (cut == middle && (whole & 1u)))));
}

// A double as the float towards zero whose last bit is set if digits were cut off: rounding that to 16 bits gives what
// rounding the double would.
__device__ __forceinline__ float to_odd(double x) {
    const float nearest = (float)x;
    const unsigned u = bits_of(nearest);
    if ((u & 0x7fffffffu) >= 0x7f800000u || (double)nearest == x) return nearest;
    const double size = x < 0 ? -x : x, found = nearest < 0 ? -(double)nearest : (double)nearest;
    return __uint_as_float((found > size ? u - 1u : u) | 1u);
}
