// philox.cuh: the random number generator Philox 4x64-10: 256 random bits from a counter and a key.
//
// Counter-based: any block of the stream can be had without those before it, in any order, by any thread.
// The stream is NumPy's (np.random.Philox), bit for bit; gpunn.random.philox_uint32 is the host's twin.
// Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
#ifndef GPUNN_PHILOX_CUH
#define GPUNN_PHILOX_CUH

typedef unsigned long long uint64;

struct PhiloxBlock {
    uint64 word[4];

    // Words of 32 bits, of which a block has eight: the low half of a 64-bit word comes first.
    __device__ __forceinline__ unsigned half(int i) const { return (unsigned)(word[i / 2] >> (i % 2 * 32)); }
};

// The block with counter (index, call, 0, 0).
__device__ __forceinline__ PhiloxBlock philox(uint64 key0, uint64 key1, uint64 call, uint64 index) {
    uint64 c0 = index, c1 = call, c2 = 0, c3 = 0;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64 high0 = __umul64hi(0xd2e7470ee14c6c93ull, c0), low0 = 0xd2e7470ee14c6c93ull * c0;
        const uint64 high1 = __umul64hi(0xca5a826395121157ull, c2), low1 = 0xca5a826395121157ull * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9e3779b97f4a7c15ull;  // the golden ratio and sqrt(3) - 1, as 64-bit fractions
        key1 += 0xbb67ae8584caa73bull;
    }
    return {c0, c1, c2, c3};
}

#endif  // GPUNN_PHILOX_CUH
