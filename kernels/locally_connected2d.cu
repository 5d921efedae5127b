// locally_connected2d.cu: a convolution whose filters differ from place to place, forward and backward.
//   y[n,p,q,k] = bias[k,p,q] + sum over c,r,s of x[n, p stride - top + r dilation, ..., c] weight[p,q,k,c,r,s]
//   x, dx (N, H, W, C)   y, dy (N, P, Q, K)   weight, dweight (P, Q, K, C, R, S)   bias, dbias (K, P, Q), bias or null
// Launch: forward: one thread for each (p, q, k) and IMAGES images; data: for each (h, w, c) and IMAGES images; weight:
// for each weight; bias: for each (p, q, k); 256 a block, the groups of images along y of the grid.
// Traffic: nothing is shared, so the weights are the traffic: once for IMAGES images (forward, data), of a whole
// sector (32 bytes) what several threads side by side use, out of the L1 cache; dweight once. All sums in one thread,
// in a fixed order.
// Source: lecture topic L14.
#include "common.cuh"

#define IMAGES 8

struct LocalShape {
    int N, H, W, C, K, P, Q, R, S;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    Divisor by_last, by_width;             // of what the threads are spread over
    Divisor by_stride_h, by_stride_w;      // data only
    Divisor by_S, by_R, by_C, by_K, by_Q;  // weight only
};

extern "C" __global__ void local_forward(real* __restrict__ y, const real* __restrict__ x,
                                         const real* __restrict__ weight, const real* __restrict__ bias,
                                         LocalShape g, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int k = (int)number;
    int q = g.by_last.split(k);
    const int p = g.by_width.split(q);
    const int first = blockIdx.y * IMAGES, count = min(IMAGES, g.N - first);
    const size_t image = (size_t)g.H * g.W * g.C;
    const real* w = weight + (size_t)number * g.C * g.R * g.S;
    real sum[IMAGES];
#pragma unroll
    for (int m = 0; m < IMAGES; ++m) sum[m] = bias ? bias[((size_t)k * g.P + p) * g.Q + q] : real(0);
    for (int r = 0; r < g.R; ++r) {
        const int h = p * g.stride_h - g.pad_h + r * g.dilation_h;
        if (h < 0 || h >= g.H) continue;
        for (int s = 0; s < g.S; ++s) {
            const int v = q * g.stride_w - g.pad_w + s * g.dilation_w;
            if (v < 0 || v >= g.W) continue;
            const real* pixel = x + first * image + ((size_t)h * g.W + v) * g.C;
            for (int c = 0; c < g.C; ++c) {
                const real u = w[((size_t)c * g.R + r) * g.S + s];
#pragma unroll
                for (int m = 0; m < IMAGES; ++m)
                    if (m < count) sum[m] += pixel[m * image + c] * u;
            }
        }
    }
#pragma unroll
    for (int m = 0; m < IMAGES; ++m)
        if (m < count) y[(size_t)(first + m) * threads + number] = sum[m];
}

extern "C" __global__ void local_backward_data(real* __restrict__ dx, const real* __restrict__ dy,
                                               const real* __restrict__ weight, LocalShape g, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int c = (int)number;
    int v = g.by_last.split(c);
    const int h = g.by_width.split(v);
    const int first = blockIdx.y * IMAGES, count = min(IMAGES, g.N - first);
    const size_t image = (size_t)g.P * g.Q * g.K, taps = (size_t)g.R * g.S;
    real sum[IMAGES];
#pragma unroll
    for (int m = 0; m < IMAGES; ++m) sum[m] = 0;
    for (int r = 0; r < g.R; ++r) {
        int above = h + g.pad_h - r * g.dilation_h;  // p stride, where row r of a window lies here
        if (above < 0) continue;
        const int p = g.by_stride_h.split(above);
        if (above != 0 || p >= g.P) continue;
        for (int s = 0; s < g.S; ++s) {
            int before = v + g.pad_w - s * g.dilation_w;
            if (before < 0) continue;
            const int q = g.by_stride_w.split(before);
            if (before != 0 || q >= g.Q) continue;
            const size_t place = (size_t)p * g.Q + q;
            const real* w = weight + (place * g.K * g.C + c) * taps + r * g.S + s;
            const real* d = dy + first * image + place * g.K;
            for (int k = 0; k < g.K; ++k) {
                const real u = w[k * g.C * taps];
#pragma unroll
                for (int m = 0; m < IMAGES; ++m)
                    if (m < count) sum[m] += d[m * image + k] * u;
            }
        }
    }
#pragma unroll
    for (int m = 0; m < IMAGES; ++m)
        if (m < count) dx[(size_t)(first + m) * threads + number] = sum[m];
}

extern "C" __global__ void local_backward_weight(real* __restrict__ dweight, const real* __restrict__ dy,
                                                 const real* __restrict__ x, LocalShape g, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int s = (int)number;
    int r = g.by_S.split(s);
    int c = g.by_R.split(r);
    int k = g.by_C.split(c);
    int q = g.by_K.split(k);
    const int p = g.by_Q.split(q);
    const int h = p * g.stride_h - g.pad_h + r * g.dilation_h, v = q * g.stride_w - g.pad_w + s * g.dilation_w;
    real sum = 0;
    if (h >= 0 && h < g.H && v >= 0 && v < g.W) {
        const real* d = dy + ((size_t)p * g.Q + q) * g.K + k;
        const real* u = x + ((size_t)h * g.W + v) * g.C + c;
        const size_t dy_image = (size_t)g.P * g.Q * g.K, x_image = (size_t)g.H * g.W * g.C;
#pragma unroll 4
        for (int n = 0; n < g.N; ++n) sum += d[n * dy_image] * u[n * x_image];
    }
    dweight[number] = sum;
}

extern "C" __global__ void local_backward_bias(real* __restrict__ dbias, const real* __restrict__ dy, LocalShape g,
                                               int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int k = (int)number;
    const int place = g.by_last.split(k);
    real sum = 0;
#pragma unroll 4
    for (int n = 0; n < g.N; ++n) sum += dy[(size_t)n * threads + number];
    dbias[(size_t)k * g.P * g.Q + place] = sum;
}
