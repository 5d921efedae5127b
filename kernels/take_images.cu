// take_images.cu: a batch of training images out of a dataset that lies on the device, in one launch: picked, changed
// at random, standardised.
//   y[n, p, q, c] = (x[i, h, w, c] / 255 - mean[c]) / std[c] of bytes, and x[i, h, w, c] of floats, with i = indices[n]
//   and h, w where the pixel (p, q) comes from: mirrored, then moved by the crop. Outside of the image there is `fill`,
//   or the image reflected at its edge; in a square of `cutout` pixels there is `fill`.
//   truths[n] = labels[i]
//   x (N, H, W, C) uint8 or float   y (n, P, Q, C) float   labels (N) int64   truths (n) int64   indices (n) int32
//   words: key and epoch of the random numbers. An image's eight words of 32 bits are block number i of that epoch, so
//   they depend on nothing else: not on the batch, the order, or the step.
//   An index out of range is reported as bad data, and image 0 taken.
// Launch: grid = (n, parts of an image), 256 threads, which write every 256th element of the part. The first thread
// draws for all: the ten rounds for a block cost more than an element.
// Traffic: y once, of x what is seen of it.
// Source: Krizhevsky, Sutskever, Hinton 2012 (crops, mirrored images); DeVries and Taylor 2017, arXiv:1708.04552
// (cutout); Jordan 2024, arXiv:2404.00498, section 3.6 (images mirrored in every second epoch).
#include "numbers.cuh"
#include "philox.cuh"

#define BLOCK 256
#define EACH 4  // elements of a thread

struct Changes {
    int height, width;               // of the images that are kept
    int padding, reflect;            // the crop: rows around the images, and what is in them
    int down, across;                // where it may begin: so many rows and columns
    int cutout;                      // the square's side, 0 for none
    int alternate;                   // mirror left to right in every second epoch, not at random
    float fill;
    Divisor by_channels, by_width;   // of y
    int size;                        // elements of an image of y
    uint64 flip_across, flip_down;   // 2^32 times the probability
};

// Where an image is cut out of, and which of its pixels are lost.
struct Draw {
    int image, top, left, cut_top, cut_left, flip_across, flip_down;
};

// 0 to room - 1, as likely as 2^32 words allow.
__device__ __forceinline__ int below(int room, unsigned word) {
    return (int)__umulhi(word, (unsigned)room);
}

__device__ __forceinline__ int reflected(int at, int length) {
    return at < 0 ? -at : at >= length ? 2 * length - 2 - at : at;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    take_images(float* __restrict__ y, int64* __restrict__ truths, const real* __restrict__ x,
                const int64* __restrict__ labels, const int* __restrict__ indices,
                const unsigned long long* __restrict__ words, const float* __restrict__ mean,
                const float* __restrict__ std, INOUT int* __restrict__ error, Changes g, int images, int rows,
                int columns, int place) {
    __shared__ Draw drawn;
    const int n = blockIdx.x;
    if (threadIdx.x == 0) {
        int image = indices[n];
        if (image < 0 || image >= images) {
            report_bad_data(error, place, n, image, 3);
            image = 0;
        }
        // NumPy counts a block before using it, hence + 1.
        const PhiloxBlock random = philox(words[0], words[1], words[2], (uint64)image + 1);
        unsigned mirror = random.half(2);
        bool flips = mirror < g.flip_across;
        if (g.alternate) {  // what it was in a first epoch of its own, and the other way round in every second one
            mirror = philox(words[0], words[1], ~0ull, (uint64)image + 1).half(2);
            flips = (mirror < g.flip_across) != (words[2] % 2 == 1);
        }
        drawn.image = image;
        drawn.top = below(g.down, random.half(0)) - g.padding;
        drawn.left = below(g.across, random.half(1)) - g.padding;
        drawn.flip_across = flips;
        drawn.flip_down = random.half(3) < g.flip_down;
        drawn.cut_top = below(rows, random.half(4)) - g.cutout / 2;
        drawn.cut_left = below(columns, random.half(5)) - g.cutout / 2;
        if (blockIdx.y == 0) truths[n] = labels[image];
    }
    __syncthreads();
    const Draw d = drawn;
    const int channels = (int)g.by_channels.value;
    const real* from = x + (size_t)d.image * g.height * g.width * channels;
    float* to = y + (size_t)n * g.size;
    for (int part = blockIdx.y; (long long)part * (BLOCK * EACH) < g.size; part += gridDim.y) {
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int element = part * (BLOCK * EACH) + i * BLOCK + threadIdx.x;
            if (element >= g.size) break;
            int c = element;
            int q = g.by_channels.split(c);
            const int p = g.by_width.split(q);
            int h = (d.flip_down ? rows - 1 - p : p) + d.top, w = (d.flip_across ? columns - 1 - q : q) + d.left;
            if (g.reflect) h = reflected(h, g.height), w = reflected(w, g.width);
            const bool lost = p >= d.cut_top && p < d.cut_top + g.cutout && q >= d.cut_left && q < d.cut_left + g.cutout;
            float value = g.fill;
            if (!lost && h >= 0 && h < g.height && w >= 0 && w < g.width) {
                value = (float)from[((size_t)h * g.width + w) * channels + c];
                if (!FLOATING<real>) value = (value / 255.0f - mean[c]) / std[c];
            }
            to[element] = value;
        }
    }
}
