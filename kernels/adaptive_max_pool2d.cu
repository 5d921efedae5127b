// adaptive_max_pool2d.cu: y[n,p,q,c] = the largest x over rows floor(p H / P) to ceil((p + 1) H / P) and columns
// likewise, index = h W + w of the first one, or of the last NaN; dx = the sum of the dy that (h, w) won.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, C), of type stored   index (N, P, Q, C) int64
// Launch: forward and backward one thread per VEC channels of an output or input; forward_large one block per
// output and tile of channels, block = (vectors of channels, rows), at most BLOCK threads.
// Traffic: forward x about once, y and index once; backward dy and index about once, dx once. Backward gathers:
// no atomics, the same bits every time.
// Source: lecture topic L15; ties and NaN as in PyTorch: the first maximum, the last NaN.
#include "windows.cuh"

struct Best {
    Vector<real, VEC> value;
    int place[VEC];  // h W + w
};

// Whether (u, at) goes before (best, place): what is larger, then the lower place. A NaN goes before
// numbers, and the last NaN before the others.
__device__ __forceinline__ bool beats(real u, int at, real best, int place) {
    const bool strange = u != u, nan = best != best;
    if (strange || nan) return strange && (!nan || at > place);
    return u > best || (u == best && at < place);
}

// Every element goes before it: what is -infinity has a lower place.
__device__ __forceinline__ Best none() {
    Best best;
#pragma unroll
    for (int v = 0; v < VEC; ++v) best.value.v[v] = -INFINITY, best.place[v] = 0x7fffffff;
    return best;
}

__device__ __forceinline__ void look(Best& best, const stored* from, int place) {
    const Vector<real, VEC> u = load<VEC>(from);
#pragma unroll
    for (int v = 0; v < VEC; ++v)
        if (beats(u.v[v], place, best.value.v[v], best.place[v])) best.value.v[v] = u.v[v], best.place[v] = place;
}

__device__ __forceinline__ Best better(Best a, const Best& b) {
#pragma unroll
    for (int v = 0; v < VEC; ++v)
        if (beats(b.value.v[v], b.place[v], a.value.v[v], a.place[v]))
            a.value.v[v] = b.value.v[v], a.place[v] = b.place[v];
    return a;
}

__device__ __forceinline__ void put(stored* y, long long* index, size_t at, const Best& best) {
    Vector<long long, VEC> places;
#pragma unroll
    for (int v = 0; v < VEC; ++v) places.v[v] = best.place[v];
    store(y + at, best.value);
    store(index + at, places);
}

extern "C" __global__ void adaptive_max_pool2d_forward(stored* __restrict__ y, long long* __restrict__ index,
                                                       const stored* __restrict__ x, AdaptiveWindows g, int threads) {
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    const Place at = g.over.place(number);
    const Span rows = g.rows(at.row), columns = g.columns(at.column);
    const stored* image = x + (size_t)at.n * g.H * g.W * g.C + at.c * VEC;
    Best best = none();
    for (int h = rows.first; h < rows.last; ++h)
        for (int w = columns.first; w < columns.last; ++w)
            look(best, image + (size_t)(h * g.W + w) * g.C, h * g.W + w);
    put(y, index, (size_t)number * VEC, best);
}

extern "C" __global__ void adaptive_max_pool2d_forward_large(stored* __restrict__ y, long long* __restrict__ index,
                                                             const stored* __restrict__ x, AdaptiveWindows g) {
    __shared__ Best room[BLOCK];
    const Place at = g.over.place(blockIdx.x);
    const int c = (at.c * blockDim.x + threadIdx.x) * VEC;
    const stored* image = x + (size_t)at.n * g.H * g.W * g.C + c;
    Best best = none();
    if (c < g.C) {
        my_elements(g.rows(at.row), g.columns(at.column), [&](int h, int w) {
            look(best, image + (size_t)(h * g.W + w) * g.C, h * g.W + w);
        });
    }
    best = over_thread_rows(best, room, better);
    if (threadIdx.y > 0 || c >= g.C) return;
    put(y, index, (((size_t)at.n * g.P + at.row) * g.Q + at.column) * g.C + c, best);
}

extern "C" __global__ void adaptive_max_pool2d_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                                        const long long* __restrict__ index, AdaptiveWindows g,
                                                        int threads) {
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    const Place at = g.over.place(number);
    const Span rows = g.seen_from_rows(at.row), columns = g.seen_from_columns(at.column);
    const size_t image = (size_t)at.n * g.P * g.Q * g.C + at.c * VEC;
    const long long place = at.row * g.W + at.column;
    Vector<real, VEC> sum = {};
    for (int p = rows.first; p < rows.last; ++p) {
#pragma unroll 1  // few windows cover an input: registers are better spent on more threads
        for (int q = columns.first; q < columns.last; ++q) {
            const size_t from = image + (size_t)(p * g.Q + q) * g.C;
            const Vector<real, VEC> d = load<VEC>(dy + from);
            const Vector<long long, VEC> won = load<VEC>(index + from);
#pragma unroll
            for (int v = 0; v < VEC; ++v) sum.v[v] += won.v[v] == place ? d.v[v] : real(0);
        }
    }
    store(dx + (size_t)number * VEC, sum);
}
