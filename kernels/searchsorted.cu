// searchsorted.cu: found[r, j] = how many elements of the sorted row r are less than values[r, j]; right: or equal to it.
//   found, values (rows, each)   rows (rows, length), in order; NaN is behind all numbers
// Launch: one thread per value, 256 a block. Traffic: values and found once; log2(length) + 1 elements of the row for
// each value, of which neighbours share the first.
// real is also int, int64 and uint8.
#include "numbers.cuh"

__device__ __forceinline__ bool less(real a, real b) { return a < b || (b != b && a == a); }

extern "C" __global__ void __launch_bounds__(256)
    searchsorted(int64* __restrict__ found, const real* __restrict__ rows, const real* __restrict__ values,
                 long long length, long long each, int right, long long total) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= total) return;
    const real* row = rows + number / each * length;
    const real value = values[number];
    long long low = 0, high = length;
    while (low < high) {
        const long long middle = low + (high - low) / 2;
        if (right ? !less(value, row[middle]) : less(row[middle], value)) low = middle + 1;
        else high = middle;
    }
    found[number] = low;
}
