// gemm_tensor.cu: the products of gemm.cu for float by tensor cores; MODE as in mma_tile.cuh.
//   gemm_tensor_nt: c (M, N) = act(a (M, K) b (N, K)^T + bias)    y = act(x W^T + bias)
//   gemm_tensor_nn: c (M, N) = a (M, K) b (K, N) + more (M, N)    dx = dz W, more null where nothing is added
//   gemm_tensor_tn: c (M, N) = a (K, M)^T b (K, N)                dW = dz^T x
// All row-major, a, b and more in vectors of 4. With slices > 1 the reduction is split: partial (tiles, slices, PARTIAL), tickets (tiles) of zeros.
// Launch: grid = (N tiles, M tiles, slices), block = THREADS, dynamic shared memory = STAGES * STAGE numbers.
// Traffic: a once per column of tiles, b once per row of tiles, c once, partial twice.
#include "mma_tile.cuh"

// One slice of a tile.
struct Product {
    Tile tile;
    Slices slices;
    int k_begin, k_end;
    __device__ __forceinline__ explicit Product(int depth)
        : tile(this_tile()), slices{(int)gridDim.z, (int)blockIdx.z} {
        slices.range(depth, k_begin, k_end);
    }
};

template <class A, class B>
__device__ __forceinline__ void gemm(real* __restrict__ c, real* __restrict__ partial, unsigned* __restrict__ tickets,
                                     const Product& product, const A& a, const B& b, int M, int N, int K,
                                     const real* __restrict__ bias, int relu, const real* __restrict__ more) {
    const Tile& tile = product.tile;
    Accumulator sums;
    multiply(sums, a, b, product.k_begin, product.k_end);
    const bool inside = sums.warp_top() < M - tile.top && sums.warp_left() < N - tile.left;  // else sums go nowhere
    if (!combine(sums, partial, tickets, product.slices, tile_number(), inside)) return;
    sums.add_bias(bias, tile.left, N);
    const bool whole = sums.finite();
    const MatrixTarget target{0, (size_t)N, M};
    sums.write(c, target, tile, N, relu && whole, more);
    if (!whole) repair(a, b, K, c, target, tile, N, bias, relu, more);
}

extern "C" __global__ void __launch_bounds__(THREADS, 256 / THREADS)
gemm_tensor_nt(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
               const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ bias, int M, int N,
               int K, int relu) {
    const Product product(K);
    const Tile& tile = product.tile;
    gemm(c, partial, tickets, product, UprightCopies<BM, MatrixRows>(MatrixRows(a, tile.top, M, K), tile.top),
         UprightCopies<BN, MatrixRows>(MatrixRows(b, tile.left, N, K), tile.left), M, N, K, bias, relu, nullptr);
}

extern "C" __global__ void __launch_bounds__(THREADS, 256 / THREADS)
gemm_tensor_nn(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
               const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ more, int M, int N,
               int K) {
    const Product product(K);
    const Tile& tile = product.tile;
    gemm(c, partial, tickets, product, UprightCopies<BM, MatrixRows>(MatrixRows(a, tile.top, M, K), tile.top),
         LyingCopies<BN, MatrixColumns>(MatrixColumns(b, N, N), tile.left), M, N, K, nullptr, false, more);
}

extern "C" __global__ void __launch_bounds__(THREADS, 256 / THREADS)
gemm_tensor_tn(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
               const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    const Product product(K);
    const Tile& tile = product.tile;
    gemm(c, partial, tickets, product, LyingCopies<BM, MatrixColumns>(MatrixColumns(a, M, M), tile.top),
         LyingCopies<BN, MatrixColumns>(MatrixColumns(b, N, N), tile.left), M, N, K, nullptr, false, nullptr);
}
