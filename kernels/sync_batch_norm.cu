// sync_batch_norm.cu: mean and variance of all ranks' rows by channel, from those of each rank's own rows.
//   part (2 C + 1): a rank's means, its biased variances, how many rows it has   parts (ranks, 2 C + 1)
//   mean, var, running_mean, running_var (C)   count (1): all rows   tickets (1) of zeros
//   mean = sum of rows[r] mean[r] / count;  var = sum of rows[r] (var[r] + (mean[r] - mean)^2) / count
// Launch: a thread a channel, blocks of BLOCK threads.
// Traffic: parts twice, of which the second time comes from a cache; the rest once.
// Every rank computes the same from the same parts, in the ranks' order: the bits are alike on all. In double, as there
// are few numbers. Rows are counted in `real`: from 2^24 on a count is off by no more than any other rounding.
// Source: Chan, Golub, LeVeque 1979, Stanford STAN-CS-79-773.
#include "common.cuh"

#define BLOCK 128

extern "C" __global__ void __launch_bounds__(BLOCK)
sync_batch_norm_pack(real* __restrict__ part, const real* __restrict__ mean, const real* __restrict__ var, int rows,
                     int C) {
    const int c = blockIdx.x * BLOCK + threadIdx.x;
    if (c >= C) return;
    part[c] = mean[c];
    part[(size_t)C + c] = var[c];
    if (c == 0) part[2 * (size_t)C] = real(rows);
}

// Moves a channel of a running estimate by `share` of the way, if there is one.
__device__ __forceinline__ void move(real* running, int c, double towards, double share) {
    if (running) running[c] = real((1 - share) * running[c] + share * towards);
}

// momentum < 0 stands for 1 / batches: the plain average over all batches, this one included. No rows change nothing.
extern "C" __global__ void __launch_bounds__(BLOCK)
sync_batch_norm_combine(real* __restrict__ mean, real* __restrict__ var, real* __restrict__ count,
                        INOUT real* __restrict__ running_mean, INOUT real* __restrict__ running_var,
                        INOUT long long* __restrict__ batches, INOUT unsigned* __restrict__ tickets,
                        const real* __restrict__ parts, const int* __restrict__ error, int ranks, int C,
                        real momentum) {
    const size_t width = 2 * (size_t)C + 1;
    const double share = momentum < 0 && batches ? 1 / double(batches[0] + 1) : double(momentum);
    const real* rows = parts + 2 * (size_t)C;
    double total = 0;
    int first = 0;  // the last rank with rows: means are added up as differences from its, which lose no digits
    for (int r = 0; r < ranks; ++r) {
        total += rows[r * width];
        if (rows[r * width] > 0) first = r;
    }
    const double divisor = total > 0 ? total : 1;
    const bool moves = total > 0 && !failed(error);
    const int c = blockIdx.x * BLOCK + threadIdx.x;
    if (c < C) {
        const real* own = parts + c;
        const double base = own[first * width];
        double apart = 0, m2 = 0;
        for (int r = 0; r < ranks; ++r) apart += double(rows[r * width]) * (own[r * width] - base);
        const double centre = base + apart / divisor;
        for (int r = 0; r < ranks; ++r) {
            const double away = own[r * width] - centre;
            m2 += double(rows[r * width]) * (own[r * width + C] + away * away);
        }
        mean[c] = real(centre);
        var[c] = real(m2 / divisor);
        if (c == 0) count[0] = real(total);
        if (moves) {
            move(running_mean, c, centre, share);
            move(running_var, c, m2 / (total > 1 ? total - 1 : 1), share);
        }
    }
    // Counted by the last block: the others have read the count.
    if (batches && moves && last_block(tickets, gridDim.x) && threadIdx.x == 0) ++batches[0];
}
