// gemm_batched.cu: many matrix products of one shape, c[i] = a[i] b[i], in the three forms of gemm.cu.
//   gemm_batched_nn: a (M, K) b (K, N)   gemm_batched_nt: b (N, K)^T   gemm_batched_tn: a (K, M)^T   c (M, N), row-major
//   a_step, b_step: elements from one matrix to the next, 0 if one takes part in all products
// Launch: grid = (M tiles * N tiles, 1, products), block = THREADS.
// Traffic: per product a once per column of tiles, b once per row of tiles, c once.
#include "gemm_tile.cuh"

template <class A, class B>
__device__ __forceinline__ void product(real* __restrict__ c, A a, B b, int M, int N, int K,
                                        const Tile& at) {
    Accumulator sums;
    multiply(sums, a, b, 0, K);
    sums.write(c, MatrixTarget{(size_t)blockIdx.z * M * N, (size_t)N, M}, at, N, nullptr, false);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
gemm_batched_nt(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K,
                long long a_step, long long b_step) {
    const Tile at = tile_at(blockIdx.x, N);
    product(c, RowPanel<BM, MatrixRows>(MatrixRows(a + blockIdx.z * a_step, M, K), at.top),
            RowPanel<BN, MatrixRows>(MatrixRows(b + blockIdx.z * b_step, N, K), at.left), M, N, K, at);
}

extern "C" __global__ void __launch_bounds__(THREADS, COLUMN_BLOCKS)
gemm_batched_nn(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K,
                long long a_step, long long b_step) {
    const Tile at = tile_at(blockIdx.x, N);
    product(c, RowPanel<BM, MatrixRows>(MatrixRows(a + blockIdx.z * a_step, M, K), at.top),
            ColumnPanel<BN, MatrixColumns>(MatrixColumns(b + blockIdx.z * b_step, N, N), at.left), M, N, K, at);
}

extern "C" __global__ void __launch_bounds__(THREADS, COLUMN_BLOCKS)
gemm_batched_tn(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K,
                long long a_step, long long b_step) {
    const Tile at = tile_at(blockIdx.x, N);
    product(c, ColumnPanel<BM, MatrixColumns>(MatrixColumns(a + blockIdx.z * a_step, M, M), at.top),
            ColumnPanel<BN, MatrixColumns>(MatrixColumns(b + blockIdx.z * b_step, N, N), at.left), M, N, K, at);
}
