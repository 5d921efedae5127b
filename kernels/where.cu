// where.cu: y = a where the condition holds, else b, element by element, each with its own strides.
//   y contiguous; the condition has a byte for each element; a or b null: the same bit pattern everywhere
// Launch: one thread per VEC neighbouring elements of y, 256 a block.
// Traffic: condition, a, b and y once (what is broadcast comes out of the cache again).
#include "bytes.cuh"

struct WhereAxis {
    Divisor length;
    int condition;        // bytes from one to the next; 0 repeats
    long long a, b;
};
struct WhereBox {
    int rank;
    WhereAxis axis[MAX_RANK];
    unsigned long long a_bits, b_bits;
};

// VEC neighbours, or VEC times the same where the stride is 0.
template <class T>
__device__ __forceinline__ Vector<T, VEC> neighbours(const unsigned char* from, long long at, bool repeats) {
    if (!repeats) return load<VEC>(reinterpret_cast<const T*>(from + at));
    const T one = *reinterpret_cast<const T*>(from + at);
    Vector<T, VEC> all;
#pragma unroll
    for (int j = 0; j < VEC; ++j) all.v[j] = one;
    return all;
}

template <class T>
__device__ __forceinline__ Vector<T, VEC> constants(T one) {
    Vector<T, VEC> all;
#pragma unroll
    for (int j = 0; j < VEC; ++j) all.v[j] = one;
    return all;
}

extern "C" __global__ void choose(unsigned char* __restrict__ y, const unsigned char* __restrict__ condition,
                                  const unsigned char* __restrict__ a, const unsigned char* __restrict__ b,
                                  WhereBox box, long long n) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= n) return;
    int i = (int)number;
    long long at_condition = 0, at_a = 0, at_b = 0;
    for (int k = box.rank - 1; k >= 0; --k) {
        const WhereAxis& axis = box.axis[k];
        long long at = i;
        if (k > 0) {
            int rest = i;
            i = axis.length.split(rest);
            at = rest;
        }
        if (k == box.rank - 1) at *= VEC;
        at_condition += at * axis.condition;
        at_a += at * axis.a;
        at_b += at * axis.b;
    }
    const WhereAxis& inner = box.axis[box.rank - 1];
    const Vector<unsigned char, VEC> holds = neighbours<unsigned char>(condition, at_condition, inner.condition == 0);
    Vector<element, VEC> first = a ? neighbours<element>(a, at_a, inner.a == 0) : constants(of_bits(box.a_bits));
    const Vector<element, VEC> second = b ? neighbours<element>(b, at_b, inner.b == 0) : constants(of_bits(box.b_bits));
#pragma unroll
    for (int j = 0; j < VEC; ++j)
        if (!holds.v[j]) first.v[j] = second.v[j];
    store(reinterpret_cast<element*>(y + number * (VEC * BYTES)), first);
}
