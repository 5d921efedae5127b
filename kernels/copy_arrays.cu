// copy_arrays.cu: to[k] = from[k], up to 8 arrays of any dtype in one launch: the inputs of a captured step, before each
// replay.
//   to, from: bytes[k] bytes each, contiguous, not overlapping
// Launch: blocks of 256 threads, 16 bytes a thread; array k has those from first_block[k] on, at least one.
// Traffic: each array read once and written once.
#define REAL float
#include "common.cuh"

#define ARRAYS 8
#define BLOCK 256
#define EACH 16

struct Copies {
    unsigned char* to[ARRAYS];
    const unsigned char* from[ARRAYS];
    long long bytes[ARRAYS];
    int first_block[ARRAYS];
    int count;
};

extern "C" __global__ void __launch_bounds__(BLOCK) copy_arrays(Copies copies) {
    int k = 0;
    while (k + 1 < copies.count && copies.first_block[k + 1] <= (int)blockIdx.x) ++k;
    const long long bytes = copies.bytes[k];
    const long long start = ((long long)((int)blockIdx.x - copies.first_block[k]) * BLOCK + threadIdx.x) * EACH;
    if (start >= bytes) return;
    unsigned char* to = copies.to[k] + start;
    const unsigned char* from = copies.from[k] + start;
    if (start + EACH <= bytes && ((unsigned long long)to | (unsigned long long)from) % EACH == 0) {
        store((real*)to, load<4>((const real*)from));
        return;
    }
    const int rest = (int)min((long long)EACH, bytes - start);
    for (int i = 0; i < rest; ++i) to[i] = from[i];
}
