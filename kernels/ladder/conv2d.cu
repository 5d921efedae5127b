// conv2d.cu: a ladder of convolutions with stride 1 and zeros around the image; to read, not to use.
//   x (N, H, W, C)   weight (K, R, S, C)   y (N, P, Q, K), P = H + 2 pad - R + 1, Q = W + 2 pad - S + 1
//   y[n,p,q,k] = sum over r,s,c of x[n, p - pad + r, q - pad + s, c] weight[k,r,s,c]
// Each kernel has one idea more than the one before it:
//   conv2d_naive      One thread an output: the formula, as it is. Neighbouring threads take neighbouring filters.
//   conv2d_tiled      A convolution is a matrix product: row = pixel (n, p, q), column = filter, reduction over (r, s, c).
//                     Its left matrix (im2col) is R S times as large as x, and exists only tile by tile in shared memory.
//   conv2d_registers  A thread has 4 x 4 outputs, in registers.
// The next step is ../conv2d.cu: vectors of four numbers, no division in the loop, and the next tiles travel while these are
// multiplied. matmul.cu has the same ladder without the bookkeeping of images.
// Launch: grid = (tiles of filters, tiles of pixels, 1), block = (16, 16, 1). A tile has 16 x 16 outputs, of conv2d_registers
//         64 x 64.
// Traffic: without tiles 2 N P Q K R S C numbers; with them im2col's once per column of tiles, weight once per row of tiles.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759; lecture topic L10.
#include "common.cuh"

enum { SIDE = 16, EACH = 4, LENGTH = SIDE * EACH };  // threads along a block's side; outputs of one along its; together

struct Sizes {
    int N, H, W, C, K, R, S, P, Q, pad;
    __device__ __forceinline__ int pixels() const { return N * P * Q; }
    __device__ __forceinline__ int depth() const { return R * S * C; }
};

// Where an output pixel's window begins in the image; no image beyond the last pixel.
struct Window {
    const real* image;
    int top, left;
    __device__ __forceinline__ Window(const real* __restrict__ x, const Sizes& g, int pixel)
        : image(pixel < g.pixels() ? x + (size_t)(pixel / g.Q / g.P) * g.H * g.W * g.C : nullptr),
          top(pixel / g.Q % g.P - g.pad),
          left(pixel % g.Q - g.pad) {}
    // x under element (r, s) of the filter, channel c; 0 outside the image.
    __device__ __forceinline__ real read(const Sizes& g, int r, int s, int c) const {
        const int h = top + r, w = left + s;
        if (image == nullptr || r >= g.R || h < 0 || h >= g.H || w < 0 || w >= g.W) return 0;
        return image[((size_t)h * g.W + w) * g.C + c];
    }
    // The im2col matrix's element in this pixel's row and column k = (r, s, c).
    __device__ __forceinline__ real read(const Sizes& g, int k) const {
        return read(g, k / g.C / g.S, k / g.C % g.S, k % g.C);
    }
};

__device__ __forceinline__ real read_weight(const real* __restrict__ weight, const Sizes& g, int filter, int k) {
    return filter < g.K && k < g.depth() ? weight[(size_t)filter * g.depth() + k] : real(0);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
conv2d_naive(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight, Sizes g) {
    const int filter = blockIdx.x * SIDE + threadIdx.x, pixel = blockIdx.y * SIDE + threadIdx.y;
    if (filter >= g.K || pixel >= g.pixels()) return;
    const Window window(x, g, pixel);
    real sum = 0;
    for (int r = 0; r < g.R; ++r)
        for (int s = 0; s < g.S; ++s)
            for (int c = 0; c < g.C; ++c)
                sum += window.read(g, r, s, c) * weight[(((size_t)filter * g.R + r) * g.S + s) * g.C + c];
    y[(size_t)pixel * g.K + filter] = sum;
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
conv2d_tiled(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight, Sizes g) {
    __shared__ real x_tile[SIDE][SIDE], weight_tile[SIDE][SIDE + 1];  // one more: a column's numbers in different banks
    const int i = threadIdx.x, j = threadIdx.y, pixel = blockIdx.y * SIDE + j, filters = blockIdx.x * SIDE;
    const Window window(x, g, pixel);
    real sum = 0;
    for (int first = 0; first < g.depth(); first += SIDE) {
        x_tile[j][i] = window.read(g, first + i);
        weight_tile[j][i] = read_weight(weight, g, filters + j, first + i);
        __syncthreads();  // both tiles are there
#pragma unroll
        for (int k = 0; k < SIDE; ++k) sum += x_tile[j][k] * weight_tile[i][k];
        __syncthreads();  // nobody reads them any more
    }
    if (pixel < g.pixels() && filters + i < g.K) y[(size_t)pixel * g.K + filters + i] = sum;
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
conv2d_registers(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight, Sizes g) {
    __shared__ real x_tile[SIDE][LENGTH + 2], weight_tile[SIDE][LENGTH + 2];  // [k][pixel or filter]
    const int i = threadIdx.x, j = threadIdx.y, pixels = blockIdx.y * LENGTH, filters = blockIdx.x * LENGTH;
    const Window windows[EACH] = {{x, g, pixels + j},
                                  {x, g, pixels + j + SIDE},
                                  {x, g, pixels + j + 2 * SIDE},
                                  {x, g, pixels + j + 3 * SIDE}};
    real sum[EACH][EACH] = {};
    for (int first = 0; first < g.depth(); first += SIDE) {
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            x_tile[i][j + e * SIDE] = windows[e].read(g, first + i);
            weight_tile[i][j + e * SIDE] = read_weight(weight, g, filters + j + e * SIDE, first + i);
        }
        __syncthreads();  // both tiles are there
#pragma unroll
        for (int k = 0; k < SIDE; ++k) {
            real u[EACH], w[EACH];
#pragma unroll
            for (int e = 0; e < EACH; ++e) u[e] = x_tile[k][j + e * SIDE], w[e] = weight_tile[k][i + e * SIDE];
#pragma unroll
            for (int a = 0; a < EACH; ++a)
#pragma unroll
                for (int b = 0; b < EACH; ++b) sum[a][b] += u[a] * w[b];
        }
        __syncthreads();  // nobody reads them any more
    }
#pragma unroll
    for (int a = 0; a < EACH; ++a)
#pragma unroll
        for (int b = 0; b < EACH; ++b) {
            const int pixel = pixels + j + a * SIDE, filter = filters + i + b * SIDE;
            if (pixel < g.pixels() && filter < g.K) y[(size_t)pixel * g.K + filter] = sum[a][b];
        }
}
