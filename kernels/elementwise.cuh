// elementwise.cuh: y[i] = f(x[i]) and y[i] = f(a[i], b[i]), VEC elements a thread; the last ones, which do
// not fill a vector, one by one. y may be one of the inputs. Arrays are of type stored, so that 16-bit ones can be read as
// they are. Launch: one thread per VEC elements, which are 16 bytes: with less under way memory is not busy.
#ifndef GPUNN_ELEMENTWISE_CUH
#define GPUNN_ELEMENTWISE_CUH
#include "stored.cuh"

__device__ __forceinline__ long long my_first_element() {
    return ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VEC;
}

template <class F>
__device__ __forceinline__ void map(stored* y, const stored* x, long long n, F f) {
    const long long first = my_first_element();
    if (first + VEC <= n) {
        Vector<real, VEC> u = load<VEC>(x + first);
#pragma unroll
        for (int j = 0; j < VEC; ++j) u.v[j] = f(u.v[j]);
        store(y + first, u);
    } else {
        for (long long i = first; i < n; ++i) y[i] = f(x[i]);
    }
}

template <class F>
__device__ __forceinline__ void map(stored* y, const stored* a, const stored* b, long long n, F f) {
    const long long first = my_first_element();
    if (first + VEC <= n) {
        Vector<real, VEC> u = load<VEC>(a + first);
        const Vector<real, VEC> w = load<VEC>(b + first);
#pragma unroll
        for (int j = 0; j < VEC; ++j) u.v[j] = f(u.v[j], w.v[j]);
        store(y + first, u);
    } else {
        for (long long i = first; i < n; ++i) y[i] = f(a[i], b[i]);
    }
}

#endif  // GPUNN_ELEMENTWISE_CUH
