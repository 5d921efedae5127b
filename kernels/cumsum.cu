// cumsum.cu: running sums of rows: y[r, i] = x[r, 0] + ... + x[r, i]; backwards: x[r, i] + ... + x[r, length - 1].
//   x, y (rows, length), contiguous   sums (rows, chunks): the sum of each CHUNK elements, or null for one chunk
// Of a row with several chunks, chunk_sums comes first; a block of running_sum then adds up the chunks before its own. No
// block waits for another, and the order of the additions depends on the length alone. What is not finite reaches the
// sums behind it and no others.
// Launch: a block of 256 for each chunk. Traffic: x twice (once if there is one chunk), y once; chunks^2 / 2 sums a row.
// real is also int, int64 and uint8.
#include "numbers.cuh"

#define THREADS 256
#define EACH 4  // elements of a thread, one behind the other
#define CHUNK (THREADS * EACH)

// Where element i, counted in the direction of the sums, lies in a row.
__device__ __forceinline__ long long place(long long i, long long length, int backwards) {
    return backwards ? length - 1 - i : i;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    chunk_sums(real* __restrict__ sums, const real* __restrict__ x, long long length, int chunks, int backwards) {
    const long long row = blockIdx.x / chunks, first = (long long)(blockIdx.x % chunks) * CHUNK + threadIdx.x * EACH;
    real sum = 0;
    for (int j = 0; j < EACH; ++j)
        if (first + j < length) sum += x[row * length + place(first + j, length, backwards)];
    sum = block_sum<0>(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    running_sum(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ sums, long long length,
                int chunks, int backwards) {
    __shared__ real of_warp[THREADS / WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, chunk = blockIdx.x % chunks;
    const long long row = blockIdx.x / chunks, first = (long long)chunk * CHUNK + threadIdx.x * EACH;
    real before = 0;
    if (chunks > 1) {
        for (int c = threadIdx.x; c < chunk; c += THREADS) before += sums[row * chunks + c];
        before = block_sum<0>(before);
    }
    real held[EACH], mine = 0;
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
        held[j] = first + j < length ? x[row * length + place(first + j, length, backwards)] : real(0);
        mine += held[j];
    }
    // What the threads of the warp have up to this one, then what those before it have.
    real sum = mine;
#pragma unroll
    for (int offset = 1; offset < WARP; offset *= 2) {
        const real other = __shfl_up_sync(FULL_MASK, sum, offset);
        if (lane >= offset) sum += other;
    }
    if (lane == WARP - 1) of_warp[warp] = sum;
    const real lower = __shfl_up_sync(FULL_MASK, sum, 1);
    __syncthreads();
    for (int w = 0; w < warp; ++w) before += of_warp[w];
    if (lane > 0) before += lower;
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
        before += held[j];
        if (first + j < length) y[row * length + place(first + j, length, backwards)] = before;
    }
}
