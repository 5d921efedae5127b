// combine.cu: out[i] = act(sum over s of partial[s][i] + bias[i mod columns]), s in increasing order:
// the second half of every split reduction, the same bits every time.
//   partial (slices, n)   out (n)   bias (columns) or null
// Launch: one thread per VEC elements of out. Traffic: partial once, out once.
#include "common.cuh"

extern "C" __global__ void combine(real* __restrict__ out, const real* __restrict__ partial,
                                   const real* __restrict__ bias, int slices, long long n, int columns, int relu) {
    const long long first = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VEC;
    if (first >= n) return;  // VEC divides n
    Vector<real, VEC> sum = load<VEC>(partial + first);
    for (int s = 1; s < slices; ++s) {
        const Vector<real, VEC> u = load<VEC>(partial + s * n + first);
#pragma unroll
        for (int j = 0; j < VEC; ++j) sum.v[j] += u.v[j];
    }
#pragma unroll
    for (int j = 0; j < VEC; ++j) {
        if (bias != nullptr) sum.v[j] += bias[(first + j) % columns];
        if (relu && sum.v[j] < 0) sum.v[j] = 0;
    }
    store(out + first, sum);
}
