// conv2d_tensor.cu: the convolutions of conv2d.cu for float by tensor cores; MODE TF32 or TF32X3 as in mma_tile.cuh. One group;
// C and K in vectors of 4. What is what: conv2d_half.cu, whose products these are.
//   y[n,p,q,k] = act(bias[k] + sum over r,s,c of x[n, p*stride - pad + r*dilation, ..., c] weight[k,r,s,c])
// dz is the gradient of y before its ReLU. more is added to dx; null where nothing is.
// With slices > 1 the reduction is split: partial (phases, tiles, slices, PARTIAL), tickets of zeros: tensor_walk.cuh.
// There is no BF16: float takes as much of shared memory either way, which is what TF32 is limited by, too.
// Launch: grid = (column tiles, row tiles, phases * slices), block = THREADS, dynamic shared memory = STAGES * STAGE numbers.
// Traffic: forward reads x about once (R*S times from the L2 cache), weight once per row of tiles, writes y once. The data
//         gradient reads dz as forward reads x, that of the weight x so; partial twice.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759; lecture topic L10.
#include "mma_tile.cuh"

enum { EACH = COPY };  // numbers of a vector, to conv2d_copies.cuh
#include "conv2d_copies.cuh"

// A number that the compiler does not know: what is worked out from it again after the walk needs no registers during it.
__device__ __forceinline__ int anew(int value) {
#ifndef GPUNN_EMULATOR
    asm volatile("" : "+r"(value));
#endif
    return value;
}

// A Source of conv2d_copies.cuh that is contiguous along the reduction, and one number of it at a time.
template <class Of>
struct Rows : Of {
    using Of::Of;
    __device__ __forceinline__ real number(int i, int k) const {
        Of other = *this;
        const typename Of::Row row = other.row(i);
        other.seek(k / EACH * EACH);
        bool inside = true;
        const real* from = other.at(row, inside);
        return inside ? from[k % EACH] : real(0);
    }
};

// Brings a panel whose Source is contiguous along C's columns, of one k to a thread, so that it finds the place of one. Eight
// threads that write at once have two k: the second begins four vectors further on, in other banks.
// Source: `Column column(int i)` of any i >= 0; `void seek(int k)`; `void advance(int by)`; `const real* at(const Column&, bool&
// inside)` as in UprightCopies.
template <int LENGTH, class Source>
struct PixelCopies : LyingPanel<LENGTH> {
    enum { PER_K = THREADS / BK, STEP = PER_K * EACH, LOADS = LENGTH / STEP, TURNED = 8 * EACH };
    static_assert(PER_K == 4 && LENGTH % TURNED == 0, "threads must divide the panel evenly");
    Source source;
    typename Source::Column column[LOADS];
    int first;

    __device__ __forceinline__ PixelCopies(const Source& from, int at) : source(from), first(at) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) column[l] = source.column(first + (vector() ^ l * PER_K) * EACH);
    }
    __device__ __forceinline__ static int k() { return threadIdx.x / PER_K; }
    __device__ __forceinline__ static int vector() { return threadIdx.x % PER_K + k() % 2 * PER_K; }
    __device__ __forceinline__ void seek(int to) { source.seek(to + k()); }
    template <bool WHOLE>
    __device__ __forceinline__ void copy(real* stages, int panel, int length) {
        const bool wanted = WHOLE || k() < length;
        const int mine = panel + this->place(vector() * EACH, k());
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            bool inside = wanted;
            const real* from = source.at(column[l], inside);
            // Of a place only the bits of TURNED are exclusive-ored.
            copy_vector(at_place(stages, mine ^ l * STEP % TURNED * PLACE) + l * STEP / TURNED * TURNED, from, inside);
        }
        source.advance(WHOLE ? (int)BK : length);
    }
    __device__ __forceinline__ real number(int i, int k) const {
        Source other = source;
        other.seek(k);
        bool inside = true;
        const real* from = other.at(other.column((first + i) / EACH * EACH), inside);
        return inside ? from[(first + i) % EACH] : real(0);
    }
};

// A share of the sums of C's tile `of_tile`; false in all blocks but the one that comes last, which has them all then.
template <class A, class B>
__device__ __forceinline__ bool add_up(Accumulator& sums, real* __restrict__ partial, unsigned* __restrict__ tickets,
                                       const A& a, const B& b, const Slices& slices, int depth, const Tile& tile,
                                       int of_tile, int rows, int columns) {
    int k_begin, k_end;
    slices.range(depth, k_begin, k_end);
    multiply(sums, a, b, k_begin, k_end);
    const bool inside = sums.warp_top() < rows - tile.top && sums.warp_left() < columns - tile.left;
    return combine(sums, partial, tickets, slices, of_tile, inside);
}

// Writes them. bias and more may be null.
template <class A, class B, class Target>
__device__ __forceinline__ void finish(real* __restrict__ c, Accumulator& sums, const A& a, const B& b, int depth,
                                       const Tile& tile, const Target& target, int columns,
                                       const real* __restrict__ bias, int relu, const real* __restrict__ more) {
    sums.add_bias(bias, tile.left, columns);
    const bool whole = sums.finite();
    sums.write(c, target, tile, columns, relu && whole, more);
    if (!whole) repair(a, b, depth, c, target, tile, columns, bias, relu, more);
}

extern "C" __global__ void __launch_bounds__(THREADS, 256 / THREADS)
conv2d_tensor_forward(real* __restrict__ y, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                      const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
                      Conv2dShape g, int relu) {
    const Tile tile = this_tile();
    const int rows = g.N * g.P * g.Q, depth = g.R * g.S * g.C;
    const UprightCopies<BM, Rows<Im2colRows>> a(Rows<Im2colRows>(x, g), tile.top);
    const UprightCopies<BN, MatrixRows> b(MatrixRows(weight, tile.left, g.K, depth), tile.left);
    Accumulator sums;
    if (add_up(sums, partial, tickets, a, b, {(int)gridDim.z, (int)blockIdx.z}, depth, tile, tile_number(), rows, g.K))
        finish(y, sums, a, b, depth, tile, MatrixTarget{0, (size_t)g.K, rows}, g.K, bias, relu, nullptr);
}

extern "C" __global__ void __launch_bounds__(THREADS, 256 / THREADS)
conv2d_tensor_backward_data(real* __restrict__ dx, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                            const real* __restrict__ dz, const real* __restrict__ weight,
                            const real* __restrict__ more, Conv2dShape g, int slices) {
    typedef UprightCopies<BM, Rows<PixelGradientRows>> A;
    typedef PixelCopies<BN, WeightColumns> B;
    const Tile tile = this_tile();
    Accumulator sums;
    {
        const int number = (int)blockIdx.z / slices;
        const Phase phase(g, number);
        if (!add_up(sums, partial, tickets, A(Rows<PixelGradientRows>(dz, g, phase), tile.top),
                    B(WeightColumns(weight, g, phase), tile.left), {slices, (int)blockIdx.z % slices},
                    phase.h.taps * phase.w.taps * g.K, tile, number * (int)(gridDim.x * gridDim.y) + tile_number(),
                    g.N * g.phase_H * g.phase_W, g.C))
            return;
    }
    const Phase phase(g, anew(blockIdx.z) / slices);
    finish(dx, sums, A(Rows<PixelGradientRows>(dz, g, phase), tile.top), B(WeightColumns(weight, g, phase), tile.left),
           phase.h.taps * phase.w.taps * g.K, tile, PixelTarget{g, phase, 0}, g.C, nullptr, false, more);
}

extern "C" __global__ void __launch_bounds__(THREADS, 256 / THREADS)
conv2d_tensor_backward_weight(real* __restrict__ dweight, real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                              const real* __restrict__ dz, const real* __restrict__ x, Conv2dShape g,
                              PixelSteps steps) {
    const Tile tile = this_tile();
    const int columns = g.R * g.S * g.C;
    const LyingCopies<BM, MatrixColumns> a(MatrixColumns(dz, g.K, g.K), tile.top);
    const PixelCopies<BN, Im2colColumns> b(Im2colColumns(x, g, steps), tile.left);
    const int pixels = g.N * g.P * g.Q;
    Accumulator sums;
    if (add_up(sums, partial, tickets, a, b, {(int)gridDim.z, (int)blockIdx.z}, pixels, tile, tile_number(), g.K, columns))
        finish(dweight, sums, a, b, pixels, tile, MatrixTarget{0, (size_t)columns, g.K}, columns, nullptr, false, nullptr);
}
