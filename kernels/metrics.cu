// metrics.cu: totals += (loss * rows, rows whose first largest logit is the label's, rows).
//   logits (rows, columns)   labels (rows)   loss: one number, the batch mean   totals (4), double: the fourth counts
//   batches   error: the device's error buffer, which stops the counting once set. A loss that is not finite sets it, in
//   the name of `place`, unless that is negative; an optimiser's step that comes later then changes nothing.
// Launch: one block, a warp for each row. One block keeps the order of the sum, and it is small beside the step.
// Traffic: logits and labels once.
#include "common.cuh"

#define BLOCK 512

typedef int int32;
typedef long long int64;
typedef LABEL label;

// Whether a comes before b in a search for the maximum: NaN counts as largest, as in argmax.
__device__ __forceinline__ bool larger(real a, real b) {
    return a > b || (a != a && b == b);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
update_metrics(INOUT double* __restrict__ totals, const real* __restrict__ loss, const real* __restrict__ logits,
               const label* __restrict__ labels, INOUT int* __restrict__ error, int rows, int columns, int place) {
    __shared__ int correct[BLOCK / WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    int mine = 0;
    for (int row = warp; row < rows; row += BLOCK / WARP) {
        const real* scores = logits + (size_t)row * columns;
        int best = min(lane, columns);  // of equals the first; `columns` stands for none
        real score = lane < columns ? scores[lane] : -INFINITY;
        for (int c = lane + WARP; c < columns; c += WARP) {
            const real other = scores[c];
            if (larger(other, score)) score = other, best = c;
        }
        for (int offset = WARP / 2; offset > 0; offset /= 2) {
            const real other = __shfl_xor_sync(FULL_MASK, score, offset);
            const int at = __shfl_xor_sync(FULL_MASK, best, offset);
            if (larger(other, score) || (at < best && !larger(score, other))) score = other, best = at;
        }
        mine += best == labels[row];
    }
    if (lane == 0) correct[warp] = mine;
    __syncthreads();
    if (threadIdx.x > 0 || failed(error)) return;
    if (place >= 0 && !isfinite(loss[0])) {
        report_bad_data(error, place, (int)totals[3], __float_as_int((float)loss[0]), 4);
        return;
    }
    int sum = 0;
    for (int i = 0; i < BLOCK / WARP; ++i) sum += correct[i];
    totals[0] += (double)loss[0] * rows;
    totals[1] += sum;
    totals[2] += rows;
    totals[3] += 1;
}
