// lstm_gates.cu: what an LSTM does behind its products: z = given + hidden, the four gates of z, the next c and h.
//   i, f, o = 1 / (1 + exp(-z));  g = tanh(z);  c' = f c + i g;  h = o tanh(c')
//   given, hidden, gates, dz (N, 4 H): rows of i, f, g, o one behind the other;  c, c', h, dh, dc, dc' (N, H)
// Launch: one thread per VEC elements of a state; VEC divides H. Either of dh and dc' may be null: no gradient.
// Traffic: forward given, hidden, gates, c, c', h once; backward gates, dz, c, c', dh, dc', dc once.
// Source: Hochreiter, Schmidhuber 1997; Gers, Schmidhuber, Cummins 2000.
#include "activation.cuh"

#define BLOCK 256

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
lstm_gates_forward(real* __restrict__ h, real* __restrict__ c_next, real* __restrict__ gates,
                   const real* __restrict__ given, const real* __restrict__ hidden, const real* __restrict__ c,
                   Divisor by_width, int width, int threads) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    int j = thread;
    const int row = by_width.split(j);  // the width counted in vectors
    const size_t first = (size_t)row * 4 * width + (size_t)j * VEC, state = (size_t)thread * VEC;
    Vector<real, VEC> z[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const Vector<real, VEC> a = load<VEC>(given + first + (size_t)k * width);
        const Vector<real, VEC> b = load<VEC>(hidden + first + (size_t)k * width);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            const real u = a.v[v] + b.v[v];
            z[k].v[v] = k == 2 ? tanh(u) : logistic(u);
        }
        store(gates + first + (size_t)k * width, z[k]);
    }
    Vector<real, VEC> next = load<VEC>(c + state), y;
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        next.v[v] = z[1].v[v] * next.v[v] + z[0].v[v] * z[2].v[v];
        y.v[v] = z[3].v[v] * tanh(next.v[v]);
    }
    store(c_next + state, next);
    store(h + state, y);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
lstm_gates_backward(real* __restrict__ dz, real* __restrict__ dc, const real* __restrict__ dh,
                    const real* __restrict__ dc_next, const real* __restrict__ gates, const real* __restrict__ c,
                    const real* __restrict__ c_next, Divisor by_width, int width, int threads) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    int j = thread;
    const int row = by_width.split(j);
    const size_t first = (size_t)row * 4 * width + (size_t)j * VEC, state = (size_t)thread * VEC;
    const Vector<real, VEC> i = load<VEC>(gates + first), f = load<VEC>(gates + first + width);
    const Vector<real, VEC> g = load<VEC>(gates + first + (size_t)2 * width);
    const Vector<real, VEC> o = load<VEC>(gates + first + (size_t)3 * width);
    const Vector<real, VEC> before = load<VEC>(c + state), after = load<VEC>(c_next + state);
    Vector<real, VEC> dy = {}, carried = {}, di, df, dg, go, back;
    if (dh) dy = load<VEC>(dh + state);
    if (dc_next) carried = load<VEC>(dc_next + state);
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        const real t = tanh(after.v[v]);
        const real d = carried.v[v] + dy.v[v] * o.v[v] * (1 - t * t);
        di.v[v] = d * g.v[v] * i.v[v] * (1 - i.v[v]);
        df.v[v] = d * before.v[v] * f.v[v] * (1 - f.v[v]);
        dg.v[v] = d * i.v[v] * (1 - g.v[v] * g.v[v]);
        go.v[v] = dy.v[v] * t * o.v[v] * (1 - o.v[v]);
        back.v[v] = d * f.v[v];
    }
    store(dz + first, di);
    store(dz + first + width, df);
    store(dz + first + (size_t)2 * width, dg);
    store(dz + first + (size_t)3 * width, go);
    store(dc + state, back);
}
