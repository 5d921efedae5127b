// slices.cuh: what all tiles of products share: how a reduction is cut, and where a result that is a matrix lies.
// Before it is included: BK.
#ifndef GPUNN_SLICES_CUH
#define GPUNN_SLICES_CUH
#include "common.cuh"

// A reduction over 0 <= k < length, cut into slices of whole BK steps, so that vectors do not straddle.
struct Slices {
    int count, mine;
    __device__ __forceinline__ void range(int length, int& k_begin, int& k_end) const {
        const int steps = (length + BK - 1) / BK, each = (steps + count - 1) / count;
        k_begin = min(length, mine * each * BK);
        k_end = min(length, k_begin + each * BK);
    }
};

// Where C is a matrix: element (m, n) at c[start + m * stride + n].
struct MatrixTarget {
    size_t start, stride;
    int rows;
    __device__ __forceinline__ bool find(int m, size_t& at) const {
        at = start + m * stride;
        return m < rows;
    }
};

#endif  // GPUNN_SLICES_CUH
