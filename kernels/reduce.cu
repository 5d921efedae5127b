// reduce.cu: sums, products, largest and smallest over one axis of (outer, length, inner), of x or of a function of x.
//   x (outer, length, inner)   beside (outer, inner) or null
//   y (outer, inner) if there is one slice, finished; else states: rows (outer, slices), columns (slices, outer, inner)
// Launch: rows (inner = 1): grid = (row groups, slices), block = (threads a row, rows); columns: grid = (outer times
// tiles of columns, slices), block = (vectors of columns, places). A second launch reduces the slices.
// Traffic: x once, y once. real is int64 for all whole numbers.
#include "reduce.cuh"

// The orders are those of gpunn/gpu/reduce.py.
enum { SUM, FUNCTION, EXTREME, PRODUCT };
enum { ABS, SQUARE, POWER, NONZERO, AWAY_SQUARED, EQUAL, EQUAL_OR_NAN, ABS_EQUAL_OR_NAN };  // details of FUNCTION
enum { LARGEST = 1, OF_ABS = 2 };                                                      // bits of EXTREME's
enum { AS_IT_IS, SCALED, DIVIDED, ROOT_OF_DIVIDED, ROOT, TO_THE_POWER };               // ends

__device__ __forceinline__ real size_of(real u) {
    return u < 0 ? -u : u;
}

struct Added {
    typedef real State;
    __device__ __forceinline__ State none() const { return 0; }
    __device__ __forceinline__ void merge(State& s, State other) const { s += other; }
    __device__ __forceinline__ State across(State s, int lanes) const { return __shfl_xor_sync(FULL_MASK, s, lanes); }
};

struct Sum : Added {
    __device__ __forceinline__ void take(State& s, real u, real, long long) const { s += u; }
};

template <class T>
__device__ __forceinline__ T function_of(int function, T u, T beside, T p) {
    if constexpr (FLOATING<T>) {
        switch (function) {
            case ABS: return fabs(u);
            case SQUARE: return u * u;
            case POWER: return pow(fabs(u), p);
            case NONZERO: return u != 0;
            case AWAY_SQUARED: return (u - beside) * (u - beside);
            case EQUAL: return u == beside;
            case EQUAL_OR_NAN: return u == beside || (u != u && beside != beside);
            default: return fabs(u) == beside || u != u;
        }
    } else {
        return u;  // none is asked of whole numbers
    }
}

struct SumOfFunction : Added {
    int function;
    real p;
    __device__ __forceinline__ SumOfFunction(int f, real power) : function(f), p(power) {}
    __device__ __forceinline__ void take(State& s, real u, real beside, long long) const {
        s += function_of(function, u, beside, p);
    }
};

// What is not larger (not smaller) than any number.
template <class T>
__device__ __forceinline__ T worst(bool largest) {
    if constexpr (FLOATING<T>) {
        return largest ? T(-INFINITY) : T(INFINITY);
    } else {
        const T most = 0x7fffffffffffffffLL;
        return largest ? -most - 1 : most;
    }
}

struct Extreme {
    typedef real State;
    int detail;
    __device__ __forceinline__ State none() const { return worst<real>(detail & LARGEST); }
    __device__ __forceinline__ void merge(State& s, State other) const {  // NaN wins
        if ((detail & LARGEST ? other > s : other < s) || other != other) s = other;
    }
    __device__ __forceinline__ void take(State& s, real u, real, long long) const {
        merge(s, detail & OF_ABS ? size_of(u) : u);
    }
    __device__ __forceinline__ State across(State s, int lanes) const { return __shfl_xor_sync(FULL_MASK, s, lanes); }
};

struct Product {
    typedef real State;
    __device__ __forceinline__ State none() const { return 1; }
    __device__ __forceinline__ void take(State& s, real u, real, long long) const { s *= u; }
    __device__ __forceinline__ void merge(State& s, State other) const { s *= other; }
    __device__ __forceinline__ State across(State s, int lanes) const { return __shfl_xor_sync(FULL_MASK, s, lanes); }
};

template <class T>
__device__ __forceinline__ T finished(T s, int end, T number) {
    if constexpr (FLOATING<T>) {
        switch (end) {
            case SCALED: return s * number;
            case DIVIDED: return s / number;
            case ROOT_OF_DIVIDED: return sqrt(s / number);
            case ROOT: return sqrt(s);
            case TO_THE_POWER: return pow(s, number);
        }
    }
    return s;
}

extern "C" __global__ void reduce_rows(real* __restrict__ y, const real* __restrict__ x,
                                       const real* __restrict__ beside, int outer, long long length,
                                       long long per_slice, int op, int detail, real p, int end, real number) {
    __shared__ real shared[WARP];
    real all;
    switch (op) {
        case SUM: all = row_state(Sum(), shared, x, beside, outer, length, per_slice); break;
        case FUNCTION:
            all = row_state(SumOfFunction(detail, p), shared, x, beside, outer, length, per_slice);
            break;
        case EXTREME: all = row_state(Extreme{detail}, shared, x, beside, outer, length, per_slice); break;
        default: all = row_state(Product(), shared, x, beside, outer, length, per_slice); break;
    }
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (threadIdx.x == 0 && row < outer) y[row * gridDim.y + blockIdx.y] = finished(all, end, number);
}

extern "C" __global__ void reduce_columns(real* __restrict__ y, const real* __restrict__ x,
                                          const real* __restrict__ beside, int outer, long long length, int inner,
                                          long long per_slice, Divisor tiles, int op, int detail, real p, int end,
                                          real number) {
    __shared__ real shared[BLOCK * VEC];
    real mine[VEC];
    const Columns here = my_columns(tiles, inner);
    switch (op) {
        case SUM: column_states(Sum(), mine, shared, x, beside, here, length, inner, per_slice); break;
        case FUNCTION:
            column_states(SumOfFunction(detail, p), mine, shared, x, beside, here, length, inner, per_slice);
            break;
        case EXTREME: column_states(Extreme{detail}, mine, shared, x, beside, here, length, inner, per_slice); break;
        default: column_states(Product(), mine, shared, x, beside, here, length, inner, per_slice); break;
    }
    if (threadIdx.y != 0 || here.column >= inner) return;
    Vector<real, VEC> out;
#pragma unroll
    for (int v = 0; v < VEC; ++v) out.v[v] = finished(mine[v], end, number);
    store(y + blockIdx.y * ((long long)outer * inner) + here.at, out);
}
