// pad.cu: frames of reflections, copies of the border, or the other end, along one axis.
//   x, dx (outer, length, inner)   y, dy (outer, padded, inner)   padded = before + length + after
//   y[o, t, i] = x[o, s(t - before), i]: reflect s(u) = |u|, from length on 2 (length - 1) - u; replicate s(u) = u within
//   0 .. length - 1, else the nearer end; circular s(u) = u modulo length
//   dx[o, s, i] = sum of dy[o, t, i] over all t with s(t - before) = s, in increasing order of the three sides
// Launch: one thread per VEC elements of y (pad_axis) or dx (pad_axis_backward), 256 a block.
// Traffic: x once, y once; dy once, dx once.
#include "common.cuh"

#define REFLECT 0
#define REPLICATE 1
#define CIRCULAR 2

struct Frame {
    int length, before, padded, mode;
    Divisor by_inner, by_axis;  // inner in vectors; of the array the threads are spread over
};

extern "C" __global__ void pad_axis(real* __restrict__ y, const real* __restrict__ x, Frame f, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int i = (int)number;
    int u = f.by_inner.split(i);
    const long long outer = f.by_axis.split(u);
    u -= f.before;
    if (f.mode == CIRCULAR)
        u = u < 0 ? u + f.length : u >= f.length ? u - f.length : u;
    else if (f.mode == REPLICATE)
        u = min(max(u, 0), f.length - 1);
    else
        u = u < 0 ? -u : u >= f.length ? 2 * (f.length - 1) - u : u;
    const size_t from = ((size_t)(outer * f.length + u) * f.by_inner.value + i) * VEC;
    store(y + (size_t)number * VEC, load<VEC>(x + from));
}

extern "C" __global__ void pad_axis_backward(real* __restrict__ dx, const real* __restrict__ dy, Frame f,
                                             int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int i = (int)number;
    int s = f.by_inner.split(i);
    const long long outer = f.by_axis.split(s);
    const real* line = dy + ((size_t)(outer * f.padded) * f.by_inner.value + i) * VEC;
    Vector<real, VEC> sum;
#pragma unroll
    for (int v = 0; v < VEC; ++v) sum.v[v] = 0;
    auto add = [&](int t) {
        if (t < 0 || t >= f.padded) return;
        const Vector<real, VEC> d = load<VEC>(line + (size_t)t * f.by_inner.value * VEC);
#pragma unroll
        for (int v = 0; v < VEC; ++v) sum.v[v] += d.v[v];
    };
    const int own = s + f.before, last = f.length - 1;
    if (f.mode == REPLICATE) {
        const int first = s == 0 ? 0 : max(own, 0), end = s == last ? f.padded : min(own + 1, f.padded);
        for (int t = first; t < end; ++t) add(t);
    } else if (f.mode == CIRCULAR) {
        add(own - f.length);
        add(own);
        add(own + f.length);
    } else {
        if (s > 0) add(f.before - s);
        add(own);
        if (s < last) add(f.before + 2 * last - s);
    }
    store(dx + (size_t)number * VEC, sum);
}
