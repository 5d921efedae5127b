// reduce.cuh: the middle axis of (outer, length, inner) reduced to one element, in an order that depends on nothing
// but the shape. What reducing means is an Op:
//
//   State                            what is known of some elements
//   State none()                     of no element
//   void take(State&, real x, real beside, long long place)   one more
//   void merge(State&, State)        others'; both orders give the same bits
//   State across(State, int lanes)   that of the lane whose number differs in the bit `lanes`
//
// `beside` comes from an array (outer, inner), or is 0. A long axis is cut into gridDim.y slices, whose states are
// reduced by a second launch.
#ifndef GPUNN_REDUCE_CUH
#define GPUNN_REDUCE_CUH
#include "numbers.cuh"

#define BLOCK 256  // threads, at most

// inner = 1. Row = blockIdx.x * blockDim.y + threadIdx.y; its blockDim.x threads, a power of two, all get the state.
// blockDim.y is 1 if they are more than a warp. `shared` has WARP states.
template <class Op>
__device__ __forceinline__ typename Op::State row_state(const Op& op, typename Op::State* shared, const real* x,
                                                         const real* beside, int outer, long long length,
                                                         long long per_slice) {
    typedef typename Op::State State;
    const int row = blockIdx.x * blockDim.y + threadIdx.y, step = blockDim.x * VEC;
    State mine[VEC];
#pragma unroll
    for (int v = 0; v < VEC; ++v) mine[v] = op.none();
    if (row < outer) {
        const real known = beside != nullptr ? beside[row] : real(0);
        const real* from = x + row * length;
        const long long begin = blockIdx.y * per_slice, end = min(length, begin + per_slice);
        for (long long i = begin + threadIdx.x * VEC; i < end; i += step) {
            const Vector<real, VEC> u = load<VEC>(from + i);
#pragma unroll
            for (int v = 0; v < VEC; ++v) op.take(mine[v], u.v[v], known, i + v);
        }
    }
#pragma unroll
    for (int v = 1; v < VEC; ++v) op.merge(mine[0], mine[v]);
    State all = mine[0];
    const int threads = blockDim.x, lane = threadIdx.x % WARP;
    for (int lanes = min(threads, WARP) / 2; lanes > 0; lanes /= 2) op.merge(all, op.across(all, lanes));
    if (threads > WARP) {
        if (lane == 0) shared[threadIdx.x / WARP] = all;
        __syncthreads();
        all = lane < threads / WARP ? shared[lane] : op.none();
        for (int lanes = WARP / 2; lanes > 0; lanes /= 2) op.merge(all, op.across(all, lanes));
    }
    return all;
}

// Which of the outer x inner results a thread works on.
struct Columns {
    int outer, column;  // the first of VEC side by side
    long long at;       // in an array (outer, inner)
};

__device__ __forceinline__ Columns my_columns(Divisor tiles, int inner) {
    int tile = blockIdx.x;
    const int outer = tiles.split(tile), column = (tile * blockDim.x + threadIdx.x) * VEC;
    return {outer, column, (long long)outer * inner + column};
}

// inner > 1: threads side by side take VEC columns each, threadIdx.y takes every blockDim.y-th (a power of two) place
// along the axis. The states are in mine[] where threadIdx.y is 0. `shared` has BLOCK * VEC states.
template <class Op>
__device__ __forceinline__ void column_states(const Op& op, typename Op::State (&mine)[VEC],
                                               typename Op::State* shared, const real* x, const real* beside,
                                               const Columns& here, long long length, int inner,
                                               long long per_slice) {
#pragma unroll
    for (int v = 0; v < VEC; ++v) mine[v] = op.none();
    if (here.column < inner) {
        real known[VEC];
#pragma unroll
        for (int v = 0; v < VEC; ++v) known[v] = beside != nullptr ? beside[here.at + v] : real(0);
        const long long begin = blockIdx.y * per_slice, end = min(length, begin + per_slice);
        const real* from = x + here.outer * length * inner + here.column;
        for (long long i = begin + threadIdx.y; i < end; i += blockDim.y) {
            const Vector<real, VEC> u = load<VEC>(from + i * inner);
#pragma unroll
            for (int v = 0; v < VEC; ++v) op.take(mine[v], u.v[v], known[v], i);
        }
    }
    const int threads = blockDim.x * blockDim.y, me = threadIdx.y * blockDim.x + threadIdx.x;
    for (int rows = blockDim.y / 2; rows > 0; rows /= 2) {
        // Who has no more to give gives; those below take. v * threads: neighbours in neighbouring banks.
        if ((int)threadIdx.y >= rows && (int)threadIdx.y < 2 * rows) {
#pragma unroll
            for (int v = 0; v < VEC; ++v) shared[v * threads + me] = mine[v];
        }
        __syncthreads();
        if ((int)threadIdx.y < rows) {
#pragma unroll
            for (int v = 0; v < VEC; ++v) op.merge(mine[v], shared[v * threads + me + rows * blockDim.x]);
        }
    }
}

#endif  // GPUNN_REDUCE_CUH
