// tensor_walk.cuh: what tiles of tensor cores share, whatever their numbers are (mma_tile.cuh, half_tile.cuh): where a tile
// lies, slices of the reduction and who adds them up, and the walk through the stages of shared memory.
// Before it is included: BM, BN, BK; STAGES, STAGE, the numbers of one; `number`, their type; PLACE, by how much the place of
// the next number in shared memory is more: 1, or its bytes.
#ifndef GPUNN_TENSOR_WALK_CUH
#define GPUNN_TENSOR_WALK_CUH
#include "common.cuh"
#include "slices.cuh"
#include "tensor_core.cuh"

// Where a block's tile of C lies: its first row and column. The grid has a block for each, x across and y down. What can be
// asked of the hardware again needs no register during the walk. Neighbours share A's panel, which then comes from the L2
// cache.
struct Tile {
    int top, left;
};
__device__ __forceinline__ Tile this_tile() { return {(int)blockIdx.y * BM, (int)blockIdx.x * BN}; }
__device__ __forceinline__ int tile_number() { return (int)(blockIdx.y * gridDim.x + blockIdx.x); }

enum { PARTIAL = BM * BN };       // numbers that a slice's block leaves behind
enum { FAN = 16, TICKETS = 16 };  // enough for 240 slices; up to FAN of them need one ticket

// Adds up the slices of tile `number`; false in all blocks but one, which has the tile's sums then. The last of each FAN
// slices adds those, and the last of the results those. All threads of the block call it. `inside`: whether any sum of this
// warp goes anywhere. partial (tiles, slices, PARTIAL), fewer than 2^32 numbers; tickets (tiles, TICKETS), or (tiles) for up to
// FAN slices.
// Sums: `void leave(float*)`, `void take(const float*)`, which adds, and `void clear()`.
template <class Sums>
__device__ __forceinline__ bool combine(Sums& sums, float* __restrict__ partial, unsigned* __restrict__ tickets,
                                        const Slices& slices, int number, bool inside) {
    // Of the partial sums and the tickets: as numbers of 32 bits, since all sums are in registers here.
    const unsigned first = (unsigned)(number * slices.count) * PARTIAL;
    unsigned apart = PARTIAL;
    int ticket = slices.count > FAN ? number * TICKETS : number;
    for (int mine = slices.mine, count = slices.count; count > 1;) {
        const int group = mine / FAN, groups = (count + FAN - 1) / FAN, members = min((int)FAN, count - group * FAN);
        if (inside) sums.leave(partial + (first + mine * apart));
        if (!last_block(tickets + ticket + group, members)) return false;
        sums.clear();
        unsigned from = first + group * FAN * apart;
#pragma unroll 1
        for (int s = 0; s < members && inside; ++s, from += apart) sums.take(partial + from);
        mine = group, count = groups, ticket += groups, apart *= FAN;
    }
    return true;
}

// The products of panels A and B over k_begin <= k < k_end, in increasing k. All threads of the block call it.
// A, B: `void seek(int k)`, and `void copy<WHOLE>(number* stages, int panel, int length)`, which starts the copies of the next
// BK of the reduction, or if it is not WHOLE of the next `length` of it, and zeros, to the panel there, and goes on by as many.
template <class Sums, class A, class B>
__device__ __forceinline__ void multiply(Sums& sums, A a, B b, int k_begin, int k_end) {
    DYNAMIC_SHARED(number, stages);
    const int steps = (k_end - k_begin + BK - 1) / BK, first = k_end - k_begin - (steps - 1) * BK;
    sums.clear();
    a.seek(k_begin);
    b.seek(k_begin);
#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) {
        if (s < steps) {
            a.template copy<false>(stages, s * STAGE * PLACE, s == 0 ? first : (int)BK);
            b.template copy<false>(stages, (s * STAGE + BM * BK) * PLACE, s == 0 ? first : (int)BK);
        }
        cp_async_commit();
    }
    const int stage = STAGE * PLACE, last = (STAGES - 1) * stage;
    int now = 0, next = last;
#pragma unroll 1
    for (int s = 0; s < steps; ++s) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  // the copies of this step have arrived for all, and nobody reads the stage that is filled next
        if (s + STAGES - 1 < steps) {
            a.template copy<true>(stages, next, BK);
            b.template copy<true>(stages, next + BM * BK * PLACE, BK);
        }
        cp_async_commit();
        sums.template add_products<A, B>(stages, now, now + BM * BK * PLACE);
        now = now == last ? 0 : now + stage;
        next = next == last ? 0 : next + stage;
    }
}

#endif  // GPUNN_TENSOR_WALK_CUH
