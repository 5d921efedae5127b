// tensor_core.h: the host twins of tensor_core.cuh, which includes this file when the emulator compiles it.
//
// Which lane holds which element is what the PTX ISA says under "Matrix Fragments for mma" and "ldmatrix".
// Written with g = lane / 4 and t = lane % 4, an instruction's lane holds:
//
//   m16n8k8, tf32     A: a0 (g, t), a1 (g + 8, t), a2 (g, t + 4), a3 (g + 8, t + 4)
//                     B: b0 (t, g), b1 (t + 4, g)
//   m16n8k16, bf16 and f16
//                     A: a0 (g, 2t..2t+1), a1 (g + 8, 2t..), a2 (g, 2t + 8..), a3 (g + 8, 2t + 8..)
//                     B: b0 (2t..2t+1, g), b1 (2t + 8.., g); of a pair, the lower half holds the smaller index
//   C and D of both   c0 (g, 2t), c1 (g, 2t + 1), c2 (g + 8, 2t), c3 (g + 8, 2t + 1)
//   ldmatrix          register j: elements (g, 2t) and (g, 2t + 1) of matrix j; with .trans (2t, g) and (2t + 1, g)
//
// The sums go up in k, one rounding to float each. A GPU adds several products at once and rounds elsewhere,
// so the last bits differ from device to device; the products are exact on all of them.
#pragma once

#include "cuda.h"

namespace gpunn_emulator {

// Beside the numbers of cuda.h.
enum : unsigned { mma_tf32 = 64, mma_bf16, mma_f16, load_matrix };  // + 2 * matrices + transposed

GPUNN_RAW void require_warp(const char* what, int line, const char* file) {
    if (gpunn_emulator_lanes() != 0xffffffffu) gpunn_emulator_stop("absent-lane", what, line, file);
}

struct Fragments {
    unsigned a[4], b[2];
};

// The hardware takes no notice of the 13 low bits: without to_tf32, that is rounding towards zero.
GPUNN_RAW float tf32_value(unsigned bits) { return __uint_as_float(bits & 0xffffe000u); }
GPUNN_RAW float bf16_value(unsigned pair, int half) { return __uint_as_float(half ? pair & 0xffff0000u : pair << 16); }

// Element (i, k) of A or (k, j) of B, out of what the 32 lanes handed in.
GPUNN_RAW float tf32_of_a(const Fragments* f, int i, int k) {
    return tf32_value(f[i % 8 * 4 + k % 4].a[i / 8 + k / 4 * 2]);
}
GPUNN_RAW float tf32_of_b(const Fragments* f, int k, int j) { return tf32_value(f[j * 4 + k % 4].b[k / 4]); }
GPUNN_RAW float bf16_of_a(const Fragments* f, int i, int k) {
    return bf16_value(f[i % 8 * 4 + k % 8 / 2].a[i / 8 + k / 8 * 2], k % 2);
}
GPUNN_RAW float bf16_of_b(const Fragments* f, int k, int j) {
    return bf16_value(f[j * 4 + k % 8 / 2].b[k / 8], k % 2);
}
GPUNN_RAW float f16_value(unsigned pair, int half) {
    const unsigned bits = pair >> 16 * half & 0xffffu, sign = (bits & 0x8000u) << 16, rest = (bits & 0x7fffu) << 13;
    if (rest >= 0x0f800000u) return __uint_as_float(sign | (rest + 0x70000000u));  // infinite or NaN
    if (rest >= 0x00800000u) return __uint_as_float(sign | (rest + 0x38000000u));  // exponents count from -127, not -15
    const float small = float(bits & 0x3ffu) * 5.9604644775390625e-8f;             // subnormal: steps of 2^-24
    return sign ? -small : small;
}
GPUNN_RAW float f16_of_a(const Fragments* f, int i, int k) {
    return f16_value(f[i % 8 * 4 + k % 8 / 2].a[i / 8 + k / 8 * 2], k % 2);
}
GPUNN_RAW float f16_of_b(const Fragments* f, int k, int j) { return f16_value(f[j * 4 + k % 8 / 2].b[k / 8], k % 2); }

// This lane's four elements of D. K: length of the products; A, B: one of the functions above.
template <int K, float (*A)(const Fragments*, int, int), float (*B)(const Fragments*, int, int)>
GPUNN_RAW void multiply_add(unsigned operation, float* sum, const unsigned* a, const unsigned* b, int line,
                            const char* file) {
    require_warp("mma needs a warp of 32 lanes", line, file);
    const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const Fragments* f = gpunn_emulator_exchange(operation, 0xffffffffu, mine, line, file);
    const int lane = gpunn_emulator_lane();
    for (int c = 0; c < 4; ++c) {
        const int i = lane / 4 + c / 2 * 8, j = lane % 4 * 2 + c % 2;
        for (int k = 0; k < K; ++k) sum[c] += A(f, i, k) * B(f, k, j);
    }
}

template <int N, bool Transposed>
GPUNN_RAW void load_matrices(unsigned* r, const void* row, int line, const char* file) {
    require_warp("ldmatrix needs a warp of 32 lanes", line, file);
    const int lane = gpunn_emulator_lane(), g = lane / 4, t = lane % 4;
    // Lanes from 8 * N on bring no row, but sm_75 wants valid addresses of all.
    gpunn_emulator_matrix_row(row, lane < 8 * N, line, file);
    struct Row {
        const char* address;
        uint16_t values[8];
    } mine{static_cast<const char*>(row), {}};
    memcpy(mine.values, row, sizeof mine.values);
    const Row* rows = gpunn_emulator_exchange(load_matrix + 2 * N + Transposed, 0xffffffffu, mine, line, file);
    for (int j = 0; j < N; ++j) {
        r[j] = 0;
        for (int half = 0; half < 2; ++half) {
            const Row& from = rows[8 * j + (Transposed ? 2 * t + half : g)];
            const int column = Transposed ? g : 2 * t + half;
            gpunn_emulator_matrix_part(from.address + column / 2 * 4, line, file);
            r[j] |= unsigned(from.values[column]) << 16 * half;
        }
    }
}

}  // namespace gpunn_emulator

static inline void cp_async_16(void* shared, const void* global, int valid_bytes = 16, GPUNN_HERE) {
    gpunn_emulator_copy(shared, global, 16, valid_bytes, line, file);
}
static inline void cp_async_8(void* shared, const void* global, int valid_bytes = 8, GPUNN_HERE) {
    gpunn_emulator_copy(shared, global, 8, valid_bytes, line, file);
}
static inline void cp_async_4(void* shared, const void* global, int valid_bytes = 4, GPUNN_HERE) {
    gpunn_emulator_copy(shared, global, 4, valid_bytes, line, file);
}
static inline void cp_async_commit() { gpunn_emulator_copy_commit(); }
template <int Groups>
static inline void cp_async_wait(GPUNN_HERE) {
    static_assert(Groups >= 0, "the number of groups that may still be on their way");
    gpunn_emulator_copy_wait(Groups, line, file);
}

#define GPUNN_LDMATRIX(NAME, N, TRANSPOSED) \
    static inline void NAME(unsigned (&r)[N], const void* row, GPUNN_HERE) { \
        gpunn_emulator::load_matrices<N, TRANSPOSED>(r, row, line, file); \
    }
GPUNN_LDMATRIX(ldmatrix_x1, 1, false)
GPUNN_LDMATRIX(ldmatrix_x2, 2, false)
GPUNN_LDMATRIX(ldmatrix_x4, 4, false)
GPUNN_LDMATRIX(ldmatrix_x1_trans, 1, true)
GPUNN_LDMATRIX(ldmatrix_x2_trans, 2, true)
GPUNN_LDMATRIX(ldmatrix_x4_trans, 4, true)
#undef GPUNN_LDMATRIX

static inline void mma_m16n8k8_tf32(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], GPUNN_HERE) {
    using namespace gpunn_emulator;
    multiply_add<8, tf32_of_a, tf32_of_b>(mma_tf32, sum, a, b, line, file);
}
static inline void mma_m16n8k16_bf16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], GPUNN_HERE) {
    using namespace gpunn_emulator;
    multiply_add<16, bf16_of_a, bf16_of_b>(mma_bf16, sum, a, b, line, file);
}
static inline void mma_m16n8k16_f16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], GPUNN_HERE) {
    using namespace gpunn_emulator;
    multiply_add<16, f16_of_a, f16_of_b>(mma_f16, sum, a, b, line, file);
}
