// windows.cuh: what the kernels of average and adaptive pooling share: where a thread works, which inputs an output
// sees and which outputs see an input, and a reduction down the rows of a block of threads.
//   x (N, H, W, C)   y (N, P, Q, C)
#ifndef GPUNN_WINDOWS_CUH
#define GPUNN_WINDOWS_CUH
#include "stored.cuh"

#define BLOCK 256  // threads of a block, at most

struct Span {
    int first, last;  // from first to before last
    __device__ __forceinline__ int length() const { return last - first; }
};

struct Place {
    int n, row, column, c;  // image, pixel, and the number of the vector (or tile) of channels
};

// Threads or blocks spread over (N, height, width, channels), the last fastest.
struct Spread {
    Divisor by_channels, by_width, by_height;
    __device__ __forceinline__ Place place(int number) const {
        Place at;
        at.c = number;
        at.column = by_channels.split(at.c);
        at.row = by_width.split(at.column);
        at.n = by_height.split(at.row);
        return at;
    }
};

// Output p of P sees rows floor(p H / P) to ceil((p + 1) H / P); so row h is seen by the outputs from
// floor(h P / H) to ceil((h + 1) P / H). Columns likewise.
struct AdaptiveWindows {
    int H, W, C, P, Q;
    int wide;  // whether H P or W Q do not fit into 31 bits
    Spread over;
    Divisor by_H, by_W, by_P, by_Q;

    __device__ __forceinline__ Span scaled(int i, int times, const Divisor& by) const {
        if (wide)
            return {(int)((long long)i * times / by.value), (int)(((i + 1LL) * times - 1) / by.value) + 1};
        return {by.quotient(i * times), by.quotient((i + 1) * times - 1) + 1};
    }
    __device__ __forceinline__ Span rows(int p) const { return scaled(p, H, by_P); }
    __device__ __forceinline__ Span columns(int q) const { return scaled(q, W, by_Q); }
    __device__ __forceinline__ Span seen_from_rows(int h) const { return scaled(h, P, by_H); }
    __device__ __forceinline__ Span seen_from_columns(int w) const { return scaled(w, Q, by_W); }
    __device__ __forceinline__ real count(int p, int q) const {
        return real(rows(p).length()) * real(columns(q).length());
    }
};

// The elements of a window that one thread of a block takes: every blockDim.y-th from threadIdx.y, row by row.
// The calls are f(h, w).
template <class F>
__device__ __forceinline__ void my_elements(Span rows, Span columns, F f) {
    const int width = columns.length(), count = rows.length() * width;
    const int down = blockDim.y / width, across = blockDim.y % width;
    int h = rows.first + (int)threadIdx.y / width, w = (int)threadIdx.y % width;
#pragma unroll 4
    for (int i = threadIdx.y; i < count; i += blockDim.y) {
        f(h, columns.first + w);
        h += down;
        w += across;
        if (w >= width) w -= width, ++h;
    }
}

// merge(a, b) over the threads of each column of the block, always in the same order; the result is right where
// threadIdx.y is 0. `room` has one place a thread. All threads must call it, once.
template <class T, class Merge>
__device__ __forceinline__ T over_thread_rows(T mine, T* room, Merge merge) {
    const int place = threadIdx.y * blockDim.x + threadIdx.x;
    room[place] = mine;
    for (int rows = blockDim.y; rows > 1;) {
        const int half = (rows + 1) / 2;
        __syncthreads();
        if ((int)threadIdx.y + half < rows) room[place] = mine = merge(mine, room[place + half * blockDim.x]);
        rows = half;
    }
    return mine;
}

#endif  // GPUNN_WINDOWS_CUH
