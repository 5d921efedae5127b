// extremum.cu: the largest (smallest) element along the middle axis of (outer, length, inner) with its place: the first
// of equal ones, and NaN before all; and its gradient, dx = dy at that place, else 0.
//   x (outer, length, inner)   values, places (outer, inner)   dx (outer, length, inner), dy (outer, inner)
//   With slices: values and places rows (outer, slices), columns (slices, outer, inner), for a second launch, whose
//   `found` are the places of what it reads.
// Launch: as reduce.cu; placing: one thread per element of dx.
// Traffic: x once; dx once. real is int64 for all whole numbers.
#include "reduce.cuh"

struct Candidate {
    real value;
    long long place;
};

__device__ __forceinline__ bool is_nan(real u) {
    return u != u;
}

struct First {
    typedef Candidate State;
    int largest;

    __device__ __forceinline__ State none() const { return {0, -1}; }
    // Whether a comes before b.
    __device__ __forceinline__ bool before(const State& a, const State& b) const {
        if (a.place < 0 || b.place < 0) return b.place < 0;
        if (is_nan(a.value) != is_nan(b.value)) return is_nan(a.value);
        const bool better = largest ? a.value > b.value : a.value < b.value;
        const bool worse = largest ? a.value < b.value : a.value > b.value;
        return better || (!worse && a.place < b.place);
    }
    __device__ __forceinline__ void merge(State& s, const State& other) const {
        if (before(other, s)) s = other;
    }
    // Places grow, so that only a better one takes the lead; those that a first launch found grow too.
    __device__ __forceinline__ void take(State& s, real u, real, long long i) const {
        const bool better = largest ? u > s.value : u < s.value;
        if (s.place < 0 || better || (is_nan(u) && !is_nan(s.value))) s = {u, i};
    }
    __device__ __forceinline__ State across(const State& s, int lanes) const {
        return {__shfl_xor_sync(FULL_MASK, s.value, lanes), __shfl_xor_sync(FULL_MASK, s.place, lanes)};
    }
};

extern "C" __global__ void extremum_rows(real* __restrict__ values, long long* __restrict__ places,
                                         const real* __restrict__ x, const long long* __restrict__ found, int outer,
                                         long long length, long long per_slice, int largest) {
    __shared__ Candidate shared[WARP];
    const Candidate all = row_state(First{largest}, shared, x, nullptr, outer, length, per_slice);
    const long long row = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (threadIdx.x != 0 || row >= outer) return;
    const long long at = row * gridDim.y + blockIdx.y;
    values[at] = all.value;
    places[at] = found != nullptr ? found[row * length + all.place] : all.place;
}

extern "C" __global__ void extremum_columns(real* __restrict__ values, long long* __restrict__ places,
                                            const real* __restrict__ x, const long long* __restrict__ found,
                                            int outer, long long length, int inner, long long per_slice,
                                            Divisor tiles, int largest) {
    __shared__ Candidate shared[BLOCK * VEC];
    Candidate mine[VEC];
    const Columns here = my_columns(tiles, inner);
    column_states(First{largest}, mine, shared, x, nullptr, here, length, inner, per_slice);
    if (threadIdx.y != 0 || here.column >= inner) return;
    const long long to = blockIdx.y * ((long long)outer * inner) + here.at;
    const long long* seen = found + here.outer * length * inner + here.column;
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        values[to + v] = mine[v].value;
        places[to + v] = found != nullptr ? seen[mine[v].place * inner + v] : mine[v].place;
    }
}

// element = (o * length + i) * inner + c.
extern "C" __global__ void place_along(real* __restrict__ dx, const real* __restrict__ dy,
                                       const long long* __restrict__ places, Divisor length, Divisor inner, int n) {
    const int element = blockIdx.x * blockDim.x + threadIdx.x;
    if (element >= n) return;
    int c = element;
    int i = inner.split(c);
    const int o = length.split(i);
    const size_t at = (size_t)o * inner.value + c;
    dx[element] = places[at] == i ? dy[at] : real(0);
}
