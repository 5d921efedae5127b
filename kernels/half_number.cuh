// half_number.cuh: what the kernels of 16-bit numbers compute with. NUMBER says which they are: BFLOAT16 or FLOAT16.
#ifndef GPUNN_HALF_NUMBER_CUH
#define GPUNN_HALF_NUMBER_CUH
#include "common.cuh"
#include "half.cuh"
#include "tensor_core.cuh"

#define BFLOAT16 1
#define FLOAT16 2
#if NUMBER != BFLOAT16 && NUMBER != FLOAT16
#error "NUMBER must be BFLOAT16 or FLOAT16"
#endif

typedef unsigned short number;

__device__ __forceinline__ float value_of(number bits) {
    return NUMBER == BFLOAT16 ? from_bfloat16(bits) : from_float16(bits);
}
// Two rounded to 16 bits, ties to even; `low` in the lower half.
__device__ __forceinline__ unsigned pack(float low, float high) {
    return NUMBER == BFLOAT16 ? pack_bf16(low, high) : pack_f16(low, high);
}
__device__ __forceinline__ number rounded(float value) { return (number)pack(value, 0.0f); }

#endif  // GPUNN_HALF_NUMBER_CUH
