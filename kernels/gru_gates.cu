// gru_gates.cu: what gated recurrent units do behind their products: the gates, and the next state.
//   r, z = 1 / (1 + exp(-(given + hidden)));  n = tanh(given + r hidden);  h' = n + z (h - n)
//   given, hidden, gates, dgiven, dhidden (N, 3 H): rows of r, z, n one behind the other;  h, h', dy, dh (N, H)
// Launch: one thread per VEC elements of a state; VEC divides H.
// Traffic: forward given, hidden, gates, h, h' once; backward gates, the last third of hidden, dgiven, dhidden, h, dy,
// dh once.
// Source: Cho and others 2014, arXiv:1406.1078, with r behind the product, as in cuDNN.
#include "activation.cuh"

#define BLOCK 256

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
gru_gates_forward(real* __restrict__ y, real* __restrict__ gates, const real* __restrict__ given,
                  const real* __restrict__ hidden, const real* __restrict__ h, Divisor by_width, int width,
                  int threads) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    int j = thread;
    const int row = by_width.split(j);  // the width counted in vectors
    const size_t first = (size_t)row * 3 * width + (size_t)j * VEC, state = (size_t)thread * VEC;
    Vector<real, VEC> s[3];
#pragma unroll
    for (int k = 0; k < 3; ++k) {
        const Vector<real, VEC> a = load<VEC>(given + first + (size_t)k * width);
        const Vector<real, VEC> b = load<VEC>(hidden + first + (size_t)k * width);
#pragma unroll
        for (int v = 0; v < VEC; ++v)
            s[k].v[v] = k == 2 ? tanh(a.v[v] + s[0].v[v] * b.v[v]) : logistic(a.v[v] + b.v[v]);
        store(gates + first + (size_t)k * width, s[k]);
    }
    Vector<real, VEC> next = load<VEC>(h + state);
#pragma unroll
    for (int v = 0; v < VEC; ++v) next.v[v] = s[2].v[v] + s[1].v[v] * (next.v[v] - s[2].v[v]);
    store(y + state, next);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
gru_gates_backward(real* __restrict__ dgiven, real* __restrict__ dhidden, real* __restrict__ dh,
                   const real* __restrict__ dy, const real* __restrict__ gates, const real* __restrict__ hidden,
                   const real* __restrict__ h, Divisor by_width, int width, int threads) {
    const int thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    int j = thread;
    const int row = by_width.split(j);
    const size_t first = (size_t)row * 3 * width + (size_t)j * VEC, state = (size_t)thread * VEC;
    const size_t last = first + (size_t)2 * width;
    const Vector<real, VEC> r = load<VEC>(gates + first), z = load<VEC>(gates + first + width);
    const Vector<real, VEC> n = load<VEC>(gates + last), b = load<VEC>(hidden + last);
    const Vector<real, VEC> before = load<VEC>(h + state), d = load<VEC>(dy + state);
    Vector<real, VEC> dr, dz, dn, db, back;
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        dn.v[v] = d.v[v] * (1 - z.v[v]) * (1 - n.v[v] * n.v[v]);
        db.v[v] = dn.v[v] * r.v[v];
        dr.v[v] = dn.v[v] * b.v[v] * r.v[v] * (1 - r.v[v]);
        dz.v[v] = d.v[v] * (before.v[v] - n.v[v]) * z.v[v] * (1 - z.v[v]);
        back.v[v] = d.v[v] * z.v[v];
    }
    store(dgiven + first, dr);
    store(dgiven + first + width, dz);
    store(dgiven + last, dn);
    store(dhidden + first, dr);
    store(dhidden + first + width, dz);
    store(dhidden + last, db);
    store(dh + state, back);
}
