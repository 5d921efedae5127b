// numbers.cuh: for kernels whose `real` is any number, whole ones too: names for REAL without a space in them.
#ifndef GPUNN_NUMBERS_CUH
#define GPUNN_NUMBERS_CUH

typedef long long int64;
typedef unsigned char uint8;

template <class T>
constexpr bool FLOATING = T(0.5) != T(0);

#include "common.cuh"

#endif  // GPUNN_NUMBERS_CUH
