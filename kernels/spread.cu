// spread.cu: gradients of what was reduced over axes: dx from x, dy and what the reduction gave.
//   x, dx (n), of the full shape   dy, y, mean, std, count: of the reduced shape, repeated to it (broadcast.cuh)
//   variance: dx = 2 dy (x - mean) / divisor, with std: dy (x - mean) / (std divisor), 0 where std is 0
//   norm:     dx = dy sign(x) (|x| / y)^(p-1), 0 where y is 0
//   share:    dx = dy / count where x is y, else 0; for the largest and smallest
// Launch: one thread per piece of 4 elements, or of 1. Traffic: x once, dx once.
#include "broadcast.cuh"

enum { TIMES_SIGN, TIMES_X, TIMES_POWER, NOTHING, SHARE_OF_ABS };  // kinds of norm, as in gpunn/ops/norm.py

template <int WIDTH, class F>
__device__ __forceinline__ void each(real* dx, const real* x, const Broadcast<1>& shape, long long piece, F f) {
    long long at[1];
    locate<WIDTH>(shape, piece, at);
    const long long step = shape.stride[0][AXES - 1];
    Vector<real, WIDTH> u = load<WIDTH>(x + piece * WIDTH);
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) u.v[j] = f(u.v[j], at[0] + j * step);
    store(dx + piece * WIDTH, u);
}

// f(x, place in the arrays of the reduced shape); these are small, and stay in the cache.
template <class F>
__device__ __forceinline__ void spread(real* dx, const real* x, const Broadcast<1>& shape, long long pieces, F f) {
    const long long piece = my_piece();
    if (piece >= pieces) return;
    if (shape.wide)
        each<4>(dx, x, shape, piece, f);
    else
        each<1>(dx, x, shape, piece, f);
}

extern "C" __global__ void variance_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                             const real* __restrict__ x, const real* __restrict__ mean,
                                             const real* __restrict__ std, real divisor, Broadcast<1> shape,
                                             long long pieces) {
    spread(dx, x, shape, pieces, [=](real u, long long at) {
        const real scaled = std == nullptr ? 2 * dy[at] : std[at] == 0 ? real(0) : dy[at] / std[at];
        return scaled * (u - mean[at]) / divisor;
    });
}

__device__ __forceinline__ real sign_of(real u) {
    return real(u > 0) - real(u < 0);
}

extern "C" __global__ void norm_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                         const real* __restrict__ x, const real* __restrict__ y,
                                         const real* __restrict__ count, real p, int kind, Broadcast<1> shape,
                                         long long pieces) {
    spread(dx, x, shape, pieces, [=](real u, long long at) -> real {
        const real d = dy[at], all = y[at];
        switch (kind) {
            case TIMES_SIGN: return sign_of(u) * d;
            case TIMES_X: return all == 0 ? real(0) : d * (u / all);
            case SHARE_OF_ABS: return sign_of(u) * real(fabs(u) == all) * (d / count[at]);
            case NOTHING: return 0;
        }
        if (all == 0 || (p < 1 && u == 0)) return 0;
        return sign_of(u) * pow(fabs(u) / all, p - 1) * d;
    });
}

extern "C" __global__ void share_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                          const real* __restrict__ x, const real* __restrict__ y,
                                          const real* __restrict__ count, int finds_nan, Broadcast<1> shape,
                                          long long pieces) {
    spread(dx, x, shape, pieces, [=](real u, long long at) {
        const real best = y[at];
        const real part = dy[at] / count[at];
        if (finds_nan) return u == best || (u != u && best != best) ? part : real(0);
        // Times 0 or 1 and not a choice: nothing equals a NaN, and dy / 0 makes all of them NaN.
        return real(u == best) * part;
    });
}

// prod_backward: dx[i] = dy times the product of all others along the middle axis of (outer, length, inner); right
// also where elements are 0. One thread per column. Traffic: x twice, dx three times.
extern "C" __global__ void prod_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                         const real* __restrict__ x, long long columns, long long length,
                                         long long inner) {
    const long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const long long first = column / inner * length * inner + column % inner;
    real before = 1, after = 1;
    for (long long i = 0; i < length; ++i) {
        const long long at = first + i * inner;
        dx[at] = dy[column] * before;
        before *= x[at];
    }
    for (long long i = length - 1; i >= 0; --i) {
        const long long at = first + i * inner;
        dx[at] *= after;
        after *= x[at];
    }
}
