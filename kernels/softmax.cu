// softmax.cu: y = exp(x) / sum(exp(x)) and y = x - log(sum(exp(x))) along an axis, and their gradients
// dx = y (dy - sum(dy y)) and dx = dy - exp(y) sum(dy).
//   all arrays (outer, length, inner), contiguous; the sums run over the middle axis
// Launch: as in along_axis.cuh; `held`: whether a line fits into its threads' registers.
// Traffic: each array once; lines that do not fit into registers: x three times, dy and y twice.
// Source: lecture topic L2; subtracting the line's maximum keeps exp in range whatever the scores.
#include "along_axis.cuh"

template <bool Log, bool Held>
__device__ __forceinline__ void forward_line(real* y, const real* x, const Line& at) {
    Vector<real, VEC> u[HELD];
    real top = -INFINITY;
    for_each_vector<Held>(at, [&](int j, size_t i) {
        u[j] = load<VEC>(x + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v) top = nan_max(top, u[j].v[v]);
    });
    top = line_max(at, top);

    typename Total<Held>::type total = 0;
    for_each_vector<Held>(at, [&](int j, size_t i) {
        if (!Held) u[j] = load<VEC>(x + i);
        real part = 0;
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real shifted = u[j].v[v] - top, e = exp(shifted);
            u[j].v[v] = Log ? shifted : e;
            part += e;
        }
        total += part;
    });
    const real sum = line_sum<0>(at, real(total)), shift = Log ? log(sum) : real(0), scale = 1 / sum;

    for_each_vector<Held>(at, [&](int j, size_t i) {
        if (!Held) u[j] = load<VEC>(x + i);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            if (!Held) u[j].v[v] = Log ? u[j].v[v] - top : exp(u[j].v[v] - top);
            u[j].v[v] = Log ? u[j].v[v] - shift : u[j].v[v] * scale;
        }
        store(y + i, u[j]);
    });
}

template <bool Log, bool Held>
__device__ __forceinline__ void backward_line(real* dx, const real* dy, const real* y, const Line& at) {
    Vector<real, VEC> d[HELD], u[HELD];
    typename Total<Held>::type total = 0;
    for_each_vector<Held>(at, [&](int j, size_t i) {
        d[j] = load<VEC>(dy + i);
        if (Held || !Log) u[j] = load<VEC>(y + i);
        real part = 0;
#pragma unroll
        for (int v = 0; v < VEC; ++v) part += Log ? d[j].v[v] : d[j].v[v] * u[j].v[v];
        total += part;
    });
    const real sum = line_sum<0>(at, real(total));

    for_each_vector<Held>(at, [&](int j, size_t i) {
        if (!Held) {
            d[j] = load<VEC>(dy + i);
            u[j] = load<VEC>(y + i);
        }
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            d[j].v[v] = Log ? d[j].v[v] - exp(u[j].v[v]) * sum : u[j].v[v] * (d[j].v[v] - sum);
        store(dx + i, d[j]);
    });
}

template <bool Log>
__device__ __forceinline__ void forward(real* y, const real* x, long long outer, int length, int inner, int held) {
    const Line at = my_line(outer, length, inner);
    if (held)
        forward_line<Log, true>(y, x, at);
    else
        forward_line<Log, false>(y, x, at);
}

template <bool Log>
__device__ __forceinline__ void backward(real* dx, const real* dy, const real* y, long long outer, int length,
                                         int inner, int held) {
    const Line at = my_line(outer, length, inner);
    if (held)
        backward_line<Log, true>(dx, dy, y, at);
    else
        backward_line<Log, false>(dx, dy, y, at);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
softmax_forward(real* __restrict__ y, const real* __restrict__ x, long long outer, int length, int inner, int held) {
    forward<false>(y, x, outer, length, inner, held);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
log_softmax_forward(real* __restrict__ y, const real* __restrict__ x, long long outer, int length, int inner,
                    int held) {
    forward<true>(y, x, outer, length, inner, held);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
softmax_backward(real* __restrict__ dx, const real* __restrict__ dy, const real* __restrict__ y, long long outer,
                 int length, int inner, int held) {
    backward<false>(dx, dy, y, outer, length, inner, held);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
log_softmax_backward(real* __restrict__ dx, const real* __restrict__ dy, const real* __restrict__ y, long long outer,
                     int length, int inner, int held) {
    backward<true>(dx, dy, y, outer, length, inner, held);
}
