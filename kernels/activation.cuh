// activation.cuh: the functions that several activations are made of.
#ifndef GPUNN_ACTIVATION_CUH
#define GPUNN_ACTIVATION_CUH
#include "elementwise.cuh"

// 1 / (1 + exp(-u)). exp overflows to infinity far below 0, which gives 0.
__device__ __forceinline__ real logistic(real u) {
    return 1 / (1 + exp(-u));
}

// log(1 + exp(-|u|)): what softplus and log-sigmoid add to their straight lines; between 0 and log 2.
__device__ __forceinline__ real bend(real u) {
    return log1p(exp(-fabs(u)));
}

#endif  // GPUNN_ACTIVATION_CUH
