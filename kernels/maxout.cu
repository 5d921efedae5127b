// maxout.cu: y[o,j] = max over i of x[o,i,j];  dx[o,i,j] = dy[o,j] where i won, else 0.
//   x, dx (outer, k, inner)   y, dy, winner (outer, inner), winner uint8: the i that won
// Launch: one thread per VEC elements of y (forward; VEC divides inner) or of dx (backward; VEC divides its size).
// Traffic: forward x, y, winner once; backward dy and winner about once (k threads share them in cache), dx once.
// Source: Goodfellow and others 2013, arXiv:1302.4389; ties: the first piece; NaN wins, the first of several.
#include "common.cuh"

extern "C" __global__ void maxout_forward(real* __restrict__ y, unsigned char* __restrict__ winner,
                                          const real* __restrict__ x, Divisor by_inner, int k, int inner,
                                          int threads) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    int j = thread;
    const int o = by_inner.split(j);  // inner counted in vectors
    const real* piece = x + (size_t)o * k * inner + (size_t)j * VEC;
    Vector<real, VEC> best = load<VEC>(piece);
    Vector<unsigned char, VEC> code = {};
    for (int i = 1; i < k; ++i) {
        const Vector<real, VEC> u = load<VEC>(piece + (size_t)i * inner);
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            if (u.v[v] > best.v[v] || (u.v[v] != u.v[v] && best.v[v] == best.v[v]))
                best.v[v] = u.v[v], code.v[v] = (unsigned char)i;
    }
    store(y + (size_t)thread * VEC, best);
    store(winner + (size_t)thread * VEC, code);
}

extern "C" __global__ void maxout_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                           const unsigned char* __restrict__ winner, Divisor by_inner, Divisor by_k,
                                           int inner, int k, int n) {
    const int first = (blockIdx.x * blockDim.x + threadIdx.x) * VEC;
    if (first >= n) return;
    Vector<real, VEC> d;
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        int j = first + v;
        int i = by_inner.split(j);  // of the pieces of all units, until the next line
        const size_t from = (size_t)by_k.split(i) * inner + j;
        d.v[v] = winner[from] == i ? dy[from] : real(0);
    }
    store(dx + first, d);
}
