// share.cuh: what share one number of rows is of another, for merges of moments in a loop over memory.
#ifndef GPUNN_SHARE_CUH
#define GPUNN_SHARE_CUH
#include "common.cuh"

// part / whole, off by at most two roundings, without the branch and the call of an exact division: those would come
// between the loads of one pass through a loop and of the next. A power of two is divided by itself exactly.
__device__ __forceinline__ float share_of(float part, float whole) {
    return __fdividef(part, whole);
}
__device__ __forceinline__ double share_of(double part, double whole) {
    return part / whole;
}

#endif  // GPUNN_SHARE_CUH
