// common.cuh: what every kernel file shares: the element type, vector loads, reductions within a warp
// and a block, the last block of several, exact division by a constant, the report of bad data.
//
// REAL (float or double) and VEC (elements per vector load) come from the launcher as -D macros.
// The same text is compiled by NVRTC for a GPU and by g++ for the emulator.
#ifndef GPUNN_COMMON_CUH
#define GPUNN_COMMON_CUH

#ifndef VEC
#define VEC 1
#endif

typedef REAL real;

// Marks a pointer parameter that a kernel both reads and writes; the launcher reads it off the signature.
#define INOUT

#ifdef GPUNN_EMULATOR
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(gpunn_emulator_dynamic_shared())
#else
#define DYNAMIC_SHARED(type, name)                            \
    extern __shared__ __align__(16) unsigned char name##_[]; \
    type* name = reinterpret_cast<type*>(name##_)
#ifndef INFINITY  // NVRTC has no <math.h>
#define INFINITY __int_as_float(0x7f800000)
#endif
#endif

#define WARP 32
#define FULL_MASK 0xffffffffu

// N elements that move as one access, of 16 bytes at most (two accesses for four doubles).
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vector {
    T v[N];
};

template <int N, class T>
__device__ __forceinline__ Vector<T, N> load(const T* from) {
    return *reinterpret_cast<const Vector<T, N>*>(from);
}

template <class T, int N>
__device__ __forceinline__ void store(T* to, const Vector<T, N>& value) {
    *reinterpret_cast<Vector<T, N>*>(to) = value;
}

// Sum over the warp, the same bits in every lane: each step adds the same pairs on both sides.
__device__ __forceinline__ real warp_sum(real value) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(FULL_MASK, value, offset);
    return value;
}

// The larger, and NaN if either is NaN (fmax would drop it).
__device__ __forceinline__ real nan_max(real a, real b) {
    return (b > a || b != b) ? b : a;
}

__device__ __forceinline__ real warp_max(real value) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2)
        value = nan_max(value, __shfl_xor_sync(FULL_MASK, value, offset));
    return value;
}

// Sum over a block of whole warps, the same bits in every thread; all threads must call it.
// Each call site takes a Slot of its own: with the shared array never reused, no barrier is
// needed to protect it. (Hence not for use in a loop.)
template <int Slot>
__device__ __forceinline__ real block_sum(real value) {
    __shared__ real partial[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_sum(value);
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : real(0));
}

template <int Slot>
__device__ __forceinline__ real block_max(real value) {
    __shared__ real partial[WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_max(value);
    if (lane == 0) partial[warp] = value;
    __syncthreads();
    return warp_max(lane < warps ? partial[lane] : real(-INFINITY));
}

// True in all threads of that block which is the last of `blocks` to come here; what the others wrote before, it may
// now read. All threads must call it. `counter` is 0 before the first launch, and again after each.
__device__ __forceinline__ bool last_block(unsigned* counter, unsigned blocks) {
    __shared__ bool last;
    __syncthreads();  // all of this block have written, and read `last` of a call before
    if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
        __threadfence();  // release: what they wrote is seen by whoever sees the ticket
        last = atomicInc(counter, blocks - 1) == blocks - 1;
        __threadfence();  // acquire: what belongs to the tickets seen is read after them
    }
    __syncthreads();
    return last;
}

// Division by a number known to the host, as a multiplication (Granlund and Montgomery 1994): exact for
// 0 <= n < 2^31. launcher.divisor makes it.
struct Divisor {
    unsigned value, magic, shift;
    __device__ __forceinline__ int quotient(int n) const {
        return (int)((__umulhi((unsigned)n, magic) + (unsigned)n) >> shift);
    }
    // n becomes the remainder; returns the quotient.
    __device__ __forceinline__ int split(int& n) const {
        const int q = quotient(n);
        n -= q * (int)value;
        return q;
    }
};

// Bad data that only the device can see. The host raises with the layer's name when it next looks
// (Device.check); until then `failed` stops every write to parameters and statistics.
// Several threads may report: the one that turns the kind from 0 writes the rest.
// Kinds: 1 a class index, 3 an index into an axis (Device.check).
__device__ __forceinline__ void report_bad_data(int* error, int layer, int index, int value, int kind = 1) {
    if (atomicCAS(&error[0], 0, kind) == 0) {
        error[1] = layer;
        error[2] = index;
        error[3] = value;
    }
}
__device__ __forceinline__ bool failed(const int* error) {
    return error[0] != 0;
}

#endif  // GPUNN_COMMON_CUH
