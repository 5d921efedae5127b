// bytes.cuh: an element that is moved and never looked at, of BYTES bytes: 16 of them are several neighbours at once.
// Its places are counted in bytes, so that one kernel serves all types.
#ifndef GPUNN_BYTES_CUH
#define GPUNN_BYTES_CUH
#define REAL float  // common.cuh wants a type to compute with; nothing here computes
#include "common.cuh"

#define MAX_RANK 6

#if BYTES == 1
typedef unsigned char element;
#elif BYTES == 2
typedef unsigned short element;
#elif BYTES == 4
typedef unsigned element;
#elif BYTES == 8
typedef unsigned long long element;
#else
typedef Vector<unsigned long long, 2> element;
#endif

__device__ __forceinline__ element take_from(const unsigned char* from, long long at) {
    return *reinterpret_cast<const element*>(from + at);
}
__device__ __forceinline__ void put_into(unsigned char* to, long long at, element value) {
    *reinterpret_cast<element*>(to + at) = value;
}

// The element that holds a bit pattern, which repeats every eight bytes.
__device__ __forceinline__ element of_bits(unsigned long long bits) {
#if BYTES == 16
    return {{bits, bits}};
#else
    return (element)bits;
#endif
}

// The number of this thread, or -1 from n on.
__device__ __forceinline__ int my_number(int n) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    return number < n ? (int)number : -1;
}

#endif  // GPUNN_BYTES_CUH
