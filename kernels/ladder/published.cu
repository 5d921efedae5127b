// published.cu: matrix products of the kinds that a published table has times of, c (M, N) = a (M, K) b (K, N), all
// row-major and float; to check a prediction with, not to use. The table's rungs, and what a block and a thread have:
//   published_naive      32 x 32 outputs, one a thread; a warp's threads take 32 rows.
//   published_coalesced  The same, but a warp's threads take 32 columns.
//   published_tiled      The same, from tiles of 32 x 32 in shared memory.
//   published_column     64 x 64 outputs, 8 in a column a thread; tiles 8 deep.
//   published_square     128 x 128 outputs, 8 x 8 a thread; tiles 8 deep, brought number by number.
//   published_vectors    The same by vectors of four; a's tile is turned upright on its way in.
//   published_warps      128 x 128 outputs, 64 x 64 a warp, 8 x 16 a thread; tiles 16 deep.
//   published_staged     The same; the next tiles travel while these are multiplied.
// Launch: grid = (tiles along N, tiles along M, 1), for published_naive the other way round; block = 1024 threads for the
//         first three, 512 for published_column, 256 for the next two, 128 for the last two.
//         From published_vectors on K and N are multiples of 4, and rows begin at multiples of 16 bytes.
// Traffic: without tiles 2 M N K numbers; with them a once per column of tiles and b once per row of tiles; c once.
// Source: S. Boehm, "How to Optimize a CUDA Matmul Kernel for cuBLAS-like Performance" (2022) and its SGEMM_CUDA, for
//         what kinds there are and their sizes; the text is ours.
#include "common.cuh"

enum { SIDE = 32, FEW = 64, MANY = 128, THIN = 8, THICK = 16 };  // lengths of tiles: along outputs, along the reduction
typedef Vector<real, 4> Four;

__device__ __forceinline__ void multiply_directly(real* __restrict__ c, const real* __restrict__ a,
                                                  const real* __restrict__ b, int M, int N, int K, int i, int j) {
    if (i >= M || j >= N) return;
    real sum = 0;
    for (int k = 0; k < K; ++k) sum += a[(size_t)i * K + k] * b[(size_t)k * N + j];
    c[(size_t)i * N + j] = sum;
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
published_naive(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    const int t = threadIdx.x;
    multiply_directly(c, a, b, M, N, K, blockIdx.x * SIDE + t % SIDE, blockIdx.y * SIDE + t / SIDE);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
published_coalesced(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    const int t = threadIdx.x;
    multiply_directly(c, a, b, M, N, K, blockIdx.y * SIDE + t / SIDE, blockIdx.x * SIDE + t % SIDE);
}

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
published_tiled(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    __shared__ real a_tile[SIDE][SIDE], b_tile[SIDE][SIDE];
    const int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE, i = blockIdx.y * SIDE + y, j = blockIdx.x * SIDE + x;
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

extern "C" __global__ void __launch_bounds__(FEW* THIN)
published_column(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    __shared__ __align__(16) real a_tile[FEW][THIN], b_tile[THIN][FEW];
    const int t = threadIdx.x, x = t % FEW, y = t / FEW, top = blockIdx.y * FEW, j = blockIdx.x * FEW + x;
    const int a_row = t / THIN, a_column = t % THIN;
    const real* a_from = top + a_row < M ? a + (size_t)(top + a_row) * K + a_column : nullptr;
    const real* b_from = j < N ? b + (size_t)y * N + j : nullptr;
    real sum[THIN] = {};
    for (int first = 0; first < K; first += THIN) {
        a_tile[a_row][a_column] = a_from != nullptr && first + a_column < K ? a_from[first] : real(0);
        b_tile[y][x] = b_from != nullptr && first + y < K ? b_from[(size_t)first * N] : real(0);
        __syncthreads();  // both tiles are there
#pragma unroll
        for (int k = 0; k < THIN; k += 2) {  // two at once: a compiler joins such reads, so they are written so
            Vector<real, 2> u[THIN];
#pragma unroll
            for (int e = 0; e < THIN; ++e) u[e] = load<2>(&a_tile[y * THIN + e][k]);
#pragma unroll
            for (int n = 0; n < 2; ++n) {
                const real w = b_tile[k + n][x];
#pragma unroll
                for (int e = 0; e < THIN; ++e) sum[e] += u[e].v[n] * w;
            }
        }
        __syncthreads();  // nobody reads them any more
    }
#pragma unroll
    for (int e = 0; e < THIN; ++e)
        if (top + y * THIN + e < M && j < N) c[(size_t)(top + y * THIN + e) * N + j] = sum[e];
}

extern "C" __global__ void __launch_bounds__(2 * MANY)
published_square(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    enum { EACH = 8, ACROSS = MANY / EACH };
    __shared__ __align__(16) real a_tile[MANY][THIN], b_tile[THIN][MANY];
    const int t = threadIdx.x, x = t % ACROSS * EACH, y = t / ACROSS * EACH;
    const int top = blockIdx.y * MANY, left = blockIdx.x * MANY;
    real sum[EACH][EACH] = {};
    for (int first = 0; first < K; first += THIN) {
#pragma unroll
        for (int n = 0; n < MANY * THIN; n += 2 * MANY) {
            const int a_row = (t + n) / THIN, a_column = t % THIN, b_row = (t + n) / MANY, b_column = t % MANY;
            a_tile[a_row][a_column] =
                top + a_row < M && first + a_column < K ? a[(size_t)(top + a_row) * K + first + a_column] : real(0);
            b_tile[b_row][b_column] =
                first + b_row < K && left + b_column < N ? b[(size_t)(first + b_row) * N + left + b_column] : real(0);
        }
        __syncthreads();  // both tiles are there
#pragma unroll
        for (int four = 0; four < THIN; four += 4) {
            Four u[EACH];
#pragma unroll
            for (int e = 0; e < EACH; ++e) u[e] = load<4>(&a_tile[y + e][four]);
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                Four w[2];
#pragma unroll
                for (int e = 0; e < 2; ++e) w[e] = load<4>(&b_tile[four + k][x + 4 * e]);
#pragma unroll
                for (int i = 0; i < EACH; ++i)
#pragma unroll
                    for (int j = 0; j < EACH; ++j) sum[i][j] += u[i].v[k] * w[j / 4].v[j % 4];
            }
        }
        __syncthreads();  // nobody reads them any more
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j)
            if (top + y + i < M && left + x + j < N) c[(size_t)(top + y + i) * N + left + x + j] = sum[i][j];
}

// What one thread brings of a panel of a and one of b, DEEP along the reduction, by vectors; a's is turned upright.
template <int THREADS, int DEEP>
struct Panels {
    enum { LOADS = MANY * DEEP / 4 / THREADS };
    Four a_held[LOADS], b_held[LOADS];

    __device__ __forceinline__ void fetch(const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K,
                                          int top, int left, int first) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int n = threadIdx.x + l * THREADS;
            const int i = top + n / (DEEP / 4), p = first + n % (DEEP / 4) * 4;
            const int q = first + n / (MANY / 4), j = left + n % (MANY / 4) * 4;
            a_held[l] = i < M && p < K ? load<4>(a + (size_t)i * K + p) : Four{};
            b_held[l] = q < K && j < N ? load<4>(b + (size_t)q * N + j) : Four{};
        }
    }
    __device__ __forceinline__ void put(real (*a_tile)[MANY], real (*b_tile)[MANY]) const {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int n = threadIdx.x + l * THREADS;
#pragma unroll
            for (int e = 0; e < 4; ++e) a_tile[n % (DEEP / 4) * 4 + e][n / (DEEP / 4)] = a_held[l].v[e];
            store(&b_tile[n / (MANY / 4)][n % (MANY / 4) * 4], b_held[l]);
        }
    }
};

// The outputs of one thread: 8 rows from `y` on, and GROUPS times 4 columns from `x` on, APART.
template <int GROUPS, int APART, int DEEP>
struct Outputs {
    real sum[8][4 * GROUPS];

    __device__ __forceinline__ void add(real (*a_tile)[MANY], real (*b_tile)[MANY], int y, int x) {
#pragma unroll
        for (int k = 0; k < DEEP; ++k) {
            Four u[2], w[GROUPS];
#pragma unroll
            for (int e = 0; e < 2; ++e) u[e] = load<4>(&a_tile[k][y + 4 * e]);
#pragma unroll
            for (int g = 0; g < GROUPS; ++g) w[g] = load<4>(&b_tile[k][x + g * APART]);
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < 4 * GROUPS; ++j) sum[i][j] += u[i / 4].v[i % 4] * w[j / 4].v[j % 4];
        }
    }
    __device__ __forceinline__ void write(real* __restrict__ c, int M, int N, int top, int left) const {
#pragma unroll
        for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int g = 0; g < GROUPS; ++g)
                if (top + i < M && left + g * APART < N) {
                    Four out;
#pragma unroll
                    for (int j = 0; j < 4; ++j) out.v[j] = sum[i][4 * g + j];
                    store(c + (size_t)(top + i) * N + left + g * APART, out);
                }
    }
};

extern "C" __global__ void __launch_bounds__(2 * MANY)
published_vectors(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    __shared__ __align__(16) real a_tile[THIN][MANY], b_tile[THIN][MANY];
    const int x = threadIdx.x % 16 * 8, y = threadIdx.x / 16 * 8, top = blockIdx.y * MANY, left = blockIdx.x * MANY;
    Panels<2 * MANY, THIN> panels;
    Outputs<2, 4, THIN> outputs = {};
    for (int first = 0; first < K; first += THIN) {
        panels.fetch(a, b, M, N, K, top, left, first);
        panels.put(a_tile, b_tile);
        __syncthreads();  // both tiles are there
        outputs.add(a_tile, b_tile, y, x);
        __syncthreads();  // nobody reads them any more
    }
    outputs.write(c, M, N, top + y, left + x);
}

// A warp has a quarter of the tile; of that, lanes have 8 rows and four times 4 columns.
__device__ __forceinline__ int row_of_thread() { return threadIdx.x / 64 * 64 + threadIdx.x % WARP / 4 * 8; }
__device__ __forceinline__ int column_of_thread() { return threadIdx.x / WARP % 2 * 64 + threadIdx.x % 4 * 4; }

extern "C" __global__ void __launch_bounds__(MANY)
published_warps(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    __shared__ __align__(16) real a_tile[THICK][MANY], b_tile[THICK][MANY];
    const int x = column_of_thread(), y = row_of_thread(), top = blockIdx.y * MANY, left = blockIdx.x * MANY;
    Panels<MANY, THICK> panels;
    Outputs<4, 16, THICK> outputs = {};
    for (int first = 0; first < K; first += THICK) {
        panels.fetch(a, b, M, N, K, top, left, first);
        panels.put(a_tile, b_tile);
        __syncthreads();  // both tiles are there
        outputs.add(a_tile, b_tile, y, x);
        __syncthreads();  // nobody reads them any more
    }
    outputs.write(c, M, N, top + y, left + x);
}

// The same panels for published_staged, which keeps where it reads. Rows and columns outside the matrices are read as the
// last ones inside, and not written.
template <int THREADS, int DEEP>
struct KeptPanels : Panels<THREADS, DEEP> {
    using Panels<THREADS, DEEP>::LOADS;
    const real *a_from[LOADS], *b_from[LOADS];
    int a_left, b_left;  // of the reduction, from what the first load reads

    __device__ __forceinline__ KeptPanels(const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K,
                                          int top, int left)
        : a_left(K - threadIdx.x % (DEEP / 4) * 4), b_left(K - threadIdx.x / (MANY / 4)) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            const int n = threadIdx.x + l * THREADS;
            a_from[l] = a + (size_t)min(M - 1, top + n / (DEEP / 4)) * K + n % (DEEP / 4) * 4;
            b_from[l] = b + (size_t)(n / (MANY / 4)) * N + min(N - 4, left + n % (MANY / 4) * 4);
        }
    }
    __device__ __forceinline__ void fetch(int N) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            this->a_held[l] = a_left > 0 ? load<4>(a_from[l]) : Four{};
            this->b_held[l] = b_left > l * (THREADS / (MANY / 4)) ? load<4>(b_from[l]) : Four{};
            a_from[l] += DEEP;
            b_from[l] += (size_t)DEEP * N;
        }
        a_left -= DEEP, b_left -= DEEP;
    }
};

extern "C" __global__ void __launch_bounds__(MANY)
published_staged(real* __restrict__ c, const real* __restrict__ a, const real* __restrict__ b, int M, int N, int K) {
    __shared__ __align__(16) real a_tile[2][THICK][MANY], b_tile[2][THICK][MANY];
    const int x = column_of_thread(), y = row_of_thread(), top = blockIdx.y * MANY, left = blockIdx.x * MANY;
    KeptPanels<MANY, THICK> panels(a, b, M, N, K, top, left);
    Outputs<4, 16, THICK> outputs = {};
    panels.fetch(N);
    panels.put(a_tile[0], b_tile[0]);
    __syncthreads();  // the first tiles are there
    int now = 0;
    for (int first = THICK; first < K; first += THICK, now ^= 1) {
        panels.fetch(N);  // in flight during the products
        outputs.add(a_tile[now], b_tile[now], y, x);
        panels.put(a_tile[now ^ 1], b_tile[now ^ 1]);  // whose readers all passed the barrier of the step before
        __syncthreads();  // the next tiles are there
    }
    outputs.add(a_tile[now], b_tile[now], y, x);
    outputs.write(c, M, N, top + y, left + x);
}
