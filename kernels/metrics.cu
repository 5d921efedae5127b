// metrics.cu: totals += (loss * rows, rows whose first largest logit is the label's, rows).
//   logits (rows, columns)   labels (rows), int64   loss: one number, the batch mean   totals (3), double
// Launch: one block. Small and in the shadow of the step; one block keeps the sum's order.
// Traffic: logits and labels once.
#include "common.cuh"

#define BLOCK 256

extern "C" __global__ void __launch_bounds__(BLOCK)
update_metrics(INOUT double* __restrict__ totals, const real* __restrict__ loss, const real* __restrict__ logits,
               const long long* __restrict__ labels, int rows, int columns) {
    __shared__ int correct[BLOCK];
    int mine = 0;
    for (int row = threadIdx.x; row < rows; row += BLOCK) {
        const real* scores = logits + (size_t)row * columns;
        int best = 0;  // of equals the first; a NaN counts as largest, as in argmax
        for (int c = 1; c < columns; ++c)
            if (scores[c] > scores[best] || (scores[c] != scores[c] && scores[best] == scores[best])) best = c;
        mine += best == labels[row];
    }
    correct[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
        int sum = 0;
        for (int i = 0; i < BLOCK; ++i) sum += correct[i];
        totals[0] += (double)loss[0] * rows;
        totals[1] += sum;
        totals[2] += rows;
    }
}
