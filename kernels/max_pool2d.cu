// max_pool2d.cu: y[n,p,q,c] = max over the window of x, and which of its elements won.
//   x, dx (N, H, W, C)   y, dy, offset (N, P, Q, C), offset of type CODE: r * S + s of the winner
//   With `flat` y and dy are (N, C, P, Q): what a Flatten behind the layer hands on, without a transpose of its own.
//   With `relu` y is max(y, 0), the same as of a ReLU before the layer but made of a fraction of the numbers. Where it is
//   closed offset is CLOSED, which is no element's: nothing goes back there, and backward needs no mask.
//   CODE is uint8 where that has a number for each of them, else uint16 or uint32.
// Launch: one thread per VEC channels of one output (forward) or input (backward) pixel.
// Traffic: forward x about once (windows overlap in cache), y and offset once; backward dy and offset
// about once, dx once. Backward gathers: each input pixel looks at the windows that cover it, so
// nothing is added twice at once, no atomics, the same bits every time. With `flat` neighbours in a warp lie P * Q apart
// in y and dy: up to eight times the sectors, counted by the emulator, which the L2 cache puts together.
// Source: lecture topic L15; ties and NaN as in PyTorch (the first maximum; NaN wins).
#include "common.cuh"

struct Pool2dShape {
    int N, H, W, C, P, Q, R, S;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int flat, relu;
    Divisor by_channels, by_width, by_height;  // of the array the threads are spread over, C in vectors
    Divisor by_stride_h, by_stride_w;
};

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned uint32;
typedef CODE code;

constexpr code CLOSED = (code)~code(0);

// Channel c of output pixel (n, p, q) where channels come first; the next channel is P * Q further on.
__device__ __forceinline__ size_t flat_place(const Pool2dShape& g, int n, int p, int q, int c) {
    return (((size_t)n * g.C + c) * g.P + p) * g.Q + q;
}

extern "C" __global__ void max_pool2d_forward(real* __restrict__ y, code* __restrict__ offset,
                                              const real* __restrict__ x, Pool2dShape g, int threads) {
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= threads) return;
    const size_t at = (size_t)n * VEC;
    int c = n;
    n = g.by_channels.split(c);  // n, p, q, c: peel off the innermost first
    int q = n;
    n = g.by_width.split(q);
    int p = n;
    n = g.by_height.split(p);
    c *= VEC;
    const real* image = x + (size_t)n * g.H * g.W * g.C + c;
    const int top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;

    Vector<real, VEC> best;
    Vector<code, VEC> winner;
#pragma unroll
    for (int j = 0; j < VEC; ++j) best.v[j] = -INFINITY, winner.v[j] = 0;
    bool none_yet = true;
    for (int r = 0; r < g.R; ++r) {
        const int h = top + r * g.dilation_h;
        if (h < 0 || h >= g.H) continue;
        for (int s = 0; s < g.S; ++s) {
            const int w = left + s * g.dilation_w;
            if (w < 0 || w >= g.W) continue;
            const Vector<real, VEC> u = load<VEC>(image + (size_t)(h * g.W + w) * g.C);
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                // The first element inside the image always counts: a window of -inf has a winner too.
                if (none_yet || u.v[j] > best.v[j] || u.v[j] != u.v[j])
                    best.v[j] = u.v[j], winner.v[j] = (code)(r * g.S + s);
            none_yet = false;
        }
    }
    if (g.relu) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            if (best.v[j] <= 0) winner.v[j] = CLOSED;
            if (best.v[j] < 0) best.v[j] = 0;  // NaN stays
        }
    }
    if (g.flat) {
        const size_t first = flat_place(g, n, p, q, c);
#pragma unroll
        for (int j = 0; j < VEC; ++j) y[first + (size_t)j * g.P * g.Q] = best.v[j];
    } else {
        store(y + at, best);
    }
    store(offset + at, winner);
}

extern "C" __global__ void max_pool2d_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                               const code* __restrict__ offset, Pool2dShape g,
                                               int threads) {
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= threads) return;
    const size_t at = (size_t)n * VEC;
    int c = n;
    n = g.by_channels.split(c);
    int w = n;
    n = g.by_width.split(w);
    int h = n;
    n = g.by_height.split(h);
    c *= VEC;
    const size_t image = (size_t)n * g.P * g.Q * g.C + c;

    Vector<real, VEC> sum;
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum.v[j] = 0;
    for (int r = 0; r < g.R; ++r) {
        int above = h + g.pad_h - r * g.dilation_h;  // p * stride, if window row r covers this pixel
        if (above < 0) break;
        const int p = g.by_stride_h.split(above);
        if (above != 0 || p >= g.P) continue;
        for (int s = 0; s < g.S; ++s) {
            int before = w + g.pad_w - s * g.dilation_w;
            if (before < 0) break;
            const int q = g.by_stride_w.split(before);
            if (before != 0 || q >= g.Q) continue;
            const size_t from = image + (size_t)(p * g.Q + q) * g.C;
            Vector<real, VEC> d;
            if (g.flat) {
                const size_t first = flat_place(g, n, p, q, c);
#pragma unroll
                for (int j = 0; j < VEC; ++j) d.v[j] = dy[first + (size_t)j * g.P * g.Q];
            } else {
                d = load<VEC>(dy + from);
            }
            const Vector<code, VEC> winner = load<VEC>(offset + from);
#pragma unroll
            for (int j = 0; j < VEC; ++j) sum.v[j] += winner.v[j] == (code)(r * g.S + s) ? d.v[j] : real(0);
        }
    }
    store(dx + at, sum);
}
