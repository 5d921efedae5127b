// tensor_core.cuh: the few instructions that CUDA C++ has no words for: asynchronous copies to shared
// memory, loads of 8 x 8 matrices, products of small matrices on tensor cores. All PTX of the project is here.
//
// On the emulator the same functions are host code (gpunn/emulator/tensor_core.h), where it is also written
// which lane holds which element. The layouts are those of the PTX ISA, "Warp-level Matrix Instructions".
//
//   cp_async_16, _8, _4(shared, global, valid_bytes)   commit, wait<N>      sm_80; on sm_75 plain loads and stores
//   ldmatrix_x1, _x2, _x4, each also _trans(registers, row)                 sm_75
//   mma_m16n8k8_tf32, mma_m16n8k16_bf16, mma_m16n8k16_f16(sum, a, b)    sum += a * b    sm_80; absent on sm_75
//   to_tf32, to_bf16, pack_bf16, bf16_low, bf16_high, pack_f16              everywhere
//
// A kernel that uses mma declares architectures from 80 on in its KernelSource.
#ifndef GPUNN_TENSOR_CORE_CUH
#define GPUNN_TENSOR_CORE_CUH
#include "half.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define SM_80 1
#else
#define SM_80 0
#endif

// ---- number formats -------------------------------------------------------------------------------------

// Rounds to the 10 bits after the point that tensor cores multiply with, ties away from zero. An operand
// that has not been through here is cut off instead: twice the error, and always towards zero.
__device__ __forceinline__ unsigned to_tf32(float value) {
#if SM_80
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
#else
    if (value != value) return 0x7fffffffu;
    return (__float_as_uint(value) + 0x1000u) & 0xffffe000u;
#endif
}

// Two numbers rounded to bf16, ties to even, in one register: `low` in the lower half, which is the smaller index.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#if SM_80
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    const unsigned l = __float_as_uint(low), h = __float_as_uint(high);
    const unsigned lower = low != low ? 0x7fffu : (l + 0x7fffu + (l >> 16 & 1u)) >> 16;
    const unsigned upper = high != high ? 0x7fffu : (h + 0x7fffu + (h >> 16 & 1u)) >> 16;
    return upper << 16 | lower;
#endif
}
__device__ __forceinline__ unsigned short to_bf16(float value) { return (unsigned short)pack_bf16(value, 0.0f); }
__device__ __forceinline__ float bf16_low(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float bf16_high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// The same for float16; numbers beyond its largest become infinite.
__device__ __forceinline__ unsigned pack_f16(float low, float high) {
#if SM_80
    unsigned pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return (unsigned)to_float16(high) << 16 | to_float16(low);
#endif
}

#ifdef GPUNN_EMULATOR
#include <tensor_core.h>
#else

// ---- asynchronous copies --------------------------------------------------------------------------------

// Starts a copy of 16, 8 or 4 bytes, both sides aligned to as many. Only the first `valid_bytes` are read;
// the others become zero, and `global` may point anywhere (aligned) when there are none: `inside ? 16 : 0`. Until the thread has
// waited, nobody may read or write the destination or write the source; and for others to see what arrived there
// must be a barrier after the wait.
__device__ __forceinline__ unsigned shared_address(const void* shared) {
    return (unsigned)__cvta_generic_to_shared(shared);
}
#if !SM_80
template <class Word, int BYTES>
__device__ __forceinline__ void copy_now(void* shared, const void* global, int valid_bytes) {
    if (valid_bytes == BYTES) {
        *(Word*)shared = *(const Word*)global;
        return;
    }
    for (int i = 0; i < BYTES; ++i) ((char*)shared)[i] = i < valid_bytes ? ((const char*)global)[i] : 0;
}
#endif
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, int valid_bytes = 16) {
#if SM_80
    // cg: through the L2 cache only; a tile is read once, into shared memory.
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 ::"r"(shared_address(shared)), "l"(global), "r"(valid_bytes) : "memory");
#else
    copy_now<uint4, 16>(shared, global, valid_bytes);
#endif
}
__device__ __forceinline__ void cp_async_8(void* shared, const void* global, int valid_bytes = 8) {
#if SM_80
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;"
                 ::"r"(shared_address(shared)), "l"(global), "r"(valid_bytes) : "memory");
#else
    copy_now<uint2, 8>(shared, global, valid_bytes);
#endif
}
__device__ __forceinline__ void cp_async_4(void* shared, const void* global, int valid_bytes = 4) {
#if SM_80
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 ::"r"(shared_address(shared)), "l"(global), "r"(valid_bytes) : "memory");
#else
    copy_now<unsigned, 4>(shared, global, valid_bytes);
#endif
}

// Closes the group of the copies that this thread has started since its last commit. It may be empty.
__device__ __forceinline__ void cp_async_commit() {
#if SM_80
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most the GROUPS latest of this thread's closed groups are still on their way.
template <int GROUPS>
__device__ __forceinline__ void cp_async_wait() {
    static_assert(GROUPS >= 0, "the number of groups that may still be on their way");
#if SM_80
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
#endif
}

// ---- loads of matrices ----------------------------------------------------------------------------------

// Loads 1, 2 or 4 matrices of 8 x 8 two-byte elements from shared memory. Lane i gives the address of row i % 8
// of matrix i / 8, a multiple of 16 bytes; the lanes beyond 8 * matrices are to give some valid address too.
// Lane 4g + t receives elements (g, 2t) and (g, 2t + 1) of each matrix; with _trans (2t, g) and (2t + 1, g).
__device__ __forceinline__ void ldmatrix_x1(unsigned (&r)[1], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared_address(row)));
}
__device__ __forceinline__ void ldmatrix_x1_trans(unsigned (&r)[1], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared_address(row)));
}
__device__ __forceinline__ void ldmatrix_x2(unsigned (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)));
}
__device__ __forceinline__ void ldmatrix_x2_trans(unsigned (&r)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)));
}
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)));
}
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)));
}

// ---- products -------------------------------------------------------------------------------------------

// sum += A B for A of 16 x 8 (tf32, from to_tf32) or 16 x 16 (bf16 or f16, in pairs) and B with 8 columns, spread over the
// warp; all 32 lanes must call it. Products are exact, sums in float.
#if SM_80
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_m16n8k16_f16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
template <class T>
__device__ __forceinline__ void mma_m16n8k8_tf32(T (&)[4], const unsigned (&)[4], const unsigned (&)[2]) {
    static_assert(sizeof(T) == 0, "tf32 products need sm_80: declare architectures from 80 on in the KernelSource");
}
template <class T>
__device__ __forceinline__ void mma_m16n8k16_bf16(T (&)[4], const unsigned (&)[4], const unsigned (&)[2]) {
    static_assert(sizeof(T) == 0, "bf16 products need sm_80: declare architectures from 80 on in the KernelSource");
}
template <class T>
__device__ __forceinline__ void mma_m16n8k16_f16(T (&)[4], const unsigned (&)[4], const unsigned (&)[2]) {
    static_assert(sizeof(T) == 0, "f16 products need sm_80: declare architectures from 80 on in the KernelSource");
}
#endif

#endif  // GPUNN_EMULATOR
#endif  // GPUNN_TENSOR_CORE_CUH
