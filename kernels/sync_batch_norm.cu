// sync_batch_norm.cu: mean and variance of all ranks' rows by channel, from those of each rank's own rows.
//   part (width = 2 C + 1): a rank's means, its biased variances, how many rows it has   parts (ranks, width)
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
                     int width) {
    const int C = width / 2, c = blockIdx.x * BLOCK + threadIdx.x;
    if (c >= C) return;
    part[c] = mean[c];
    part[C + c] = var[c];
    if (c == 0) part[width - 1] = real(rows);
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
                        const real* __restrict__ parts, const int* __restrict__ error, int ranks, int width,
                        real momentum) {
    const double share = momentum < 0 && batches ? 1 / double(batches[0] + 1) : double(momentum);
    const int C = width / 2, c = blockIdx.x * BLOCK + threadIdx.x;
    const real* end = parts + (size_t)ranks * width;
    double total = 0;
    for (const real* part = parts; part < end; part += width) total += part[width - 1];
    const bool moves = total > 0 && !failed(error);
    if (c < C) {
        double centre = 0, m2 = 0;
        for (const real* part = parts; part < end; part += width) centre += double(part[width - 1]) * part[c];
        centre /= fmax(total, 1.0);
        for (const real* part = parts; part < end; part += width) {
            const double apart = part[c] - centre;
            m2 += double(part[width - 1]) * (part[C + c] + apart * apart);
        }
        mean[c] = real(centre);
        var[c] = real(m2 / fmax(total, 1.0));
        if (c == 0) count[0] = real(total);
        if (moves) {
            move(running_mean, c, centre, share);
            move(running_var, c, m2 / fmax(total - 1, 1.0), share);
        }
    }
    // Counted by the last block: the others have read the count.
    if (batches && moves && last_block(tickets, gridDim.x) && threadIdx.x == 0) ++batches[0];
}
