// max_pool2d_pairs.cu: the gradient of max pooling with windows of SIDE x SIDE, 2 or 3, and stride 2, which most have.
//   dx (N, H, W, C)   dy (N, P, Q, C), of type stored   offset (N, P, Q, C) of type uint8: r * SIDE + s of the winner, or 255
// As max_pool2d.cu's backward for one pixel a thread, whose bits these are. Here a thread has two rows and columns of
// pixels, which meet the same four outputs (one, with SIDE 2): each is read and found once for all of them.
// Launch: one thread per VEC channels of 2 x 2 pixels.
// Traffic: dy and offset about once (twice in each direction from cache with SIDE 3), dx once. No atomics.
// Source: lecture topic L15.
#include "stored.cuh"

#ifndef SIDE
#define SIDE 3
#endif

struct PairsShape {
    int H, W, P, Q, pad_h, pad_w;
    Divisor by_channels, by_columns, by_rows;  // vectors of channels; threads along columns and rows
};

typedef unsigned char uint8;

// Which element of a window won, for VEC channels; four bytes are compared as one word.
struct Winners {
    Vector<uint8, VEC> found;
    unsigned word;
    __device__ __forceinline__ void none() {
        word = 0xffffffffu;
#pragma unroll
        for (int j = 0; j < VEC; ++j) found.v[j] = 255;
    }
    __device__ __forceinline__ void take(const uint8* from) {
        if (VEC == 4) word = *reinterpret_cast<const unsigned*>(from);
        else found = load<VEC>(from);
    }
    __device__ __forceinline__ bool are(int j, int number) const {
        return VEC == 4 ? ((word ^ (unsigned)number * 0x01010101u) >> 8 * j & 0xff) == 0 : found.v[j] == number;
    }
};

extern "C" __global__ void __launch_bounds__(256, 1)
max_pool2d_backward_pairs(stored* __restrict__ dx, const stored* __restrict__ dy, const uint8* __restrict__ offset,
                          PairsShape g, int threads) {
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= threads) return;
    int c = n;
    n = g.by_channels.split(c);
    int w = n;
    n = g.by_columns.split(w);
    int h = n;
    n = g.by_rows.split(h);
    // The first pixel has an even distance from where the windows begin; it may be one before the image.
    h = 2 * h - g.pad_h % 2, w = 2 * w - g.pad_w % 2;
    const int p = (h + g.pad_h) / 2, q = (w + g.pad_w) / 2;  // the last output that meets it
    const int channels = g.by_channels.value;
    enum { SEEN = SIDE - 1 };
    Vector<real, VEC> d[SEEN][SEEN];
    Winners winners[SEEN][SEEN];
#pragma unroll
    for (int i = 0; i < SEEN; ++i)
#pragma unroll
        for (int j = 0; j < SEEN; ++j) {
            winners[i][j].none();
            d[i][j] = {};
            if (p >= i && p - i < g.P && q >= j && q - j < g.Q) {
                const unsigned from = (unsigned)((n * g.P + p - i) * g.Q + q - j) * channels + c;
                d[i][j] = load<VEC>(dy + (size_t)from * VEC);
                winners[i][j].take(offset + (size_t)from * VEC);
            }
        }
#pragma unroll
    for (int down = 0; down < 2; ++down)
#pragma unroll
        for (int across = 0; across < 2; ++across) {
            Vector<real, VEC> sum = {};
#pragma unroll
            for (int i = 0; i < SEEN; ++i)
#pragma unroll
                for (int j = 0; j < SEEN; ++j) {
                    const int r = down + 2 * i, s = across + 2 * j;
                    if (r >= SIDE || s >= SIDE) continue;
#pragma unroll
                    for (int v = 0; v < VEC; ++v)
                        if (winners[i][j].are(v, r * SIDE + s)) sum.v[v] += d[i][j].v[v];
                }
            if (h + down >= 0 && h + down < g.H && w + across >= 0 && w + across < g.W)
                store(dx + ((((size_t)n * g.H + h + down) * g.W + w + across) * channels + c) * VEC, sum);
        }
}
