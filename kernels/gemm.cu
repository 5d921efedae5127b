// gemm.cu: matrix products for Linear and matmul, with bias and ReLU in the epilogue.
//   gemm_nt: c (M, N) = act(a (M, K) b (N, K)^T + bias)    y = act(x W^T + bias)
//   gemm_nn: c (M, N) = a (M, K) b (K, N)                  dx = dz W
//   gemm_tn: c (M, N) = dz^T b (K, N)                      dW = dz^T x, and sums (M), the column sums of dz
//            where dz (K, M) = a where y > 0, else 0; y null: a itself. sums and dz are null where not wanted.
// All row-major. With slices > 1 the reduction is split: partial (tiles, slices, PARTIAL), tickets (tiles) of zeros.
// Launch: grid = (M tiles * N tiles, 1, slices), block = THREADS.
// Traffic: a (and y) once per column of tiles, b once per row of tiles, c (and dz) once, partial twice.
#include "gemm_tile.cuh"

struct Product {
    Tile tile;
    Slices slices;
    int k_begin, k_end;
    __device__ __forceinline__ Product(int columns, int depth)
        : tile(tile_at(blockIdx.x, columns)), slices{(int)gridDim.z, (int)blockIdx.z} {
        slices.range(depth, k_begin, k_end);
    }
};

template <class A, class B>
__device__ __forceinline__ void gemm(real* __restrict__ c, real* __restrict__ partial, unsigned* __restrict__ tickets,
                                     const Product& product, A a, B b, int M, int N, const real* __restrict__ bias,
                                     int relu) {
    const Tile& tile = product.tile;
    Accumulator sums;
    multiply(sums, a, b, product.k_begin, product.k_end);
    if (!sums.combine(partial, tickets, product.slices, blockIdx.x, M - tile.top, N - tile.left, false)) return;
    sums.write(c, MatrixTarget{0, (size_t)N, M}, tile, N, bias, relu);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
gemm_nt(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
        const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ bias, int M, int N, int K,
        int relu) {
    const Product product(N, K);
    gemm(c, partial, tickets, product,
         RowPanel<BM, MatrixRows>(MatrixRows(a, M, K, product.k_end), product.tile.top, product.k_begin),
         RowPanel<BN, MatrixRows>(MatrixRows(b, N, K, product.k_end), product.tile.left, product.k_begin), M, N, bias,
         relu);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
gemm_nn(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
        const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    const Product product(N, K);
    gemm(c, partial, tickets, product,
         RowPanel<BM, MatrixRows>(MatrixRows(a, M, K, product.k_end), product.tile.top, product.k_begin),
         ColumnPanel<BN, MatrixColumns>(MatrixColumns(b, N, N, product.k_end), product.tile.left, product.k_begin), M,
         N, nullptr, false);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
gemm_tn(real* __restrict__ c, real* __restrict__ sums, real* __restrict__ dz, real* __restrict__ partial,
        INOUT unsigned* __restrict__ tickets, const real* __restrict__ a, const real* __restrict__ y,
        const real* __restrict__ b, int M, int N, int K) {
    const Product product(N, K);
    const Tile& tile = product.tile;
    const bool first = tile.left == 0, sum_rows = first && sums != nullptr;  // the first column of tiles does it for all
    ColumnPanel<BM, GradientColumns> dz_panel(GradientColumns(a, y, first ? dz : nullptr, M, M, product.k_end),
                                              tile.top, product.k_begin);
    ColumnPanel<BN, MatrixColumns> b_panel(MatrixColumns(b, N, N, product.k_end), tile.left, product.k_begin);
    Accumulator found;
    multiply(found, dz_panel, b_panel, product.k_begin, product.k_end, sum_rows);
    if (!found.combine(partial, tickets, product.slices, blockIdx.x, M - tile.top, N - tile.left, sum_rows)) return;
    found.write(c, MatrixTarget{0, (size_t)N, M}, tile, N, nullptr, false);
    if (sum_rows) found.write_row_sums(sums, tile.top, M);
}
