// labels.cuh: class indices, of the type LABEL (int32 or int64) that the launcher chooses.
#ifndef GPUNN_LABELS_CUH
#define GPUNN_LABELS_CUH
#include "common.cuh"

typedef int int32;
typedef long long int64;
typedef LABEL label;

// For the report of bad data: the nearest int.
__device__ __forceinline__ int as_int(long long value) {
    return (int)max(min(value, 0x7fffffffLL), -0x80000000LL);
}

#endif  // GPUNN_LABELS_CUH
