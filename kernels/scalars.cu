// scalars.cu: writes a few words to the device that the host carries in the launch itself. Outside a
// captured step, before each replay: this is how a frozen graph sees a new learning rate.
//   to: `count` 32-bit words
// Launch: one warp.
#define REAL float
#include "common.cuh"

struct Words {
    unsigned word[32];
};

extern "C" __global__ void write_words(unsigned* __restrict__ to, Words words, int count) {
    if ((int)threadIdx.x < count) to[threadIdx.x] = words.word[threadIdx.x];
}
