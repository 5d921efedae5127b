// max_pool2d.cu: y[n,p,q,c] = max over the window of x, and which of its elements won.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, C), of type stored   offset (N, P, Q, C) of type CODE: r * S + s of the winner
//   With `flat` y and dy are (N, C, P, Q): what a Flatten behind the layer hands on, without a transpose of its own.
//   With `relu` y is max(y, 0), the same as of a ReLU before the layer but made of a fraction of the numbers. Where it is
//   closed offset is CLOSED, which is no element's: nothing goes back there, and backward needs no mask.
//   CODE is uint8 where that has a number for each of them, else uint16 or uint32.
// Launch: one thread per VEC channels of one output (forward) or input (backward) pixel.
// Traffic: forward x about once (windows overlap in cache), y and offset once; backward dy and offset
// about once, dx once. Backward gathers: each input pixel looks at the windows that cover it, so
// nothing is added twice at once, no atomics, the same bits every time. With `flat` neighbours in a warp lie P * Q apart
// in y and dy: up to eight times the sectors, counted by the emulator, which the L2 cache puts together.
// Source: lecture topic L15; ties and NaN as in PyTorch (the first maximum; NaN wins).
#include "stored.cuh"

struct Pool2dShape {
    int N, H, W, C, P, Q, R, S;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int flat, relu;
    Divisor by_channels, by_width, by_height;  // of the array the threads are spread over, C in vectors
    Divisor by_stride_h, by_stride_w, by_dilation_h, by_dilation_w;
};

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned uint32;
typedef CODE code;

constexpr code CLOSED = (code)~code(0);

struct Span {
    int first, last;  // from first to before last
};

// The elements of a window of k from `start` on that are inside an image of n.
__device__ __forceinline__ Span inside(int start, int k, int n, const Divisor& dilation) {
    const int apart = (int)dilation.value;
    return {start < 0 ? dilation.quotient(apart - 1 - start) : 0,
            start < n ? min(k, dilation.quotient(n - 1 - start) + 1) : 0};
}

// The outputs of n that see place `at`: their windows begin there, or up to `reach` before.
__device__ __forceinline__ Span seeing(int at, int reach, int n, const Divisor& stride) {
    return {stride.quotient(max(at - reach + (int)stride.value - 1, 0)), min(n, stride.quotient(at) + 1)};
}

// Channel c of output pixel (n, p, q) where channels come first; the next channel is P * Q further on.
__device__ __forceinline__ size_t flat_place(const Pool2dShape& g, int n, int p, int q, int c) {
    return (((size_t)n * g.C + c) * g.P + p) * g.Q + q;
}

extern "C" __global__ void max_pool2d_forward(stored* __restrict__ y, code* __restrict__ offset,
                                              const stored* __restrict__ x, Pool2dShape g, int threads) {
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= threads) return;
    const size_t at = (size_t)n * VEC;
    int c = n;
    n = g.by_channels.split(c);  // n, p, q, c: peel off the innermost first
    int q = n;
    n = g.by_width.split(q);
    int p = n;
    n = g.by_height.split(p);
    c *= VEC;
    const int top = p * g.stride_h - g.pad_h, left = q * g.stride_w - g.pad_w;
    const Span rows = inside(top, g.R, g.H, g.by_dilation_h), columns = inside(left, g.S, g.W, g.by_dilation_w);

    // The first element inside the image wins unless another is larger: a window of -inf has a winner too.
    const int first = rows.first < rows.last && columns.first < columns.last ? rows.first * g.S + columns.first : 0;
    Vector<real, VEC> best;
    int winner[VEC];
#pragma unroll
    for (int j = 0; j < VEC; ++j) best.v[j] = -INFINITY, winner[j] = first;
    const int h = top + rows.first * g.dilation_h, w = left + columns.first * g.dilation_w;
    const stored* row = x + (((size_t)n * g.H + h) * g.W + w) * g.C + c;
    const size_t down = (size_t)g.dilation_h * g.W * g.C, across = (size_t)g.dilation_w * g.C;
    for (int r = rows.first; r < rows.last; ++r, row += down) {
        const stored* from = row;
#pragma unroll 4
        for (int number = r * g.S + columns.first; number < r * g.S + columns.last; ++number, from += across) {
            const Vector<real, VEC> u = load<VEC>(from);
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                if (u.v[j] > best.v[j] || u.v[j] != u.v[j]) best.v[j] = u.v[j], winner[j] = number;
        }
    }
    if (g.relu) {
#pragma unroll
        for (int j = 0; j < VEC; ++j) {
            if (best.v[j] <= 0) winner[j] = CLOSED;
            if (best.v[j] < 0) best.v[j] = 0;  // NaN stays
        }
    }
    if (g.flat) {
        const size_t place = flat_place(g, n, p, q, c);
#pragma unroll
        for (int j = 0; j < VEC; ++j) y[place + (size_t)j * g.P * g.Q] = best.v[j];
    } else {
        store(y + at, best);
    }
    Vector<code, VEC> codes;
#pragma unroll
    for (int j = 0; j < VEC; ++j) codes.v[j] = (code)winner[j];
    store(offset + at, codes);
}

// Whether the winner in each of a vector's channels is element `number` of the window. Four bytes are compared as one word:
// a channel is then one instruction instead of two or three.
struct Winners {
    static constexpr bool WORD = sizeof(code) == 1 && VEC == 4;
    Vector<code, VEC> found;
    unsigned differences;
    code number;

    __device__ __forceinline__ Winners(const code* from, int number) : number((code)number) {
        if (WORD) differences = *reinterpret_cast<const unsigned*>(from) ^ (unsigned)number * 0x01010101u;
        else found = load<VEC>(from);
    }
    __device__ __forceinline__ bool are(int j) const {
        return WORD ? (differences >> 8 * j & 0xff) == 0 : found.v[j] == number;
    }
};

// PLAIN: channels last, and no element between those of a window: then an output costs no division.
// Outputs are counted in 32 bits, in vectors: of more the forward pass is refused.
template <bool PLAIN>
__device__ __forceinline__ void backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                         const code* __restrict__ offset, const Pool2dShape& g, int threads) {
    const int number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int c = number;
    int n = g.by_channels.split(c);
    int w = n;
    n = g.by_width.split(w);
    int h = n;
    n = g.by_height.split(h);
    h += g.pad_h, w += g.pad_w;
    const Span rows = seeing(h, (g.R - 1) * g.dilation_h, g.P, g.by_stride_h);
    const Span columns = seeing(w, (g.S - 1) * g.dilation_w, g.Q, g.by_stride_w);

    Vector<real, VEC> sum;
#pragma unroll
    for (int j = 0; j < VEC; ++j) sum.v[j] = 0;
    const int channels = g.by_channels.value, line = g.Q * channels;
    unsigned row = (unsigned)((n * g.P + rows.last - 1) * g.Q + columns.last - 1) * channels + c;
    int r = h - (rows.last - 1) * g.stride_h;
    const int right = w - (columns.last - 1) * g.stride_w;
#pragma unroll 1
    for (int p = rows.last - 1; p >= rows.first; --p, r += g.stride_h, row -= line) {
        int above = r;
        if (!PLAIN && (above = g.by_dilation_h.quotient(r)) * g.dilation_h != r) continue;
        unsigned from = row;
        int s = right;
#pragma unroll 1
        for (int q = columns.last - 1; q >= columns.first; --q, s += g.stride_w, from -= channels) {
            int before = s;
            if (!PLAIN && (before = g.by_dilation_w.quotient(s)) * g.dilation_w != s) continue;
            Vector<real, VEC> d;
            if (!PLAIN && g.flat) {
                const size_t first = flat_place(g, n, p, q, c * VEC);
#pragma unroll
                for (int j = 0; j < VEC; ++j) d.v[j] = dy[first + (size_t)j * g.P * g.Q];
            } else {
                d = load<VEC>(dy + (size_t)from * VEC);
            }
            const Winners winners(offset + (size_t)from * VEC, above * g.S + before);
#pragma unroll
            for (int j = 0; j < VEC; ++j)
                if (winners.are(j)) sum.v[j] += d.v[j];
        }
    }
    store(dx + (size_t)number * VEC, sum);
}

extern "C" __global__ void max_pool2d_backward(stored* __restrict__ dx, const stored* __restrict__ dy,
                                               const code* __restrict__ offset, Pool2dShape g,
                                               int threads) {
    if (g.flat || g.dilation_h > 1 || g.dilation_w > 1) backward<false>(dx, dy, offset, g, threads);
    else backward<true>(dx, dy, offset, g, threads);
}
