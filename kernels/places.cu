// places.cu: what indices need before anything is picked by them.
//   check_index: places[i] = index[i], counted from the end where it is negative; one out of range is reported as bad
//                data and becomes 0, so that no later kernel leaves its arrays
//   fold_index:  places[i] = total[i] + stride index[i]: one number for several indices
//   mark_last:   last[s] = the largest i + 1 of all i with slots[i] = s; 0, as last has come, where there is none
//   index (n) int32 or int64   places, total (n) int64
// Launch: one thread per index, 256 a block.
// Traffic: each array once.
#define REAL float
#include "labels.cuh"

extern "C" __global__ void check_index(long long* __restrict__ places, INOUT int* __restrict__ error,
                                       const label* __restrict__ index, long long length, int negative, int layer,
                                       int n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const long long given = index[i];
    const bool valid = given < length && given >= (negative ? -length : 0);
    if (!valid) report_bad_data(error, layer, (int)i, as_int(given), 3);
    places[i] = !valid ? 0 : given < 0 ? given + length : given;
}

extern "C" __global__ void fold_index(long long* __restrict__ places, const long long* __restrict__ total,
                                      const long long* __restrict__ index, long long stride, int n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) places[i] = (total ? total[i] : 0) + stride * index[i];
}

extern "C" __global__ void mark_last(INOUT int* __restrict__ last, const long long* __restrict__ slots, int n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicMax(&last[slots[i]], (int)i + 1);  // whole numbers: the same whoever comes first
}
