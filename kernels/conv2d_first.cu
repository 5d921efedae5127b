// conv2d_first.cu: the convolution of a first layer: few channels, so few that vectors along them do not exist and a
// matrix product would spend its time finding out where each element lies.
//   x (N, H, W, C)   y, dy, dz (N, P, Q, K)   weight, dweight (K, R, S, C)   bias, dbias (K) or null
// Formulas and dz as in conv2d.cu; one group; the gradient of x is conv2d_first_data.cu's.
// A block brings the part of x under a tile of outputs to shared memory once, a plane a channel: then every product is
// of two numbers at places known in advance, and four outputs read what they need in vectors.
// A strip is what one channel has in one filter row: TAPS elements side by side, of outputs STRIDE apart, for the
// GEOMETRY 10 * STRIDE + TAPS of most first layers in float. In all others, GEOMETRY 1, it is one element.
// Four outputs, a quad, are side by side. In GEOMETRY 1 a tile has four bands of rows or of columns, and a quad is the
// same output of each: so x under it is a vector whatever stride and dilation are, and such vectors the patch has.
// Tiles are high x wide outputs; a block does several, one after the other.
//   forward: the block's filters stay in shared memory, [four filters][strip, tap][filter], each four's bias
//     behind; a thread has QUADS_Q quads in a row, `across` quads apart, of TN filters
//   backward weight: dz of the tile beside x; a thread has STRIPS strips of TN filters, and every lanes-th quad
// Launch: forward grid = (blocks, filter tiles), block = filter groups * across * rows (of a band); backward weight
// grid = (blocks, filter tiles), block = filter groups * groups of strips * lanes.
// Counted by the emulator: no bank conflicts in either inner loop; some on the way to shared memory.
// Traffic: forward x, y once and weight once a block; backward weight x, dy and y once, dz once, and a block's dweight.
// Resident on an SM of sm_90, float: 16 warps of blocks of 256 threads; 8 where a thread's sums and its part of x fill
// the registers (backward weight of 8 filters, but for 5 taps; forward of 4 filters and 7 taps), and its products go to
// 56 to 72 sums that do not wait for each other.
// Source: Chetlur et al. 2014, "cuDNN", arXiv:1410.0759, for tiles of the image in shared memory.
#include "shared_place.cuh"

#ifndef TN
#define TN 4
#endif
#ifndef GEOMETRY
#define GEOMETRY 1
#endif
enum { STRIDE = GEOMETRY / 10, TAPS = GEOMETRY % 10 };
enum { BYTES = sizeof(real) };                 // places in shared memory are in bytes
enum { WIDE = sizeof(real) / sizeof(float) };  // registers of a number: a thread has half as many doubles
enum { QUADS_K = TN / 4, QUADS_Q = 16 / TN / WIDE };
enum { STRIPS = TAPS == 1 ? 8 / WIDE : TAPS == 3 ? 3 : 1 };
enum { UNDER = STRIDE ? (3 * STRIDE + TAPS + 3) / 4 * 4 : 4 };  // numbers of x under a quad
enum { SIDE = STRIDE ? 4 : 1, BANDS = 4 / SIDE };                // outputs of a quad side by side; bands of a tile
enum { FAN = 16, TICKETS = 32 };

struct FirstShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int high, wide;  // outputs of a tile
    int band_p, band_q;  // rows and columns from band to band, of which one is 0
    int rows, columns, seen, pitch;  // of x under a band; columns that some output sees; numbers from plane to plane
    int tiles, tiles_per_block;
    int filter_groups, across;  // across: threads along a row of a tile; backward weight: groups of strips
    int lanes;  // backward weight: quads at a time
    int apart[4];  // bytes to x under four quads of a thread's outputs; backward weight: to dz of four outputs
    int strips, aligned;  // aligned: whether four filters of an output are a vector
    // by_wide: outputs of a row, or with bands of a band; by_quads: quads of a row
    Divisor by_tiles_P, by_tiles_Q, by_wide, by_quads, by_line, by_C, by_filter_groups, by_across, by_per_channel;
    Divisor by_SC, by_depth, by_filter_quads;
};

struct Tile {
    int n, p, q;
    __device__ __forceinline__ Tile(const FirstShape& g, int number) {
        q = number;
        number = g.by_tiles_Q.split(q);
        p = number;
        n = g.by_tiles_P.split(p);
        p *= g.high, q *= g.wide;
    }
};

// Brings x under a tile to `patch` (rows, C, pitch), zeros around the image.
__device__ __forceinline__ void take_patch(real* patch, const real* __restrict__ x, const FirstShape& g,
                                           const Tile& tile) {
    const int top = tile.p * g.stride_h - g.pad_h, left = tile.q * g.stride_w - g.pad_w, line = g.columns * g.C;
    const real* image = x + (size_t)tile.n * g.H * g.W * g.C;
    for (int i = threadIdx.x; i < g.rows * line; i += blockDim.x) {
        int c = i;
        const int row = g.by_line.split(c), column = g.by_C.split(c);
        Vector<real, BANDS> found;
#pragma unroll
        for (int band = 0; band < BANDS; ++band) {
            const int h = top + row + band * g.band_p * g.stride_h, w = left + column + band * g.band_q * g.stride_w;
            const bool inside = h >= 0 && h < g.H && w >= 0 && w < g.W && column < g.seen;
            found.v[band] = inside ? image[((size_t)h * g.W + w) * g.C + c] : real(0);
        }
        store(patch + (row * g.C + c) * g.pitch + column * BANDS, found);
    }
}

// Where in the patch of an output a strip begins; r, c and s: its first filter element.
__device__ __forceinline__ int place_of(const FirstShape& g, int strip, int& r, int& c, int& s) {
    s = strip;
    c = g.by_per_channel.split(s);
    r = g.by_C.split(c);
    return (r * g.dilation_h * g.C + c) * g.pitch + s * g.dilation_w * BANDS;
}

// Where an output of a quad lies, from the quad's first.
__device__ __forceinline__ int row_of(const FirstShape& g, int output) { return STRIDE ? 0 : output * g.band_p; }
__device__ __forceinline__ int column_of(const FirstShape& g, int output) {
    return STRIDE ? output : output * g.band_q;
}

// x under a quad: number i * STRIDE + tap is under tap `tap` of output i.
struct Under {
    real of[UNDER];
    __device__ __forceinline__ void take(SharedPlace from) {
#pragma unroll
        for (int i = 0; i < UNDER; i += 4) *reinterpret_cast<Vector<real, 4>*>(of + i) = load<4>(from + i * BYTES);
    }
    __device__ __forceinline__ real at(int i, int tap) const { return of[STRIDE ? i * STRIDE + tap : i]; }
};

// The filters of a group: QUADS_K times four that lie side by side, so that groups side by side read side by side.
__device__ __forceinline__ int filter_of(const FirstShape& g, int group, int quad) {
    return (quad * g.filter_groups + group) * 4;
}

// Blocks of an SM that ptxas has to leave registers for.
enum { HELD = TAPS == 7 && TN == 4 ? 1 : 2 };

extern "C" __global__ void __launch_bounds__(256, HELD)
conv2d_first_forward(real* __restrict__ y, const real* __restrict__ x, const real* __restrict__ weight,
                     const real* __restrict__ bias, FirstShape g, int relu) {
    DYNAMIC_SHARED(real, shared);
    const int depth = g.R * g.S * g.C, filters = g.filter_groups * TN;
    const int pitch = (depth + 1 | 1) * 4;  // from four filters to the next: an odd number of vectors, for other banks
    const int first = blockIdx.y * filters;
    real* patch = shared + filters / 4 * pitch;
    int* places = reinterpret_cast<int*>(patch + g.rows * g.C * g.pitch);
    for (int i = threadIdx.x; i < depth * filters; i += blockDim.x) {
        int e = i;
        const int k = g.by_depth.split(e);
        const real f = first + k < g.K ? weight[(size_t)first * depth + i] : real(0);
        const int r = g.by_SC.split(e), s = g.by_C.split(e);
        shared[k / 4 * pitch + ((r * g.C + e) * g.S + s) * 4 + k % 4] = f;
    }
    for (int k = threadIdx.x; k < filters; k += blockDim.x)
        shared[k / 4 * pitch + depth * 4 + k % 4] = bias != nullptr && first + k < g.K ? bias[first + k] : real(0);
    for (int i = threadIdx.x; i < g.strips; i += blockDim.x) {
        int r, c, s;
        places[i] = place_of(g, i, r, c, s) * BYTES;
    }
    int group = threadIdx.x;
    int column = g.by_filter_groups.split(group);
    const int row = g.by_across.split(column);
    const SharedPlace mine(patch + row * g.stride_h * g.C * g.pitch + column * 4 * g.stride_w);
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int number = blockIdx.x * g.tiles_per_block; number < last; ++number) {
        const Tile tile(g, number);
        __syncthreads();  // the patch before has been read
        take_patch(patch, x, g, tile);
        __syncthreads();
        real sum[QUADS_Q * 4][TN];
#pragma unroll
        for (int i = 0; i < QUADS_Q * 4; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j) sum[i][j] = 0;
        SharedPlace filter(shared + group * pitch), place(places);
#pragma unroll(TAPS == 1 && WIDE == 1 ? 4 : 1)  // one tap is few products for what a turn takes besides
        for (int strip = 0; strip < g.strips; ++strip, place += sizeof(int), filter += TAPS * 4 * BYTES) {
            const SharedPlace under = mine + one_at<int>(place);
            Under u[QUADS_Q];
#pragma unroll
            for (int quad = 0; quad < QUADS_Q; ++quad) u[quad].take(under + g.apart[quad]);
#pragma unroll
            for (int tap = 0; tap < TAPS; ++tap) {
                Vector<real, 4> f[QUADS_K];
#pragma unroll
                for (int quad = 0; quad < QUADS_K; ++quad)
                    f[quad] = load<4>(filter + (quad * g.filter_groups * pitch + tap * 4) * BYTES);
#pragma unroll
                for (int i = 0; i < QUADS_Q * 4; ++i)
#pragma unroll
                    for (int j = 0; j < TN; ++j) sum[i][j] += u[i / 4].at(i % 4, tap) * f[j / 4].v[j % 4];
            }
        }
        const int p = tile.p + row;
        if (STRIDE && p >= g.P) continue;
        Vector<real, 4> offset[QUADS_K];  // where the last strip ended
#pragma unroll
        for (int quad = 0; quad < QUADS_K; ++quad)
            offset[quad] = load<4>(filter + quad * g.filter_groups * pitch * BYTES);
#pragma unroll
        for (int i = 0; i < QUADS_Q * 4; ++i) {
            const int below = row_of(g, i % 4);
            const int q = tile.q + (column + i / 4 * g.across) * SIDE + column_of(g, i % 4);
            if (p + below >= g.P || q >= g.Q) continue;
            real* out = y + (((size_t)tile.n * g.P + p + below) * g.Q + q) * g.K;
#pragma unroll
            for (int quad = 0; quad < QUADS_K; ++quad) {
                const int k = first + filter_of(g, group, quad);
                Vector<real, 4> v;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    v.v[j] = sum[i][quad * 4 + j] + offset[quad].v[j];
                    if (relu && v.v[j] < 0) v.v[j] = 0;
                }
                if (k + 4 <= g.K && g.aligned) {
                    store(out + k, v);
                } else {
#pragma unroll
                    for (int j = 0; j < 4; ++j)
                        if (k + j < g.K) out[k + j] = v.v[j];
                }
            }
        }
    }
}

// A thread's sums of backward weight: STRIPS strips of TN filters, and the filters' own.
struct Sums {
    enum { ELEMENTS = STRIPS * TAPS, COUNT = ELEMENTS * TN + TN };
    real of[COUNT];
    // In memory the same four of all `threads` lie side by side.
    __device__ __forceinline__ void leave(real* to, int threads) const {
#pragma unroll
        for (int i = 0; i < COUNT; i += 4) {
            Vector<real, 4> v;
#pragma unroll
            for (int j = 0; j < 4; ++j) v.v[j] = of[i + j];
            store(to + i * threads, v);
        }
    }
    __device__ __forceinline__ void take(const real* from, int threads) {
#pragma unroll
        for (int i = 0; i < COUNT; i += 4) {
            const Vector<real, 4> v = load<4>(from + i * threads);
#pragma unroll
            for (int j = 0; j < 4; ++j) of[i + j] += v.v[j];
        }
    }
};

// dz of four filters of an output from `k` on, zeros beyond the last filter; also writes it to dz.
__device__ __forceinline__ Vector<real, 4> gradient(real* __restrict__ dz, const real* __restrict__ dy,
                                                    const real* __restrict__ y, const FirstShape& g, size_t at, int k) {
    Vector<real, 4> d = {}, out = {};
    if (k + 4 <= g.K && g.aligned) {
        d = load<4>(dy + at);
        if (y == nullptr) return d;
        out = load<4>(y + at);
#pragma unroll
        for (int j = 0; j < 4; ++j) d.v[j] = out.v[j] <= 0 ? real(0) : d.v[j];
        if (dz != nullptr) store(dz + at, d);
        return d;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        if (k + j >= g.K) continue;
        d.v[j] = dy[at + j];
        if (y == nullptr) continue;
        d.v[j] = y[at + j] <= 0 ? real(0) : d.v[j];
        if (dz != nullptr) dz[at + j] = d.v[j];
    }
    return d;
}

// partial (filter tiles, blocks, COUNT / 4, threads of a lane, 4); tickets (filter tiles, TICKETS).
extern "C" __global__ void __launch_bounds__(256, TN == 4 || TAPS == 5 ? 2 : 1)
conv2d_first_backward_weight(real* __restrict__ dweight, real* __restrict__ dbias, real* __restrict__ dz,
                             real* __restrict__ partial, INOUT unsigned* __restrict__ tickets,
                             const real* __restrict__ dy, const real* __restrict__ y, const real* __restrict__ x,
                             FirstShape g) {
    DYNAMIC_SHARED(real, shared);
    const int depth = g.R * g.S * g.C, filters = g.filter_groups * TN, outputs = g.high * g.wide;
    const int first = blockIdx.y * filters;
    real* patch = shared + outputs * filters;
    const int threads = g.filter_groups * g.across;  // of a lane
    int group = threadIdx.x;
    int elements = g.by_filter_groups.split(group), lane = g.by_across.split(elements);
    int place[STRIPS];
#pragma unroll
    for (int i = 0; i < STRIPS; ++i) {
        int r, c, s;
        place[i] = place_of(g, min(elements + i * g.across, g.strips - 1), r, c, s) * BYTES;
        if (i > 0) place[i] -= place[0];  // a walk through the patch begins at the first one
    }
    // Four filters are always brought by the same threads, `slots` outputs at a time, which so add up the bias's gradient.
    int filter_quad = threadIdx.x;
    const int slot = g.by_filter_quads.split(filter_quad), slots = g.by_filter_quads.quotient(blockDim.x);
    // From a quad to the one that comes next in a lane; where that is beyond a row's end, to the next row.
    const int line = g.stride_h * g.C * g.pitch * BYTES, quad_width = 4 * g.stride_w * BYTES;
    const int quads = g.by_quads.value;
    int right = g.lanes;
    const int down = g.by_quads.split(right), step = down * line + right * quad_width, turn = line - quads * quad_width;
    const int next = g.lanes * 4 * g.apart[1];
    Vector<real, 4> own = {};
    Sums sums = {};
    const int last = min(g.tiles, ((int)blockIdx.x + 1) * g.tiles_per_block);
    for (int number = blockIdx.x * g.tiles_per_block; number < last; ++number) {
        const Tile tile(g, number);
        __syncthreads();  // the tile before has been read
        take_patch(patch, x, g, tile);
        if (slot < slots)
            for (int i = slot; i < outputs; i += slots) {
                // One after the other as in memory, in rows or bands; in shared memory a quad's four are neighbours.
                int column = i, o = i;
                int row = g.by_wide.split(column);
                if (!STRIDE) o = column * 4 + row, row = g.by_quads.split(column);
                const int p = tile.p + row + row_of(g, o % 4);
                const int q = tile.q + column + (STRIDE ? 0 : column_of(g, o % 4)), k = first + filter_quad * 4;
                Vector<real, 4> d = {};
                if (p < g.P && q < g.Q)
                    d = gradient(dz, dy, y, g, (((size_t)tile.n * g.P + p) * g.Q + q) * g.K + k, k);
                store(shared + o * filters + filter_quad * 4, d);
#pragma unroll
                for (int j = 0; j < 4; ++j) own.v[j] += d.v[j];
            }
        __syncthreads();
        // Stepped forward without dividing: to the quad that comes next in this lane.
        int column = lane;
        SharedPlace from(shared + lane * 4 * filters + group * 4), end(patch);
        const int row = g.by_quads.split(column);
        SharedPlace under = SharedPlace(patch) + (row * line + column * quad_width + place[0]);
#pragma unroll 1  // more at a time need more registers than there are
        while (from < end) {
            Under u[STRIPS];
#pragma unroll
            for (int i = 0; i < STRIPS; ++i) u[i].take(i == 0 ? under : under + place[i]);
#pragma unroll
            for (int output = 0; output < 4; ++output) {
                Vector<real, 4> d[QUADS_K];
#pragma unroll
                for (int quad = 0; quad < QUADS_K; ++quad)
                    d[quad] = load<4>(from + (g.apart[output] + filter_of(g, 0, quad) * BYTES));
#pragma unroll
                for (int i = 0; i < Sums::ELEMENTS; ++i)
#pragma unroll
                    for (int j = 0; j < TN; ++j)
                        sums.of[i * TN + j] += u[i / TAPS].at(output, i % TAPS) * d[j / 4].v[j % 4];
            }
            column += right, under += step, from += next;
            if (column >= quads) column -= quads, under += turn;
        }
    }
    // Worked out again: during the products there are no registers to keep it.
    group = asked_again();
    elements = g.by_filter_groups.split(group), lane = g.by_across.split(elements);
    const int thread = threadIdx.x - lane * threads;
    // The bias's gradient: of the slots, in their order.
    __syncthreads();  // the last tile has been read
    if (slot < slots) store(shared + slot * filters + filter_quad * 4, own);
    __syncthreads();
    if (lane == 0 && elements == 0)
#pragma unroll
        for (int j = 0; j < TN; ++j)
            for (int i = 0; i < slots; ++i)
                sums.of[Sums::ELEMENTS * TN + j] += shared[i * filters + filter_of(g, group, j / 4) + j % 4];
    // The lanes, in their order, a filter at a time.
#pragma unroll
    for (int j = 0; j < TN; ++j) {
        __syncthreads();  // what lies there has been read
        if (lane > 0)
#pragma unroll
            for (int i = 0; i < Sums::ELEMENTS; ++i) shared[i * blockDim.x + threadIdx.x] = sums.of[i * TN + j];
        __syncthreads();
        if (lane == 0)
#pragma unroll 1
            for (int l = 1; l < g.lanes; ++l)
#pragma unroll
                for (int i = 0; i < Sums::ELEMENTS; ++i)
                    sums.of[i * TN + j] += shared[i * blockDim.x + l * threads + thread];
    }
    // The blocks: the last of each FAN adds those, and the last of the results those.
    real* from = partial + (size_t)blockIdx.y * gridDim.x * threads * Sums::COUNT + thread * 4;
    unsigned* ticket = tickets + blockIdx.y * TICKETS;
    size_t apart = (size_t)Sums::COUNT * threads;
    for (int number = blockIdx.x, count = gridDim.x; count > 1;) {
        const int fan = number / FAN, members = min((int)FAN, count - fan * FAN);
        if (lane == 0) sums.leave(from + number * apart, threads);
        if (!last_block(ticket + fan, members)) return;
        if (lane == 0) {
            sums = {};
#pragma unroll 1
            for (int m = 0; m < members; ++m) sums.take(from + (fan * FAN + m) * apart, threads);
        }
        // What is left next replaces the first of these sums, which no one needs any more.
        ticket += (count + FAN - 1) / FAN;
        number = fan, count = (count + FAN - 1) / FAN, apart *= FAN;
    }
    // A filter of each group at a time, so that its elements are written side by side.
#pragma unroll
    for (int j = 0; j < TN; ++j) {
        __syncthreads();  // what lies there has been read
        if (lane == 0)
#pragma unroll
            for (int i = 0; i < Sums::ELEMENTS; ++i)
                shared[((elements + i / TAPS * g.across) * TAPS + i % TAPS) * g.filter_groups + group] =
                    sums.of[i * TN + j];
        __syncthreads();
        for (int i = threadIdx.x; i < g.filter_groups * depth; i += blockDim.x) {
            int c = i;
            const int owner = g.by_depth.split(c), k = first + filter_of(g, owner, j / 4) + j % 4;
            real* out = dweight + (size_t)k * depth + c;
            const int r = g.by_SC.split(c), s = g.by_C.split(c);
            if (k < g.K) *out = shared[((r * g.C + c) * g.S + s) * g.filter_groups + owner];
        }
        const int k = first + filter_of(g, group, j / 4) + j % 4;
        if (lane == 0 && elements == 0 && k < g.K && dbias != nullptr) dbias[k] = sums.of[Sums::ELEMENTS * TN + j];
    }
}
