// broadcast.cuh: where an element of each operand lies, when operands are repeated to one shape (NumPy's rules).
//
// The host has joined neighbouring axes along which the same operands are repeated, so that nearly everything has
// one axis (one shape, or a number) or two (a vector for the columns, a vector for the rows).
// A thread works on WIDTH elements that lie side by side along the last axis.
#ifndef GPUNN_BROADCAST_CUH
#define GPUNN_BROADCAST_CUH
#include "numbers.cuh"

#define AXES 6

// N operands; the last of the AXES are in use.
template <int N>
struct Broadcast {
    long long stride[N][AXES];  // elements from one place to the next, 0 where the operand is repeated; last: 0 or 1
    Divisor length[AXES];       // of the last axis: in pieces of WIDTH
    int axes, wide;             // wide: WIDTH is 4, else 1
};

__device__ __forceinline__ long long my_piece() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}

// at[k]: where the piece begins in operand k. With several axes there are fewer than 2^31 pieces.
template <int WIDTH, int N>
__device__ __forceinline__ void locate(const Broadcast<N>& shape, long long piece, long long (&at)[N]) {
    if (shape.axes == 1) {
#pragma unroll
        for (int k = 0; k < N; ++k) at[k] = piece * WIDTH * shape.stride[k][AXES - 1];
        return;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) at[k] = 0;
    int rest = (int)piece;
#pragma unroll
    for (int d = AXES - 1; d >= 0; --d) {  // to the end, so that every index into `shape` is a constant
        if (d < AXES - shape.axes) continue;
        int index = rest;
        rest = shape.length[d].split(index);
#pragma unroll
        for (int k = 0; k < N; ++k)
            at[k] += (long long)index * (d == AXES - 1 ? WIDTH : 1) * shape.stride[k][d];
    }
}

// The piece of an operand: side by side, or one element repeated; `number` where there is no array.
template <int WIDTH>
__device__ __forceinline__ Vector<real, WIDTH> fetch(const real* from, real number, long long at, long long step) {
    Vector<real, WIDTH> u;
    if (from != nullptr && step != 0) return load<WIDTH>(from + at);
    const real same = from != nullptr ? from[at] : number;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) u.v[j] = same;
    return u;
}

#endif  // GPUNN_BROADCAST_CUH
