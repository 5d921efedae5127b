// gemm.cu: matrix products for Linear and matmul, with bias and ReLU in the epilogue.
//   gemm_nt: c (M, N) = act(a (M, K) b (N, K)^T + bias)    y = act(x W^T + bias)
//   gemm_nn: c (M, N) = a (M, K) b (K, N) + more (M, N)    dx = dz W, more null where nothing is added
//   gemm_tn: c (M, N) = dz^T b (K, N)                      dW = dz^T x, and sums (M), the column sums of dz
//            where dz (K, M) = 0 where y <= 0, else a; y null: a itself. sums and dz are null where not wanted.
//   gemm_backward: both gradients, dweight (M, N) and sums as gemm_tn, dx (K, N) = dz weight (M, N) + more as gemm_nn.
//            The first blocks compute tiles of dweight, the others tiles of dx, which apply the ReLU's mask themselves.
// All row-major. With slices > 1 the reduction is split: partial (tiles, slices, PARTIAL), tickets (tiles) of zeros.
// Launch: grid = (M tiles * N tiles, 1, slices), block = THREADS.
//         gemm_backward: (tiles of dweight * slices + tiles of dx * dx_slices, 1, 1), block = THREADS.
// Traffic: a (and y) once per column of tiles, b once per row of tiles, c (and dz) once, partial twice.
#include "gemm_tile.cuh"

// One slice of tile `number` of a product.
struct Product {
    int number;
    Tile tile;
    Slices slices;
    int k_begin, k_end;
    __device__ __forceinline__ Product(int columns, int depth, int n, const Slices& s)
        : number(n), tile(tile_at(n, columns)), slices(s) {
        slices.range(depth, k_begin, k_end);
    }
    __device__ __forceinline__ Product(int columns, int depth)
        : Product(columns, depth, blockIdx.x, {(int)gridDim.z, (int)blockIdx.z}) {}
};

template <class A, class B>
__device__ PRODUCT void gemm(real* __restrict__ c, real* __restrict__ partial, unsigned* __restrict__ tickets,
                             const Product& product, A a, B b, int M, int N, const real* __restrict__ bias,
                             int relu, const real* __restrict__ more) {
    const Tile& tile = product.tile;
    Accumulator sums;
    multiply(sums, a, b, product.k_begin, product.k_end);
    if (!sums.combine(partial, tickets, product.slices, product.number, M - tile.top, N - tile.left, false)) return;
    sums.write(c, MatrixTarget{0, (size_t)N, M}, tile, N, bias, relu, more);
}

// c (M, N) = dz^T b (K, N), where dz (K, M) is that of `gradient`.
template <bool RELU>
__device__ PRODUCT void weight_gradient(real* __restrict__ c, real* __restrict__ sums, real* __restrict__ dz,
                                        real* __restrict__ partial, unsigned* __restrict__ tickets,
                                        const OutputGradient<RELU>& gradient, const real* __restrict__ b,
                                        int M, int N, const Product& product) {
    const Tile& tile = product.tile;
    const bool first = tile.left == 0, sum_rows = first && sums != nullptr;  // the first column of tiles does it for all
    ColumnPanel<BM, GradientColumns<RELU>> dz_panel(GradientColumns<RELU>(gradient, first ? dz : nullptr, M, M),
                                                    tile.top);
    ColumnPanel<BN, MatrixColumns> b_panel(MatrixColumns(b, N, N), tile.left);
    Accumulator found;
    multiply(found, dz_panel, b_panel, product.k_begin, product.k_end, sum_rows);
    if (!found.combine(partial, tickets, product.slices, product.number, M - tile.top, N - tile.left, sum_rows)) return;
    found.write(c, MatrixTarget{0, (size_t)N, M}, tile, N, nullptr, false);
    if (sum_rows) found.write_row_sums(sums, tile.top, M);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
gemm_nt(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
        const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ bias, int M, int N, int K,
        int relu) {
    const Product product(N, K);
    gemm(c, partial, tickets, product,
         RowPanel<BM, MatrixRows>(MatrixRows(a, M, K), product.tile.top),
         RowPanel<BN, MatrixRows>(MatrixRows(b, N, K), product.tile.left), M, N, bias,
         relu, nullptr);
}

extern "C" __global__ void __launch_bounds__(THREADS, COLUMN_BLOCKS)
gemm_nn(real* __restrict__ c, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
        const real* __restrict__ a, const real* __restrict__ b, const real* __restrict__ more, int M, int N, int K) {
    const Product product(N, K);
    gemm(c, partial, tickets, product,
         RowPanel<BM, MatrixRows>(MatrixRows(a, M, K), product.tile.top),
         ColumnPanel<BN, MatrixColumns>(MatrixColumns(b, N, N), product.tile.left), M,
         N, nullptr, false, more);
}

extern "C" __global__ void __launch_bounds__(THREADS, GRADIENT_BLOCKS)
gemm_tn(real* __restrict__ c, real* __restrict__ sums, real* __restrict__ dz, real* __restrict__ partial,
        INOUT unsigned* __restrict__ tickets, const real* __restrict__ a, const real* __restrict__ y,
        const real* __restrict__ b, int M, int N, int K) {
    if (y == nullptr)  // apart, so that the loop does not ask
        weight_gradient<false>(c, sums, dz, partial, tickets, {a, y}, b, M, N, Product(N, K));
    else
        weight_gradient<true>(c, sums, dz, partial, tickets, {a, y}, b, M, N, Product(N, K));
}

#if TILE != 128  // the tile of products so large that each has a launch of its own
template <bool RELU>
__device__ __forceinline__ void backward(real* __restrict__ dweight, real* __restrict__ sums, real* __restrict__ dx,
                                         real* __restrict__ partial, real* __restrict__ dx_partial,
                                         unsigned* __restrict__ tickets, const OutputGradient<RELU>& gradient,
                                         const real* __restrict__ x, const real* __restrict__ weight,
                                         const real* __restrict__ more, int M, int N, int K, int slices,
                                         int dx_slices) {
    const int tiles = count_tiles(M, N), dx_tiles = count_tiles(K, N), number = (int)blockIdx.x - tiles * slices;
    if (number < 0) {
        weight_gradient<RELU>(dweight, sums, nullptr, partial, tickets, gradient, x, M, N,
                              Product(N, K, blockIdx.x % tiles, {slices, (int)blockIdx.x / tiles}));
    } else {
        const Product product(N, M, number % dx_tiles, {dx_slices, number / dx_tiles});
        gemm(dx, dx_partial, tickets + tiles * Accumulator::TICKETS, product,
             RowPanel<BM, GradientRows<RELU>>(GradientRows<RELU>(gradient, K, M), product.tile.top),
             ColumnPanel<BN, MatrixColumns>(MatrixColumns(weight, N, N), product.tile.left), K, N, nullptr, false, more);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, GRADIENT_BLOCKS)
gemm_backward(real* __restrict__ dweight, real* __restrict__ sums, real* __restrict__ dx, real* __restrict__ partial,
              real* __restrict__ dx_partial, INOUT unsigned* __restrict__ tickets, const real* __restrict__ dy,
              const real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight,
              const real* __restrict__ more, int M, int N, int K, int slices, int dx_slices) {
    if (y == nullptr)
        backward<false>(dweight, sums, dx, partial, dx_partial, tickets, {dy, y}, x, weight, more, M, N, K, slices,
                        dx_slices);
    else
        backward<true>(dweight, sums, dx, partial, dx_partial, tickets, {dy, y}, x, weight, more, M, N, K, slices,
                       dx_slices);
}
#endif
