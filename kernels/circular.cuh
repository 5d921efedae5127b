// circular.cuh: sine and cosine for arguments of any size. CUDA's own keep a piece of the table below in local memory.
//
// x = rest + quarter pi / 2 with |rest| <= pi / 4. Up to 2^28 by subtracting pi / 2 in three parts (Cody and Waite 1980);
// beyond, x 2 / pi modulo 4 from those bits of 2 / pi that count (Payne and Hanek 1983). Polynomials: fdlibm's, of
// error below 2^-57. In double for floats too.
#ifndef GPUNN_CIRCULAR_CUH
#define GPUNN_CIRCULAR_CUH

// 64 zeros, then as many bits of 2 / pi as the largest double reaches.
__constant__ unsigned long long TWO_OVER_PI[] = {
    0,
    0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0,
    0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4,
    0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08};

struct Turn {
    double rest;
    int quarter;
};

__device__ __forceinline__ Turn far_turn(double x) {
    const unsigned long long bits = __double_as_longlong(x);
    const int exponent = (int)(bits >> 52 & 0x7ff) - 1075;  // x = mantissa 2^exponent
    const unsigned long long mantissa = (bits & 0xfffffffffffffULL) | 1ULL << 52;
    // Of x 2 / pi, bits that stand for multiples of 4 are left out; the first taken has the weight 2 mantissa.
    const int place = exponent + 62, word = place / 64, shift = place % 64;
    unsigned long long high = TWO_OVER_PI[word], low = TWO_OVER_PI[word + 1];
    if (shift != 0) {
        high = high << shift | low >> (64 - shift);
        low = low << shift | TWO_OVER_PI[word + 2] >> (64 - shift);
    }
    const unsigned long long top = mantissa * high + __umul64hi(mantissa, low);  // x 2 / pi modulo 4, times 2^62
    const unsigned long long quarter = (top + (1ULL << 61)) >> 62;
    const double rest = (double)(long long)(top - (quarter << 62)) + (double)(mantissa * low) * 0x1p-64;
    Turn turn = {rest * (0x1p-62 * 1.5707963267948966), (int)quarter};
    if (x < 0) turn = {-turn.rest, -turn.quarter};
    return turn;
}

__device__ __forceinline__ Turn turn_of(double x) {
    if (fabs(x) >= 0x1p28) {
        if (fabs(x) < (double)INFINITY) return far_turn(x);
        return {x - x, 0};
    }
    const double quarter = rint(x * 0.6366197723675814);
    double rest = fma(-quarter, 1.5707963267948966, x);
    rest = fma(-quarter, 6.123233995736766e-17, rest);
    rest = fma(-quarter, -1.4973849048591698e-33, rest);
    return {rest, (int)quarter};  // NaN: any quarter
}

// The sine of x, or with quarters = 1 its cosine.
__device__ __forceinline__ double sine(double x, int quarters) {
    Turn turn = turn_of(x);
    if (turn.rest != turn.rest) return turn.rest;
    const int quarter = turn.quarter + quarters;
    const double r = turn.rest, z = r * r;
    double y;
    if (quarter & 1) {
        y = -1.13596475577881948265e-11;
        y = fma(y, z, 2.08757232129817482790e-09);
        y = fma(y, z, -2.75573143513906633035e-07);
        y = fma(y, z, 2.48015872894767294178e-05);
        y = fma(y, z, -1.38888888888741095749e-03);
        y = fma(y, z, 4.16666666666666019037e-02);
        y = fma(z * z, y, fma(-0.5, z, 1.0));
    } else {
        y = 1.58969099521155010221e-10;
        y = fma(y, z, -2.50507602534068634195e-08);
        y = fma(y, z, 2.75573137070700676789e-06);
        y = fma(y, z, -1.98412698298579493134e-04);
        y = fma(y, z, 8.33333333332248946124e-03);
        y = fma(y, z, -1.66666666666666324348e-01);
        y = fma(r * z, y, r);
    }
    return quarter & 2 ? -y : y;
}

#endif  // GPUNN_CIRCULAR_CUH
