// stored.cuh: arrays of 16-bit numbers for kernels that compute in float. STORED says what an array of type `stored` holds:
// REAL itself (0), or bfloat16 (BFLOAT16) or float16 (FLOAT16), which become float when loaded and are rounded once when stored.
// A kernel that names its arrays `stored` instead of `real` is a kernel of all three; it moves half the bytes.
// PARAMETERS: whether arrays of type `parameter`, such as a scale for each channel, hold the same; else they hold REAL.
#ifndef GPUNN_STORED_CUH
#define GPUNN_STORED_CUH
#include "common.cuh"
#include "tensor_core.cuh"

#define BFLOAT16 1
#define FLOAT16 2

#ifndef STORED
#define STORED 0
#endif
#ifndef PARAMETERS
#define PARAMETERS 0
#endif

#if STORED == 0
typedef real stored;
#else
struct stored {
    unsigned short bits;

    stored() = default;
    __device__ __forceinline__ stored(float value)
        : bits((unsigned short)(STORED == BFLOAT16 ? pack_bf16(value, 0.0f) : pack_f16(value, 0.0f))) {}
    __device__ __forceinline__ operator float() const {
        return STORED == BFLOAT16 ? from_bfloat16(bits) : from_float16(bits);
    }
};

// Of such arrays a vector is one of numbers of type real.
template <int N>
__device__ __forceinline__ Vector<real, N> load(const stored* from) {
    const Vector<stored, N> found = load<N, stored>(from);
    Vector<real, N> values;
#pragma unroll
    for (int j = 0; j < N; ++j) values.v[j] = found.v[j];
    return values;
}

template <int N>
__device__ __forceinline__ void store(stored* to, const Vector<real, N>& values) {
    Vector<stored, N> rounded;
#pragma unroll
    for (int j = 0; j < N; ++j) rounded.v[j] = values.v[j];
    store<stored, N>(to, rounded);
}
#endif

#if PARAMETERS
typedef stored parameter;
#else
typedef real parameter;
#endif

#endif  // GPUNN_STORED_CUH
