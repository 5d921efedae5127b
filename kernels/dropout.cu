// dropout.cu: y = x / (1 - p) where the element's random word is at least p 2^32, else 0 x.
//   x, y: n elements; images are stored (N, H, W, C) and numbered in logical order, (N, C, H, W)
// Launch: one thread for each block of eight words. dropout: along the elements. dropout_images: threadIdx.x
// along C, so that a warp touches neighbours in memory, threadIdx.y along the blocks of one channel's plane;
// grid = (N, blocks, channels).
// Traffic: x and y once. No mask is stored: backward is the same kernel with dy for x. dropout: the eight elements of a
// block are two vectors. Were both one thread's, each access of a warp would ask for halves of sectors. So neighbours
// share their blocks: they exchange four words, and touch first the even one's eight elements, then the odd one's.
// Source: Srivastava et al. 2014, "Dropout"; lecture topic L9.
#include "common.cuh"
#include "philox.cuh"

struct Draw {
    uint64 key0, key1;   // of the generator
    uint64 index;        // of the mask, from base[0] on
    uint64 threshold;    // p 2^32: up to 2^32, which no word reaches
};

// The eight words of logical elements 8 block to 8 block + 7. NumPy counts a block before using it, hence + 1.
__device__ __forceinline__ PhiloxBlock words(const Draw& draw, const uint64* base, uint64 block) {
    return philox(draw.key0, draw.key1, base[0] + draw.index, block + 1);
}

// Times 0, not a choice: a NaN stays a NaN, as in PyTorch.
__device__ __forceinline__ real dropped(real x, unsigned word, uint64 threshold, real scale) {
    return x * (word >= threshold ? scale : real(0));
}

extern "C" __global__ void dropout(real* __restrict__ y, const real* __restrict__ x,
                                   const unsigned long long* __restrict__ base, Draw draw, real scale, long long n) {
    const uint64 block = (uint64)blockIdx.x * blockDim.x + threadIdx.x;
    const long long first = block * 8;
    const PhiloxBlock random = words(draw, base, block);
    const int odd = threadIdx.x % 2;
    const long long pair = first - odd * 8;  // of both neighbours: the even one's first element
    unsigned word[2][4];                     // for a vector of the even one's elements, and one of the odd one's
    if (VEC == 4) {
#pragma unroll
        for (int v = 0; v < 4; ++v) {
            const unsigned left = random.half(v), right = random.half(4 + v);
            const unsigned other = __shfl_xor_sync(FULL_MASK, odd ? left : right, 1);
            word[0][v] = odd ? other : left;
            word[1][v] = odd ? right : other;
        }
    }
    if (VEC == 4 && pair + 16 <= n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const long long at = pair + half * 8 + odd * 4;
            Vector<real, 4> u = load<4>(x + at);
#pragma unroll
            for (int v = 0; v < 4; ++v) u.v[v] = dropped(u.v[v], word[half][v], draw.threshold, scale);
            store(y + at, u);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i < n) y[first + i] = dropped(x[first + i], random.half(i), draw.threshold, scale);
    }
}

// A plane of `plane` = H W elements begins anywhere in a block: `blocks` of them cover every plane.
extern "C" __global__ void dropout_images(real* __restrict__ y, const real* __restrict__ x,
                                          const unsigned long long* __restrict__ base, Draw draw, real scale,
                                          int plane, int C, int blocks) {
    const int c = blockIdx.z * blockDim.x + threadIdx.x, k = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= C || k >= blocks) return;
    const size_t image = blockIdx.x;
    const uint64 first = (image * C + c) * plane, block = first / 8 + k;
    const PhiloxBlock random = words(draw, base, block);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const long long pixel = (long long)(block * 8 + i) - (long long)first;
        if (pixel < 0 || pixel >= plane) continue;
        const size_t at = (image * plane + pixel) * C + c;
        y[at] = dropped(x[at], random.half(i), draw.threshold, scale);
    }
}
