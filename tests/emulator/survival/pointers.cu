// Launch: grid 1, block 32, x 32, y 32.
// Pointers to nowhere, and to what may not be written.
#include <new>

template <class T>
__device__ __forceinline__ T* hidden(T* pointer) {  // from the compiler, which would leave out what is undefined
    asm volatile("" : "+r"(pointer));
    return pointer;
}

extern "C" __global__ void null_read(float* y, const float* x, int n) {
    const float* from = hidden<const float>(nullptr);
    y[threadIdx.x] = from[threadIdx.x];  // null_read: out-of-bounds
}
extern "C" __global__ void wild_read(float* y, const float* x, int n) {
    y[threadIdx.x] = *(const float*)(0x7000dead0000ull + 4 * n);  // wild_read: out-of-bounds
}
extern "C" __global__ void wild_write(float* y, const float* x, int n) {
    *(float*)(0x00dead0000ull + 4 * n) = x[threadIdx.x];  // wild_write: out-of-bounds
}
extern "C" __global__ void no_address_at_all(float* y, const float* x, int n) {
    y[threadIdx.x] = *(const float*)(0xdeadbeefdeadbee0ull + 4 * n);  // no_address_at_all: out-of-bounds
}
extern "C" __global__ void calls_null(float* y, const float* x, int n) {
    float (*f)(float) = hidden<float(float)>(nullptr);
    y[threadIdx.x] = f(x[threadIdx.x]);  // calls_null: fault
}
extern "C" __global__ void calls_nowhere(float* y, const float* x, int n) {
    float (*f)(float) = hidden((float (*)(float))(0x00dead0000ull + n));
    y[threadIdx.x] = f(x[threadIdx.x]);  // calls_nowhere: fault
}
extern "C" __global__ void calls_data(float* y, const float* x, int n) {
    float (*f)(float) = hidden((float (*)(float))x);
    y[threadIdx.x] = f(1.0f);  // calls_data: fault
}
struct Op {
    __device__ virtual float apply(float v) const { return v + 1.0f; }
};
struct Twice : Op {
    __device__ float apply(float v) const override { return v * 2.0f; }
};
extern "C" __global__ void virtual_of_no_object(float* y, const float* x, int n) {
    const Op* op = hidden((const Op*)x);
    if (n == 63) op = hidden<const Op>(new (y) Twice);
    y[threadIdx.x] = op->apply(1.0f);  // virtual_of_no_object: out-of-bounds fault
}
extern "C" __global__ void writes_a_literal(float* y, const float* x, int n) {
    char* text = hidden((char*)"abc");
    text[threadIdx.x % 3] = 'x';  // writes_a_literal: write-to-input
    y[threadIdx.x] = text[0];
}
__constant__ float factors[4] = {1.0f, 2.0f, 3.0f, 4.0f};
extern "C" __global__ void writes_a_constant(float* y, const float* x, int n) {
    factors[threadIdx.x % 4] = x[threadIdx.x];  // writes_a_constant: write-to-input
    y[threadIdx.x] = factors[n % 4];
}
extern "C" __global__ void writes_its_index(float* y, const float* x, int n) {
    *hidden((unsigned*)&blockIdx) = 7;  // writes_its_index: write-to-input
    y[threadIdx.x] = float(blockIdx.x);
}
extern "C" __global__ void writes_its_code(float* y, const float* x, int n) {
    char* code = hidden((char*)&writes_its_index);
    code[threadIdx.x] = char(0xc3);  // writes_its_code: write-to-input
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void writes_an_input(float* y, const float* x, int n) {
    ((float*)x)[threadIdx.x] = 1.0f;  // writes_an_input: write-to-input
    y[threadIdx.x] = x[threadIdx.x];
}
extern "C" __global__ void misaligned_pair(float* y, const float* x, int n) {
    const float2 v = *(const float2*)(x + 1);  // misaligned_pair: misaligned
    y[threadIdx.x] = v.x + v.y;
}
extern "C" __global__ void misaligned_double(float* y, const float* x, int n) {
    y[threadIdx.x] = float(*(const double*)((const char*)x + 2));  // misaligned_double: misaligned
}
extern "C" __global__ void misaligned_store(float* y, const float* x, int n) {
    *(float4*)(y + 2) = make_float4(0.0f, 0.0f, 0.0f, x[threadIdx.x]);  // misaligned_store: misaligned
}
extern "C" __global__ void misaligned_by_one_byte(float* y, const float* x, int n) {
    *(int*)((char*)y + 1) = n;  // misaligned_by_one_byte: misaligned
}
extern "C" __global__ void copies_everything(float* y, const float* x, int n) {
    memcpy(y, x, size_t(n - 65));  // copies_everything: out-of-bounds
}
extern "C" __global__ void copies_four_gigabytes(float* y, const float* x, int n) {
    memmove(y, x, size_t(n - 63) << 32);  // copies_four_gigabytes: out-of-bounds
}
extern "C" __global__ void clears_null(float* y, const float* x, int n) {
    memset(hidden<float>(nullptr), 0, 4 * n);  // clears_null: out-of-bounds
}
extern "C" __global__ void compares_past_the_end(float* y, const float* x, int n) {
    y[threadIdx.x] = float(memcmp(x, hidden(x), 4 * n));  // compares_past_the_end: out-of-bounds
}
