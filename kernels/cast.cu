// cast.cu: y = x in another type; bools, bytes, whole and floating numbers. Both arrays are passed as bytes.
//   x, y: n elements, contiguous, in the same order
// Launch: one thread per 4 elements, BLOCK apart. Traffic: x once, y once.
// By way of long long for whole numbers and double for floating ones, which both hold every value exactly. float16 and
// bfloat16 come and go by way of float: whole numbers are rounded to that first, doubles once.
#define REAL float  // not used: the types are arguments
#include "common.cuh"
#include "half.cuh"

// The order is that of gpunn/ops/cast.py.
enum { BOOL, UINT8, INT8, INT16, INT32, INT64, FLOAT32, FLOAT64, FLOAT16, BFLOAT16 };
#define EACH 4

template <class T>
__device__ __forceinline__ T read(const unsigned char* x, long long i) {
    return reinterpret_cast<const T*>(x)[i];
}
template <class T, class From>
__device__ __forceinline__ void write(unsigned char* y, long long i, From value) {
    reinterpret_cast<T*>(y)[i] = static_cast<T>(value);
}

__device__ __forceinline__ float short_of(long long value) { return (float)value; }
__device__ __forceinline__ float short_of(float value) { return value; }
__device__ __forceinline__ float short_of(double value) { return to_odd(value); }

template <class From>
__device__ __forceinline__ void put(unsigned char* y, long long i, From value, int to) {
    switch (to) {
        case BOOL: y[i] = value != From(0); break;  // NaN is true
        case UINT8: write<unsigned char>(y, i, static_cast<long long>(value)); break;
        case INT8: write<signed char>(y, i, static_cast<long long>(value)); break;
        case INT16: write<short>(y, i, static_cast<long long>(value)); break;
        case INT32: write<int>(y, i, static_cast<long long>(value)); break;
        case INT64: write<long long>(y, i, value); break;
        case FLOAT32: write<float>(y, i, value); break;
        case FLOAT16: write<unsigned short>(y, i, to_float16(short_of(value))); break;
        case BFLOAT16: write<unsigned short>(y, i, to_bfloat16(short_of(value))); break;
        default: write<double>(y, i, value); break;
    }
}

extern "C" __global__ void cast(unsigned char* __restrict__ y, const unsigned char* __restrict__ x, int to, int from,
                                long long n) {
    const long long first = (long long)blockIdx.x * blockDim.x * EACH + threadIdx.x;
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
        const long long i = first + j * (long long)blockDim.x;
        if (i >= n) continue;
        switch (from) {
            case BOOL:
            case UINT8: put<long long>(y, i, x[i], to); break;
            case INT8: put<long long>(y, i, read<signed char>(x, i), to); break;
            case INT16: put<long long>(y, i, read<short>(x, i), to); break;
            case INT32: put<long long>(y, i, read<int>(x, i), to); break;
            case INT64: put<long long>(y, i, read<long long>(x, i), to); break;
            case FLOAT32: put<float>(y, i, read<float>(x, i), to); break;
            case FLOAT16: put<float>(y, i, from_float16(read<unsigned short>(x, i)), to); break;
            case BFLOAT16: put<float>(y, i, from_bfloat16(read<unsigned short>(x, i)), to); break;
            default: put<double>(y, i, read<double>(x, i), to); break;
        }
    }
}
