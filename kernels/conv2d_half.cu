// conv2d_half.cu: the convolutions of conv2d.cu for float16 or bfloat16 by tensor cores, without conversions; NUMBER as in
// half_tile.cuh. One group; C and K in vectors of 8.
//   x, dx, more (N, H, W, C)   y, dz (N, P, Q, K)   weight, dweight (K, R, S, C)   bias (K) or null
//   y[n,p,q,k] = act(bias[k] + sum over r,s,c of x[n, p*stride - pad + r*dilation, ..., c] weight[k,r,s,c])
// dz is the gradient of y before its ReLU. more is added to dx; null where nothing is.
// As products:
//   forward         (NPQ x RSC) (RSC x K)
//   backward data   (NHW x RSK) (RSK x C), for each phase of the strides
//   backward weight (K x NPQ) (NPQ x RSC)
// With SPLIT the reduction is cut into slices: partial (phases, tiles, slices, PARTIAL), tickets of zeros:
// tensor_walk.cuh.
// Launch: grid = (column tiles, row tiles, phases * slices), block = THREADS, dynamic shared memory = STAGES * STAGE numbers.
// Traffic: forward reads x about once (R*S times from the L2 cache), weight once per row of tiles, writes y once. The data
//         gradient reads dz as forward reads x, that of the weight x so; partial twice.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759; lecture topic L10.
#include "half_tile.cuh"
#include "conv2d_copies.cuh"

#if ROWS != 64  // the tile of few output channels of the weight gradient, which are its rows
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv2d_half_forward(unsigned short* __restrict__ y, float* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                    const unsigned short* __restrict__ x, const unsigned short* __restrict__ weight,
                    const unsigned short* __restrict__ bias, Conv2dShape g, int relu) {
    const Tile tile = this_tile();
    const int rows = g.N * g.P * g.Q, depth = g.R * g.S * g.C;
    product(y, partial, tickets, UprightCopies<BM, Im2colRows>(Im2colRows(x, g), tile.top),
            UprightCopies<BN, MatrixRows>(MatrixRows(weight, tile.left, g.K, depth), tile.left),
            Share({(int)gridDim.z, (int)blockIdx.z}, depth), tile, tile_number(), MatrixTarget{0, (size_t)g.K, rows}, rows,
            g.K, bias, relu, nullptr);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv2d_half_backward_data(unsigned short* __restrict__ dx, float* __restrict__ partial,
                          INOUT unsigned* __restrict__ tickets, const unsigned short* __restrict__ dz,
                          const unsigned short* __restrict__ weight, const unsigned short* __restrict__ more,
                          Conv2dShape g, int slices) {
    const Tile tile = this_tile();
    const int number_of_phase = (int)blockIdx.z / slices;
    const Phase phase(g, number_of_phase);
    const int depth = phase.h.taps * phase.w.taps * g.K;
    product(dx, partial, tickets, UprightCopies<BM, PixelGradientRows>(PixelGradientRows(dz, g, phase), tile.top),
            LyingCopies<BN, WeightColumns>(WeightColumns(weight, g, phase), tile.left),
            Share({slices, (int)blockIdx.z % slices}, depth), tile,
            number_of_phase * (int)(gridDim.x * gridDim.y) + tile_number(), PixelTarget{g, phase, 0},
            g.N * g.phase_H * g.phase_W, g.C, nullptr, false, more);
}
#endif

#if COLUMNS != 64  // the tile of few channels of the others, which are their columns
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
conv2d_half_backward_weight(unsigned short* __restrict__ dweight, float* __restrict__ partial,
                            INOUT unsigned* __restrict__ tickets, const unsigned short* __restrict__ dz,
                            const unsigned short* __restrict__ x, Conv2dShape g, PixelSteps steps) {
    const Tile tile = this_tile();
    const int columns = g.R * g.S * g.C;
    product(dweight, partial, tickets, LyingCopies<BM, MatrixColumns>(MatrixColumns(dz, g.K, g.K), tile.top),
            LyingCopies<BN, Im2colColumns>(Im2colColumns(x, g, steps), tile.left),
            Share({(int)gridDim.z, (int)blockIdx.z}, g.N * g.P * g.Q), tile, tile_number(),
            MatrixTarget{0, (size_t)columns, g.K}, g.K, columns, nullptr, false, nullptr);
}
#endif
