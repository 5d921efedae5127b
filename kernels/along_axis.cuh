// along_axis.cuh: lines of an array (outer, length, inner) along its middle axis: which elements of one a thread
// has, and maxima and sums over all of them, the same bits in each of the line's threads.
//   inner = 1, rows: block = (32, rows), a warp for each row, or (threads, 1), a block for each row
//   inner > 1, columns (VEC = 1): block = (lines, threads of each line), grid = outer times the tiles of inner
// A thread has VEC elements at a time and HELD such vectors in registers. A line with more is gone through in
// chunks, and read again for every pass.
#ifndef GPUNN_ALONG_AXIS_CUH
#define GPUNN_ALONG_AXIS_CUH
#include "common.cuh"

#define BLOCK 512                  // threads of a block, at most
#define HELD (VEC == 1 ? 8 : 4)

struct Line {
    size_t offset, stride;         // of its first element; from one element to the next
    unsigned length, first, step;  // 0 where there is no line; the thread's first element; from vector to vector
};

__device__ __forceinline__ Line my_line(long long outer, int length, int inner) {
    if (VEC > 1 || inner == 1) {
        const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
        return {(size_t)row * length, 1, row < outer ? (unsigned)length : 0u, threadIdx.x * VEC, blockDim.x * VEC};
    }
    const unsigned tiles = (inner + blockDim.x - 1) / blockDim.x;
    const unsigned column = blockIdx.x % tiles * blockDim.x + threadIdx.x;
    return {(size_t)(blockIdx.x / tiles) * length * inner + column, (size_t)inner,
            column < (unsigned)inner ? (unsigned)length : 0u, threadIdx.y, blockDim.y};
}

// f(j, i) for each of the thread's vectors: the jth of its chunk, i where it lies. With Held there is one chunk.
template <bool Held, class F>
__device__ __forceinline__ void for_each_vector(const Line& at, F f) {
    unsigned chunk = 0;
    do {
#pragma unroll
        for (int j = 0; j < HELD; ++j) {
            const unsigned start = chunk + j * at.step;
            if (start >= at.length) break;  // for all threads of the line
            if (start + at.first < at.length) f(j, at.offset + (start + at.first) * at.stride);
        }
        chunk += HELD * at.step;
    } while (!Held && chunk < at.length);
}

// What a thread adds up in: a few numbers in their own type, those of a long line in double.
template <bool Held>
struct Total {
    typedef real type;
};
template <>
struct Total<false> {
    typedef double type;
};

template <int Slot>
__device__ __forceinline__ real column_sum(real value) {
    __shared__ real partial[BLOCK];
    partial[threadIdx.y * blockDim.x + threadIdx.x] = value;
    __syncthreads();
    real sum = partial[threadIdx.x];
    for (unsigned y = 1; y < blockDim.y; ++y) sum += partial[y * blockDim.x + threadIdx.x];
    return sum;
}

__device__ __forceinline__ real column_max(real value) {
    __shared__ real partial[BLOCK];
    partial[threadIdx.y * blockDim.x + threadIdx.x] = value;
    __syncthreads();
    for (unsigned y = 0; y < blockDim.y; ++y) value = nan_max(value, partial[y * blockDim.x + threadIdx.x]);
    return value;
}

// Over the threads of one line; all threads of the block must call them.
__device__ __forceinline__ real line_max(const Line& at, real value) {
    if (VEC == 1 && at.stride > 1) return blockDim.y == 1 ? value : column_max(value);
    return blockDim.x == WARP ? warp_max(value) : block_max<0>(value);
}
template <int Slot>
__device__ __forceinline__ real line_sum(const Line& at, real value) {
    if (VEC == 1 && at.stride > 1) return blockDim.y == 1 ? value : column_sum<Slot>(value);
    return blockDim.x == WARP ? warp_sum(value) : block_sum<Slot>(value);
}

#endif  // GPUNN_ALONG_AXIS_CUH
