// gemm_half.cu: the products of gemm.cu for float16 or bfloat16 by tensor cores, without conversions; NUMBER as in
// half_tile.cuh.
//   gemm_half_nt: c (M, N) = act(a (M, K) b (N, K)^T + bias)    y = act(x W^T + bias)
//   gemm_half_nn: c (M, N) = a (M, K) b (K, N) + more (M, N)    dx = dz W, more null where nothing is added
//   gemm_half_tn: c (M, N) = a (K, M)^T b (K, N)                dW = dz^T x
// All row-major, in vectors of 8, and so is N. With SPLIT the reduction is cut into slices: partial (tiles, slices, PARTIAL),
// tickets of zeros: tensor_walk.cuh.
// Launch: grid = (N tiles, M tiles, slices), block = THREADS, dynamic shared memory = STAGES * STAGE numbers.
// Traffic: a once per column of tiles, b once per row of tiles, c once, partial twice.
#include "half_tile.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
gemm_half_nt(unsigned short* __restrict__ c, float* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
             const unsigned short* __restrict__ a, const unsigned short* __restrict__ b,
             const unsigned short* __restrict__ bias, int M, int N, int K, int relu) {
    const Tile tile = this_tile();
    product(c, partial, tickets, UprightCopies<BM, MatrixRows>(MatrixRows(a, tile.top, M, K), tile.top),
            UprightCopies<BN, MatrixRows>(MatrixRows(b, tile.left, N, K), tile.left),
            Share({(int)gridDim.z, (int)blockIdx.z}, K), tile, tile_number(), MatrixTarget{0, (size_t)N, M}, M, N, bias,
            relu, nullptr);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
gemm_half_nn(unsigned short* __restrict__ c, float* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
             const unsigned short* __restrict__ a, const unsigned short* __restrict__ b,
             const unsigned short* __restrict__ more, int M, int N, int K) {
    const Tile tile = this_tile();
    product(c, partial, tickets, UprightCopies<BM, MatrixRows>(MatrixRows(a, tile.top, M, K), tile.top),
            LyingCopies<BN, MatrixColumns>(MatrixColumns(b, N, N), tile.left),
            Share({(int)gridDim.z, (int)blockIdx.z}, K), tile, tile_number(), MatrixTarget{0, (size_t)N, M}, M, N, nullptr,
            false, more);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
gemm_half_tn(unsigned short* __restrict__ c, float* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
             const unsigned short* __restrict__ a, const unsigned short* __restrict__ b, int M, int N, int K) {
    const Tile tile = this_tile();
    product(c, partial, tickets, LyingCopies<BM, MatrixColumns>(MatrixColumns(a, M, M), tile.top),
            LyingCopies<BN, MatrixColumns>(MatrixColumns(b, N, N), tile.left),
            Share({(int)gridDim.z, (int)blockIdx.z}, K), tile, tile_number(), MatrixTarget{0, (size_t)N, M}, M, N, nullptr,
            false, nullptr);
}
