// elementwise_loss.cu: losses between two arrays of one shape: the terms f(x, t), or their sum over a divisor,
// and their gradients. With z = x - t, weight w and pos_weight q (1 where there is none), LOSS is
//   SQUARED   z^2
//   ABSOLUTE  |z|
//   ROUNDED   slope z^2 / (2 edge) where |z| < edge, else slope (|z| - edge / 2); |z| / (edge / slope) cannot overflow
//   BINARY    -w (t log x + (1 - t) log(1 - x)), logarithms at least -100; x or t outside 0..1 is reported
//   LOGISTIC  w ((1 - t) log(1 + exp(x)) + q t log(1 + exp(-x)))
//   x, target, weight, pos_weight, terms, dx, dtarget: n elements   loss: one number
//   dy: one number, the gradient of the loss, or if `each` n of them   parts (blocks of loss_parts): double
// Launch: terms and backward: one thread per VEC elements. parts: blocks of 256, each with every gridDim-th group
// of elements; a single block writes the loss itself. total: one block.
// Traffic: inputs once, terms or dx and dtarget once.
// Source: lecture topic L5; Huber 1964; Girshick 2015, arXiv:1504.08083.
#include "double_sum.cuh"
#include "elementwise.cuh"

enum { SQUARED, ABSOLUTE, ROUNDED, BINARY, LOGISTIC };

struct Inputs {
    const real *x, *target, *weight, *pos_weight;
    real edge, slope, scale;  // scale: edge / slope
};

// N neighbours of every input.
template <int N>
struct Elements {
    Vector<real, N> x, t, w, q;
};

template <int N>
__device__ __forceinline__ Vector<real, N> load_or_ones(const real* from, long long i) {
    if (from) return load<N>(from + i);
    Vector<real, N> ones;
#pragma unroll
    for (int j = 0; j < N; ++j) ones.v[j] = 1;
    return ones;
}

template <int N>
__device__ __forceinline__ Elements<N> fetch(const Inputs& in, long long i) {
    return {load<N>(in.x + i), load<N>(in.target + i), load_or_ones<N>(in.weight, i),
            load_or_ones<N>(in.pos_weight, i)};
}

// NaN stays NaN.
__device__ __forceinline__ real at_least(real least, real value) {
    return value < least ? least : value;
}

// log(1 + exp(x)), exact for any x.
__device__ __forceinline__ real soft_plus(real x) {
    return at_least(0, x) + log1p(exp(-fabs(x)));
}

__device__ __forceinline__ real term(const Inputs& in, real x, real t, real w, real q) {
    const real z = x - t, size = fabs(z);
    switch (LOSS) {
    case SQUARED: return z * z;
    case ABSOLUTE: return size;
    case ROUNDED: return size < in.edge ? size / 2 * (size / in.scale) : in.slope * (size - in.edge / 2);
    case BINARY: return ((t - 1) * at_least(-100, log1p(-x)) - t * at_least(-100, log(x))) * w;
    default: return ((1 - t) * soft_plus(x) + t * q * soft_plus(-x)) * w;
    }
}

// The gradients for x and the target, times d.
__device__ __forceinline__ real slope_of_x(const Inputs& in, real d, real x, real t, real w, real q) {
    const real z = x - t;
    switch (LOSS) {
    case SQUARED: return z * (d + d);
    case ABSOLUTE: return d * real((x > t) - (x < t));  // of NaN 0
    case ROUNDED: return d * (fabs(z) < in.edge ? z / in.scale : z > 0 ? in.slope : z < 0 ? -in.slope : z);
    case BINARY: return d * z / at_least(real(1e-12), x * (1 - x)) * w;
    default: {
        const real e = exp(-fabs(x)), large = 1 / (1 + e), small = e / (1 + e);
        return d * (((1 - t) * (x >= 0 ? large : small) - t * q * (x >= 0 ? small : large)) * w);
    }
    }
}

__device__ __forceinline__ real slope_of_target(const Inputs& in, real d, real x, real t, real w, real q) {
    switch (LOSS) {
    case BINARY: return d * (at_least(-100, log1p(-x)) - at_least(-100, log(x))) * w;
    // Without pos_weight the two logarithms differ by x.
    case LOGISTIC: return d * ((in.pos_weight ? q * soft_plus(-x) - soft_plus(x) : -x) * w);
    default: return -slope_of_x(in, d, x, t, w, q);
    }
}

// Kind 2 of a device's bad data (Device.check): a number that is no probability, of the input (index 0) or target (1).
__device__ __forceinline__ void check(int* error, int layer, real x, real t) {
    if (LOSS != BINARY) return;
    const bool input = x < 0 || x > 1;
    if ((input || t < 0 || t > 1) && atomicCAS(&error[0], 0, 2) == 0) {
        error[1] = layer;
        error[2] = input ? 0 : 1;
        error[3] = __float_as_int((float)(input ? x : t));
    }
}

template <int N>
__device__ __forceinline__ Vector<real, N> terms_at(const Inputs& in, int* error, int layer, long long i) {
    Elements<N> e = fetch<N>(in, i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
        check(error, layer, e.x.v[j], e.t.v[j]);
        e.x.v[j] = term(in, e.x.v[j], e.t.v[j], e.w.v[j], e.q.v[j]);
    }
    return e.x;
}

extern "C" __global__ void loss_terms(real* __restrict__ terms, INOUT int* __restrict__ error,
                                      const real* __restrict__ x, const real* __restrict__ target,
                                      const real* __restrict__ weight, const real* __restrict__ pos_weight, real edge,
                                      real slope, real scale, int layer, long long n) {
    const Inputs in = {x, target, weight, pos_weight, edge, slope, scale};
    const long long first = my_first_element();
    if (first + VEC <= n) {
        store(terms + first, terms_at<VEC>(in, error, layer, first));
    } else {
        for (long long i = first; i < n; ++i) terms[i] = terms_at<1>(in, error, layer, i).v[0];
    }
}

extern "C" __global__ void loss_parts(real* __restrict__ loss, double* __restrict__ parts,
                                      INOUT int* __restrict__ error, const real* __restrict__ x, const real* __restrict__ target,
                                      const real* __restrict__ weight, const real* __restrict__ pos_weight, real edge,
                                      real slope, real scale, double divisor, int layer, long long n) {
    const Inputs in = {x, target, weight, pos_weight, edge, slope, scale};
    const long long step = (long long)gridDim.x * blockDim.x * VEC;
    double sum = 0;
    long long first = my_first_element();
    for (; first + VEC <= n; first += step) {
        const Vector<real, VEC> u = terms_at<VEC>(in, error, layer, first);
        real part = 0;
#pragma unroll
        for (int j = 0; j < VEC; ++j) part += u.v[j];
        sum += part;
    }
    for (; first < n; ++first) sum += terms_at<1>(in, error, layer, first).v[0];
    sum = block_double_sum<0>(sum);
    if (threadIdx.x > 0) return;
    if (gridDim.x > 1)
        parts[blockIdx.x] = sum;
    else
        loss[0] = sum / divisor;  // of nothing: NaN
}

extern "C" __global__ void loss_total(real* __restrict__ loss, const double* __restrict__ parts, int count,
                                      double divisor) {
    const double sum = block_double_sum<0>(parts, count, 1);
    if (threadIdx.x == 0) loss[0] = sum / divisor;
}

template <int N>
__device__ __forceinline__ void backward_at(real* dx, real* dtarget, const real* dy, bool each, real shared,
                                            const Inputs& in, long long i) {
    const Elements<N> e = fetch<N>(in, i);
    Vector<real, N> d, slopes;
#pragma unroll
    for (int j = 0; j < N; ++j) d.v[j] = shared;
    if (each) d = load<N>(dy + i);
    if (dx) {
#pragma unroll
        for (int j = 0; j < N; ++j) slopes.v[j] = slope_of_x(in, d.v[j], e.x.v[j], e.t.v[j], e.w.v[j], e.q.v[j]);
        store(dx + i, slopes);
    }
    if (dtarget) {
#pragma unroll
        for (int j = 0; j < N; ++j) slopes.v[j] = slope_of_target(in, d.v[j], e.x.v[j], e.t.v[j], e.w.v[j], e.q.v[j]);
        store(dtarget + i, slopes);
    }
}

// dx or dtarget is null where it is not wanted.
extern "C" __global__ void loss_backward(real* __restrict__ dx, real* __restrict__ dtarget,
                                         const real* __restrict__ dy, const real* __restrict__ x,
                                         const real* __restrict__ target, const real* __restrict__ weight,
                                         const real* __restrict__ pos_weight, real edge, real slope, real scale,
                                         real divisor, int each, long long n) {
    const Inputs in = {x, target, weight, pos_weight, edge, slope, scale};
    const long long first = my_first_element();
    if (first >= n) return;
    const real shared = each ? real(0) : dy[0] / divisor;
    if (first + VEC <= n) {
        backward_at<VEC>(dx, dtarget, dy, each, shared, in, first);
    } else {
        for (long long i = first; i < n; ++i) backward_at<1>(dx, dtarget, dy, each, shared, in, i);
    }
}
