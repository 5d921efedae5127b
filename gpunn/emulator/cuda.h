// cuda.h: what nvcc and NVRTC predefine, for kernels that g++ compiles and the emulator runs.
//
// Included before every kernel file. The qualifiers vanish or become plain C++, the built-in variables
// are read-only externs that the runtime sets whenever it switches to another thread, and everything
// that makes threads wait for each other calls into the runtime (runtime.h). `__global__` is left as it
// is: build.py finds the kernels by that word in the preprocessed text, then removes it.
//
// Dynamic shared memory is the DYNAMIC_SHARED(type, name) of common.cuh; `extern __shared__` is not known.
// Functions marked GPUNN_RAW are not instrumented: they touch memory of the runtime's own.
#pragma once

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "runtime.h"

#define GPUNN_EMULATOR 1

// Where a call stands in the kernel's source, taken at the call: used as default arguments.
#define GPUNN_HERE int line = __builtin_LINE(), const char* file = __builtin_FILE()
#define GPUNN_RAW __attribute__((no_sanitize("thread", "undefined"), noinline, unused)) static

// ---- qualifiers ---------------------------------------------------------------------------------------

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
// The attribute may stand anywhere among the specifiers; alignas must come before __shared__.
#define __align__(n) __attribute__((aligned(n)))
#define __constant__ static
#define __grid_constant__
#define __inline__ inline
// "used" keeps g++ from concluding that an array nobody writes is constant; build.py moves the arrays,
// found by this section (or, in templates, where g++ drops the attribute, by name) between guard zones.
#define __shared__ static __attribute__((used, section("gpunn_shared")))

// ---- vector types -------------------------------------------------------------------------------------

#define GPUNN_VECTOR2(T, V, A) \
    struct alignas(A) V { T x, y; }; \
    static inline V make_##V(T x, T y) { return V{x, y}; }
#define GPUNN_VECTOR3(T, V) \
    struct V { T x, y, z; }; \
    static inline V make_##V(T x, T y, T z) { return V{x, y, z}; }
#define GPUNN_VECTOR4(T, V, A) \
    struct alignas(A) V { T x, y, z, w; }; \
    static inline V make_##V(T x, T y, T z, T w) { return V{x, y, z, w}; }

GPUNN_VECTOR2(signed char, char2, 2)
GPUNN_VECTOR4(signed char, char4, 4)
GPUNN_VECTOR2(unsigned char, uchar2, 2)
GPUNN_VECTOR3(unsigned char, uchar3)
GPUNN_VECTOR4(unsigned char, uchar4, 4)
GPUNN_VECTOR2(short, short2, 4)
GPUNN_VECTOR4(short, short4, 8)
GPUNN_VECTOR2(unsigned short, ushort2, 4)
GPUNN_VECTOR4(unsigned short, ushort4, 8)
GPUNN_VECTOR2(int, int2, 8)
GPUNN_VECTOR3(int, int3)
GPUNN_VECTOR4(int, int4, 16)
GPUNN_VECTOR2(unsigned, uint2, 8)
GPUNN_VECTOR3(unsigned, uint3)
GPUNN_VECTOR4(unsigned, uint4, 16)
GPUNN_VECTOR2(long long, longlong2, 16)
GPUNN_VECTOR2(unsigned long long, ulonglong2, 16)
GPUNN_VECTOR2(float, float2, 8)
GPUNN_VECTOR3(float, float3)
GPUNN_VECTOR4(float, float4, 16)
GPUNN_VECTOR2(double, double2, 16)
GPUNN_VECTOR3(double, double3)
GPUNN_VECTOR4(double, double4, 16)

#undef GPUNN_VECTOR2
#undef GPUNN_VECTOR3
#undef GPUNN_VECTOR4

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// ---- built-in variables -------------------------------------------------------------------------------

// Constant for a thread's whole life, so that g++ may keep them in registers and does not instrument
// them: the runtime rewrites threadIdx at every switch and the others at every block.
extern "C" const uint3 threadIdx __asm__("gpunn_emulator_thread");
extern "C" const uint3 blockIdx __asm__("gpunn_emulator_block");
extern "C" const dim3 blockDim __asm__("gpunn_emulator_block_shape");
extern "C" const dim3 gridDim __asm__("gpunn_emulator_grid_shape");
constexpr int warpSize = 32;

// ---- barriers and fences ------------------------------------------------------------------------------

static inline void __syncthreads(GPUNN_HERE) { gpunn_emulator_barrier(gpunn_emulator_sync, 0, line, file); }
static inline int __syncthreads_or(int predicate, GPUNN_HERE) {
    return gpunn_emulator_barrier(gpunn_emulator_sync_or, predicate, line, file);
}
static inline int __syncthreads_and(int predicate, GPUNN_HERE) {
    return gpunn_emulator_barrier(gpunn_emulator_sync_and, predicate, line, file);
}
static inline int __syncthreads_count(int predicate, GPUNN_HERE) {
    return gpunn_emulator_barrier(gpunn_emulator_sync_count, predicate, line, file);
}
static inline void __syncwarp(unsigned mask = 0xffffffffu, GPUNN_HERE) {
    gpunn_emulator_sync_warp(mask, line, file);
}
static inline void __threadfence(GPUNN_HERE) { gpunn_emulator_fence(line, file); }
static inline void __threadfence_system(GPUNN_HERE) { gpunn_emulator_fence(line, file); }
static inline void __threadfence_block() {}
static inline unsigned __activemask() { return gpunn_emulator_active_mask(); }

// ---- warp collectives ---------------------------------------------------------------------------------

// Every lane named in mask hands in one operand; each gets all of them back, indexed by lane. The array
// stays valid until the lane's next collective. Shuffles, votes and the host twins of matrix instructions
// are built on it. `operation` is any number that tells this collective from others: lanes must agree.
template <class T>
GPUNN_RAW const T* gpunn_emulator_exchange(unsigned operation, unsigned mask, const T& operand, GPUNN_HERE) {
    static_assert(sizeof(T) <= 128, "a lane's operand may have 128 bytes");
    return static_cast<const T*>(
        gpunn_emulator_exchange_bytes(operation, mask, &operand, sizeof(T), line, file));
}

namespace gpunn_emulator {

enum : unsigned { shuffle = 1, shuffle_up, shuffle_down, shuffle_xor, vote };

// `source` is a lane of the warp; `inside` is false where the width cuts the shuffle off: own value.
template <class T>
GPUNN_RAW T take(unsigned operation, unsigned mask, T value, int source, bool inside, int line, const char* file) {
    const T* values = gpunn_emulator_exchange(operation, mask, value, line, file);
    if (!inside) return value;
    gpunn_emulator_require_lane(mask, source, line, file);
    return values[source];
}

GPUNN_RAW unsigned ballot(unsigned mask, int predicate, int line, const char* file) {
    const int* votes = gpunn_emulator_exchange(vote, mask, predicate, line, file);
    unsigned bits = 0;
    const unsigned present = mask & gpunn_emulator_lanes();
    for (int lane = 0; lane < 32; ++lane)
        if (present >> lane & 1 && votes[lane]) bits |= 1u << lane;
    return bits;
}

}  // namespace gpunn_emulator

template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, GPUNN_HERE) {
    const int first = gpunn_emulator_lane() & ~(width - 1);
    return gpunn_emulator::take(gpunn_emulator::shuffle, mask, value, first + (source & (width - 1)), true,
                                line, file);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, GPUNN_HERE) {
    const int lane = gpunn_emulator_lane(), source = lane - int(delta);
    return gpunn_emulator::take(gpunn_emulator::shuffle_up, mask, value, source,
                                source >= (lane & ~(width - 1)), line, file);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, GPUNN_HERE) {
    const int lane = gpunn_emulator_lane(), source = lane + int(delta);
    return gpunn_emulator::take(gpunn_emulator::shuffle_down, mask, value, source,
                                source <= (lane | (width - 1)), line, file);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, GPUNN_HERE) {
    // As on the device: a segment may read from itself and earlier ones, not from later ones.
    const int lane = gpunn_emulator_lane(), source = lane ^ lanes;
    return gpunn_emulator::take(gpunn_emulator::shuffle_xor, mask, value, source,
                                source <= (lane | (width - 1)), line, file);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, GPUNN_HERE) {
    return gpunn_emulator::ballot(mask, predicate, line, file);
}
static inline int __any_sync(unsigned mask, int predicate, GPUNN_HERE) {
    return gpunn_emulator::ballot(mask, predicate, line, file) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, GPUNN_HERE) {
    return gpunn_emulator::ballot(mask, predicate, line, file) == (mask & gpunn_emulator_lanes());
}

#include "atomics.h"

// ---- arithmetic ---------------------------------------------------------------------------------------

template <class To, class From>
static inline To gpunn_emulator_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float v) { return gpunn_emulator_bits<unsigned>(v); }
static inline float __uint_as_float(unsigned v) { return gpunn_emulator_bits<float>(v); }
static inline int __float_as_int(float v) { return gpunn_emulator_bits<int>(v); }
static inline float __int_as_float(int v) { return gpunn_emulator_bits<float>(v); }
static inline long long __double_as_longlong(double v) { return gpunn_emulator_bits<long long>(v); }
static inline double __longlong_as_double(long long v) { return gpunn_emulator_bits<double>(v); }

static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
static inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
// Of the 8 bytes of both numbers, y's after x's: those that the four digits of `which` say, the lowest first.
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned which) {
    const unsigned long long bytes = (unsigned long long)y << 32 | x;
    unsigned found = 0;
    for (int i = 0; i < 4; ++i) found |= unsigned(bytes >> (which >> 4 * i & 7u) * 8 & 0xffu) << 8 * i;
    return found;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
static inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned __brev(unsigned v) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (v >> bit & 1u) << (31 - bit);
    return reversed;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) << (shift & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) >> (shift & 31));
}

// The fast approximations are the exact functions here: a test that needs their error needs a GPU.
// Macros, because glibc has functions of these names.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __sincosf(x, s, c) sincosf(x, s, c)
#define __powf(x, y) powf(x, y)
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
// The C library has no erfinv: a first guess (Winitzki 2008), then Halley's steps on erf, near 1 on erfc.
static inline double erfinv(double x) {
    const double a = fabs(x), rest = 1 - a;
    if (!(a < 1)) return a == 1 ? copysign(double(INFINITY), x) : double(NAN);
    const double log_part = log1p(-a) + log1p(a), t = 4.33 + log_part / 2;
    double y = sqrt(sqrt(t * t - log_part / 0.147) - t);
    for (int step = 0; step < 3; ++step) {
        const double miss = (a < 0.5 ? erf(y) - a : rest - erfc(y)) * exp(y * y) * 0.88622692545275801;
        y -= miss / (1 + y * miss);
    }
    return copysign(y, x);
}
static inline float erfinv(float x) { return float(erfinv(double(x))); }
static inline float erfinvf(float x) { return erfinv(x); }
static inline float __fdividef(float x, float y) { return x / y; }
static inline float fdividef(float x, float y) { return x / y; }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
static inline float __fadd_rn(float x, float y) { return x + y; }
static inline float __fsub_rn(float x, float y) { return x - y; }
static inline float __fmul_rn(float x, float y) { return x * y; }
static inline float __fdiv_rn(float x, float y) { return x / y; }
static inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
static inline double __dadd_rn(double x, double y) { return x + y; }
static inline double __dmul_rn(double x, double y) { return x * y; }
static inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
static inline int __float2int_rn(float x) { return int(rintf(x)); }
static inline int __float2int_rz(float x) { return int(x); }
static inline float __int2float_rn(int x) { return float(x); }
static inline float __uint2float_rn(unsigned x) { return float(x); }

// As in CUDA: every pair of types that C would convert silently has one meaning, chosen by C's rules.
#define GPUNN_MIN_MAX(T, A, B) \
    static inline constexpr T min(A a, B b) { return (T)b < (T)a ? (T)b : (T)a; } \
    static inline constexpr T max(A a, B b) { return (T)a < (T)b ? (T)b : (T)a; }
GPUNN_MIN_MAX(int, int, int)
GPUNN_MIN_MAX(unsigned, unsigned, unsigned)
GPUNN_MIN_MAX(unsigned, int, unsigned)
GPUNN_MIN_MAX(unsigned, unsigned, int)
GPUNN_MIN_MAX(long, long, long)
GPUNN_MIN_MAX(unsigned long, unsigned long, unsigned long)
GPUNN_MIN_MAX(unsigned long, long, unsigned long)
GPUNN_MIN_MAX(unsigned long, unsigned long, long)
GPUNN_MIN_MAX(long long, long long, long long)
GPUNN_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
GPUNN_MIN_MAX(unsigned long long, long long, unsigned long long)
GPUNN_MIN_MAX(unsigned long long, unsigned long long, long long)
#undef GPUNN_MIN_MAX
#define GPUNN_MIN_MAX(T, A, B, MIN, MAX) \
    static inline T min(A a, B b) { return MIN((T)a, (T)b); } \
    static inline T max(A a, B b) { return MAX((T)a, (T)b); }
GPUNN_MIN_MAX(float, float, float, fminf, fmaxf)
GPUNN_MIN_MAX(double, double, double, fmin, fmax)
GPUNN_MIN_MAX(double, float, double, fmin, fmax)
GPUNN_MIN_MAX(double, double, float, fmin, fmax)
#undef GPUNN_MIN_MAX

template <class T>
static inline T __ldg(const T* p) { return *p; }
template <class T>
static inline T __ldcg(const T* p) { return *p; }
template <class T>
static inline void __stcg(T* p, T v) { *p = v; }

// ---- stopping -----------------------------------------------------------------------------------------

#undef assert
#define assert(condition) \
    ((condition) ? (void)0 : gpunn_emulator_stop("assert", "assertion failed: " #condition, __LINE__, __FILE__))
#define __trap() gpunn_emulator_stop("trap", "the kernel called __trap()", __LINE__, __FILE__)
#define __builtin_trap() __trap()

// ---- how the runtime calls a kernel -------------------------------------------------------------------

template <class T> struct gpunn_emulator_is_pointer { static constexpr bool value = false; };
template <class T> struct gpunn_emulator_is_pointer<T*> { static constexpr bool value = true; };
template <int... I> struct gpunn_emulator_indices {};
template <int N, int... I>
struct gpunn_emulator_count_to : gpunn_emulator_count_to<N - 1, N - 1, I...> {};
template <int... I> struct gpunn_emulator_count_to<0, I...> { using type = gpunn_emulator_indices<I...>; };

template <auto Kernel> struct gpunn_emulator_caller;
template <class... A, void (*Kernel)(A...)>
struct gpunn_emulator_caller<Kernel> {
    static constexpr int count = sizeof...(A);
    static constexpr unsigned sizes[sizeof...(A) + 1] = {unsigned(sizeof(A))..., 0};
    static constexpr unsigned char pointers[sizeof...(A) + 1] = {gpunn_emulator_is_pointer<A>::value..., 0};

    __attribute__((no_sanitize("thread", "undefined"))) static void call(void** arguments) {
        call(arguments, typename gpunn_emulator_count_to<sizeof...(A)>::type());
    }

  private:
    template <int... I>
    __attribute__((no_sanitize("thread", "undefined"))) static void call(void** arguments,
                                                                         gpunn_emulator_indices<I...>) {
        Kernel(*static_cast<A*>(arguments[I])...);
    }
};
