// pool_mean.cuh: y[n,p,q,c] = the sum of x over window (p, q) / count(p, q), and its way back, for windows of any
// kind: a Windows says which rows and columns an output sees, which outputs see a row or column, and the counts.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, C), of type stored
#ifndef GPUNN_POOL_MEAN_CUH
#define GPUNN_POOL_MEAN_CUH
#include "windows.cuh"

#define RUN 32  // elements a thread adds up before it adds their sum to that of the others: roundings stay few

__device__ __forceinline__ Vector<real, VEC> plus(Vector<real, VEC> a, const Vector<real, VEC>& b) {
#pragma unroll
    for (int v = 0; v < VEC; ++v) a.v[v] += b.v[v];
    return a;
}

// One thread per VEC channels of an output. A window's rows are added up one by one, then their sums: the error
// grows with R + S, not with R S.
template <class Windows>
__device__ __forceinline__ void mean_by_thread(stored* y, const stored* x, const Windows& g, int threads) {
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    const Place at = g.over.place(number);
    const Span rows = g.rows(at.row), columns = g.columns(at.column);
    const stored* image = x + (size_t)at.n * g.H * g.W * g.C + at.c * VEC;
    Vector<real, VEC> sum = {};
    for (int h = rows.first; h < rows.last; ++h) {
        Vector<real, VEC> row = {};
        for (int w = columns.first; w < columns.last; ++w)
            row = plus(row, load<VEC>(image + (size_t)(h * g.W + w) * g.C));
        sum = plus(sum, row);
    }
    const real count = g.count(at.row, at.column);
#pragma unroll
    for (int v = 0; v < VEC; ++v) sum.v[v] /= count;
    store(y + (size_t)number * VEC, sum);
}

// One block per output and blockDim.x vectors of channels, its rows of threads sharing the window: for few large
// windows, as in global pooling.
template <class Windows>
__device__ __forceinline__ void mean_by_block(stored* y, const stored* x, const Windows& g) {
    __shared__ Vector<real, VEC> room[BLOCK];
    const Place at = g.over.place(blockIdx.x);
    const int c = (at.c * blockDim.x + threadIdx.x) * VEC;
    const stored* image = x + (size_t)at.n * g.H * g.W * g.C + c;
    Vector<real, VEC> sum = {}, run = {};
    int length = 0;
    if (c < g.C) {
        my_elements(g.rows(at.row), g.columns(at.column), [&](int h, int w) {
            run = plus(run, load<VEC>(image + (size_t)(h * g.W + w) * g.C));
            if (++length % RUN == 0) sum = plus(sum, run), run = {};
        });
    }
    sum = over_thread_rows(plus(sum, run), room, plus);
    if (threadIdx.y > 0 || c >= g.C) return;
    const real count = g.count(at.row, at.column);
#pragma unroll
    for (int v = 0; v < VEC; ++v) sum.v[v] /= count;
    store(y + (((size_t)at.n * g.P + at.row) * g.Q + at.column) * g.C + c, sum);
}

// One thread per VEC channels of an input, which gets a share from every output that sees it.
template <class Windows>
__device__ __forceinline__ void mean_backward(stored* dx, const stored* dy, const Windows& g, int threads) {
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    const Place at = g.over.place(number);
    const Span rows = g.seen_from_rows(at.row), columns = g.seen_from_columns(at.column);
    const stored* image = dy + (size_t)at.n * g.P * g.Q * g.C + at.c * VEC;
    Vector<real, VEC> sum = {};
    for (int p = rows.first; p < rows.last; ++p) {
#pragma unroll 1  // few windows cover an input: registers are better spent on more threads
        for (int q = columns.first; q < columns.last; ++q) {
            const Vector<real, VEC> d = load<VEC>(image + (size_t)(p * g.Q + q) * g.C);
            const real share = 1 / g.count(p, q);
#pragma unroll
            for (int v = 0; v < VEC; ++v) sum.v[v] += d.v[v] * share;
        }
    }
    store(dx + (size_t)number * VEC, sum);
}

#endif  // GPUNN_POOL_MEAN_CUH
