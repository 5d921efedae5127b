// avg_pool2d.cu: y[n,p,q,c] = the sum of x over window (p, q) / its number of elements (or / divisor), and
// dx[n,h,w,c] = the sum over the windows that cover (h, w) of dy / that number.
//   x, dx (N, H, W, C)   y, dy (N, P, Q, C), of type stored
// Launch: forward and backward one thread per VEC channels of an output or input; forward_large one block per
// output and tile of channels, block = (vectors of channels, rows), at most BLOCK threads.
// Traffic: forward x about once (windows overlap in cache), y once; backward dy about once, dx once. Backward
// gathers: nothing is added twice at once, no atomics, the same bits every time.
// Source: lecture topic L15; padding, ceil_mode and divisors as in PyTorch.
#include "pool_mean.cuh"

struct AvgPool2dShape {
    int H, W, C, P, Q, R, S, stride_h, stride_w, pad_h, pad_w;
    int count_pad, divisor;  // whether padding counts; what to divide by if not 0
    Spread over;
    Divisor by_stride_h, by_stride_w;

    __device__ __forceinline__ Span inside(int o, int stride, int pad, int k, int n) const {
        const int start = o * stride - pad;
        return {max(start, 0), min(start + k, n)};
    }
    __device__ __forceinline__ Span rows(int p) const { return inside(p, stride_h, pad_h, R, H); }
    __device__ __forceinline__ Span columns(int q) const { return inside(q, stride_w, pad_w, S, W); }

    // Outputs o with o stride <= i + pad < o stride + k.
    __device__ __forceinline__ Span seen(int i, const Divisor& stride, int pad, int k, int outputs) const {
        const int at = i + pad;
        return {at < k ? 0 : stride.quotient(at - k) + 1, min(stride.quotient(at) + 1, outputs)};
    }
    __device__ __forceinline__ Span seen_from_rows(int h) const { return seen(h, by_stride_h, pad_h, R, P); }
    __device__ __forceinline__ Span seen_from_columns(int w) const { return seen(w, by_stride_w, pad_w, S, Q); }

    // What ceil_mode lets hang over the padding never counts.
    __device__ __forceinline__ int length(int o, int stride, int pad, int k, int n) const {
        const int start = o * stride - pad;
        return count_pad ? min(start + k, n + pad) - start : inside(o, stride, pad, k, n).length();
    }
    __device__ __forceinline__ real count(int p, int q) const {
        if (divisor) return divisor;
        return real(length(p, stride_h, pad_h, R, H)) * real(length(q, stride_w, pad_w, S, W));
    }
};

extern "C" __global__ void avg_pool2d_forward(stored* __restrict__ y, const stored* __restrict__ x, AvgPool2dShape g,
                                              int threads) {
    mean_by_thread(y, x, g, threads);
}

extern "C" __global__ void avg_pool2d_forward_large(stored* __restrict__ y, const stored* __restrict__ x,
                                                    AvgPool2dShape g) {
    mean_by_block(y, x, g);
}

extern "C" __global__ void avg_pool2d_backward(stored* __restrict__ dx, const stored* __restrict__ dy, AvgPool2dShape g,
                                               int threads) {
    mean_backward(dx, dy, g, threads);
}
