// atomics.h: CUDA's atomics on integers, for kernels that g++ compiles; a part of cuda.h.
//
// Fibers switch only where they wait, so a plain read-modify-write is atomic; the runtime is told that
// it is one, for the race detector.
#pragma once

#define GPUNN_ATOMIC(NAME, T, EXPRESSION) \
    GPUNN_RAW T NAME(T* p, T v, GPUNN_HERE) { \
        gpunn_emulator_atomic(p, sizeof(T), line, file); \
        const T old = *p; \
        *p = EXPRESSION; \
        return old; \
    }
#define GPUNN_ATOMICS(T) \
    GPUNN_ATOMIC(atomicAdd, T, old + v) \
    GPUNN_ATOMIC(atomicExch, T, v) \
    GPUNN_ATOMIC(atomicMax, T, old < v ? v : old) \
    GPUNN_ATOMIC(atomicMin, T, v < old ? v : old) \
    GPUNN_ATOMIC(atomicAnd, T, old & v) \
    GPUNN_ATOMIC(atomicOr, T, old | v) \
    GPUNN_ATOMIC(atomicXor, T, old ^ v) \
    GPUNN_RAW T atomicCAS(T* p, T expected, T v, GPUNN_HERE) { \
        gpunn_emulator_atomic(p, sizeof(T), line, file); \
        const T old = *p; \
        if (old == expected) *p = v; \
        return old; \
    }
GPUNN_ATOMICS(int)
GPUNN_ATOMICS(unsigned)
GPUNN_ATOMICS(unsigned long long)
GPUNN_ATOMIC(atomicMax, long long, old < v ? v : old)
GPUNN_ATOMIC(atomicMin, long long, v < old ? v : old)
GPUNN_ATOMIC(atomicSub, int, old - v)
GPUNN_ATOMIC(atomicSub, unsigned, old - v)
GPUNN_ATOMIC(atomicInc, unsigned, old >= v ? 0 : old + 1)
GPUNN_ATOMIC(atomicDec, unsigned, old == 0 || old > v ? v : old - 1)
#undef GPUNN_ATOMIC
#undef GPUNN_ATOMICS

// Those on floating-point numbers are refused when they are compiled: kernels give the same bits every time.
#define GPUNN_NO_ATOMIC(NAME, T) \
    template <class V> \
    static inline T NAME(T*, V) { \
        static_assert(sizeof(V) == 0, "no " #NAME " on " #T ": the result would depend on the order of the threads. " \
                      "Write partial results, and combine them in a fixed order (last_block() in common.cuh)."); \
        return T(); \
    }
#define GPUNN_NO_ATOMICS(NAME) GPUNN_NO_ATOMIC(NAME, float) GPUNN_NO_ATOMIC(NAME, double)
GPUNN_NO_ATOMICS(atomicAdd)
GPUNN_NO_ATOMICS(atomicExch)
GPUNN_NO_ATOMICS(atomicMax)
GPUNN_NO_ATOMICS(atomicMin)
#undef GPUNN_NO_ATOMIC
#undef GPUNN_NO_ATOMICS
