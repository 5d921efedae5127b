// matmul.cu: a ladder of matrix products, c (M, N) = a (M, K) b (K, N), all row-major; to read, not to use.
// Each kernel has one idea more than the one before it:
//   matmul_naive      One thread an output. Neighbouring threads take neighbouring rows, so that each of them reads a, and
//                     writes c, far from its neighbours: a sector of memory for every number.
//   matmul_coalesced  Neighbouring threads take neighbouring columns: what they read of b and write of c lies side by side.
//   matmul_tiled      A block brings a tile of a and one of b to shared memory. Each number is fetched once for 16 outputs.
//   matmul_registers  A thread has 4 x 4 outputs, in registers: 8 reads of shared memory for 16 products, not 2 for one.
//   matmul_padded     Rows of the tiles are a little longer, so that a warp's numbers lie in different banks.
// The next step is gemm.cu: vectors of four numbers, and the next tiles travel while these are multiplied.
// Launch: grid = (tiles along N, tiles along M, 1), for matmul_naive the other way round; block = (16, 16, 1). A tile has
//         16 x 16 outputs, from matmul_registers on 64 x 64.
// Traffic: without tiles 2 M N K numbers; with them a once per column of tiles and b once per row of tiles; c once.
// Source: lecture topic of this demonstration (`gpunn demo kernels`); NVIDIA, "CUDA C++ Programming Guide", shared memory.
#include "common.cuh"

enum { SIDE = 16, EACH = 4, LENGTH = SIDE * EACH };  // threads along a block's side; outputs of one along its; together

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_naive(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    const int i = blockIdx.x * SIDE + threadIdx.x, j = blockIdx.y * SIDE + threadIdx.y;
    if (i >= M || j >= N) return;
    real sum = 0;
    for (int k = 0; k < K; ++k) sum += a[(size_t)i * K + k] * b[(size_t)k * N + j];
    c[(size_t)i * N + j] = sum;
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_coalesced(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    const int i = blockIdx.y * SIDE + threadIdx.y, j = blockIdx.x * SIDE + threadIdx.x;
    if (i >= M || j >= N) return;
    real sum = 0;
    for (int k = 0; k < K; ++k) sum += a[(size_t)i * K + k] * b[(size_t)k * N + j];
    c[(size_t)i * N + j] = sum;
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_tiled(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    __shared__ real a_tile[SIDE][SIDE], b_tile[SIDE][SIDE];
    const int x = threadIdx.x, y = threadIdx.y, i = blockIdx.y * SIDE + y, j = blockIdx.x * SIDE + x;
    real sum = 0;
    for (int first = 0; first < K; first += SIDE) {
        a_tile[y][x] = i < M && first + x < K ? a[(size_t)i * K + first + x] : real(0);
        b_tile[y][x] = first + y < K && j < N ? b[(size_t)(first + y) * N + j] : real(0);
        __syncthreads();  // both tiles are there
#pragma unroll
        for (int k = 0; k < SIDE; ++k) sum += a_tile[y][k] * b_tile[k][x];
        __syncthreads();  // nobody reads them any more
    }
    if (i < M && j < N) c[(size_t)i * N + j] = sum;
}

// Thread (x, y) has rows y, y + 16, ... and columns x, x + 16, ... of the tile. Both tiles are stored [k][row or column],
// so a's is turned upright on its way in. PAD = 0: the 16 threads of a row write a column of a_tile, all of it in one bank.
// PAD = 2: they write every second bank, and the warp's other row those in between. In b_tile 16 numbers more keep a
// warp's two rows apart.
template <int PAD>
__device__ __forceinline__ void multiply_in_registers(real* __restrict__ c, const real* __restrict__ a,
                                                      const real* __restrict__ b, int M, int N, int K) {
    __shared__ real a_tile[SIDE][LENGTH + PAD], b_tile[SIDE][LENGTH + 8 * PAD];
    const int x = threadIdx.x, y = threadIdx.y, top = blockIdx.y * LENGTH + y, left = blockIdx.x * LENGTH + x;
    real sum[EACH][EACH] = {};
    for (int first = 0; first < K; first += SIDE) {
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const int i = top + e * SIDE, j = left + e * SIDE;
            a_tile[x][y + e * SIDE] = i < M && first + x < K ? a[(size_t)i * K + first + x] : real(0);
            b_tile[y][x + e * SIDE] = first + y < K && j < N ? b[(size_t)(first + y) * N + j] : real(0);
        }
        __syncthreads();  // both tiles are there
#pragma unroll
        for (int k = 0; k < SIDE; ++k) {
            real u[EACH], w[EACH];
#pragma unroll
            for (int e = 0; e < EACH; ++e) u[e] = a_tile[k][y + e * SIDE], w[e] = b_tile[k][x + e * SIDE];
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sum[i][j] += u[i] * w[j];
        }
        __syncthreads();  // nobody reads them any more
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j)
            if (top + i * SIDE < M && left + j * SIDE < N)
                c[(size_t)(top + i * SIDE) * N + left + j * SIDE] = sum[i][j];
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_registers(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    multiply_in_registers<0>(c, a, b, M, N, K);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_padded(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    multiply_in_registers<2>(c, a, b, M, N, K);
}
