// gemm.cu: matrix products for Linear and matmul, with bias and ReLU in the epilogue.
//   gemm_nt: c (M, N) = a (M, K) b (N, K)^T      y = x W^T
//   gemm_nn: c (M, N) = a (M, K) b (K, N)        dx = dy W
//   gemm_tn: c (M, N) = a (K, M)^T b (K, N)      dW = dy^T x
// All row-major. With slices > 1 the reduction is split, c is (slices, M, N) partial sums without
// bias or ReLU, and combine.cu adds them in order: deterministic, and a small product fills a large card.
// Launch: grid = (M tiles * N tiles, 1, slices), block = THREADS.
// Traffic: a once per column of tiles, b once per row of tiles, c once.
#include "gemm_tile.cuh"

template <class A, class B>
__device__ __forceinline__ void gemm(real* __restrict__ c, A a, B b, int M, int N, int k_begin, int k_end,
                                     const real* __restrict__ bias, int relu) {
    Accumulator sums;
    multiply(sums, a, b, k_begin, k_end);
    const Tile at = my_tile(N);
    sums.write(c, (size_t)blockIdx.z * M * N, N, at.top, at.left, M, N, bias, relu);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
gemm_nt(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b,
        const real* __restrict__ bias, int M, int N, int K, int relu) {
    const Tile at = my_tile(N);
    int k_begin, k_end;
    slice_of(K, gridDim.z, blockIdx.z, k_begin, k_end);
    gemm(c, RowPanel<BM, MatrixRows>(MatrixRows(a, M, K, k_end), at.top, k_begin),
         RowPanel<BN, MatrixRows>(MatrixRows(b, N, K, k_end), at.left, k_begin), M, N, k_begin, k_end, bias, relu);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
gemm_nn(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b,
        const real* __restrict__ bias, int M, int N, int K, int relu) {
    const Tile at = my_tile(N);
    int k_begin, k_end;
    slice_of(K, gridDim.z, blockIdx.z, k_begin, k_end);
    gemm(c, RowPanel<BM, MatrixRows>(MatrixRows(a, M, K, k_end), at.top, k_begin),
         ColumnPanel<BN, MatrixColumns>(MatrixColumns(b, N, N, k_end), at.left, k_begin), M, N, k_begin, k_end, bias,
         relu);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
gemm_tn(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b,
        const real* __restrict__ bias, int M, int N, int K, int relu) {
    const Tile at = my_tile(N);
    int k_begin, k_end;
    slice_of(K, gridDim.z, blockIdx.z, k_begin, k_end);
    gemm(c, ColumnPanel<BM, MatrixColumns>(MatrixColumns(a, M, M, k_end), at.top, k_begin),
         ColumnPanel<BN, MatrixColumns>(MatrixColumns(b, N, N, k_end), at.left, k_begin), M, N, k_begin, k_end, bias,
         relu);
}
