// Launch: grid 1, block 32, x 32, y 32.
// What would end the process, and places that cannot be reached.
#include <assert.h>
#include <stdlib.h>

extern "C" __global__ void calls_abort(float* y, const float* x, int n) {
    if (threadIdx.x == 3) abort();  // calls_abort: host-call
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void calls_exit(float* y, const float* x, int n) {
    if (x[threadIdx.x] == 4.0f) exit(0);  // calls_exit: host-call
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void calls_exit_at_once(float* y, const float* x, int n) {
    if (x[threadIdx.x] == 4.0f) _Exit(3);  // calls_exit_at_once: host-call
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void calls_quick_exit(float* y, const float* x, int n) {
    if (x[threadIdx.x] == 4.0f) quick_exit(3);  // calls_quick_exit: host-call
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void asserts(float* y, const float* x, int n) {
    assert(x[threadIdx.x] < 30.0f);  // asserts: assert
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void traps(float* y, const float* x, int n) {
    if (x[threadIdx.x] == 9.0f) __trap();  // traps: trap
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void traps_by_a_builtin(float* y, const float* x, int n) {
    if (x[threadIdx.x] == 9.0f) __builtin_trap();  // traps_by_a_builtin: trap
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void reaches_the_unreachable(float* y, const float* x, int n) {
    switch (n & 63) {
        case 1: y[threadIdx.x] = 1.0f; break;
        case 2: y[threadIdx.x] = 2.0f; break;
        default: __builtin_unreachable();  // reaches_the_unreachable: unreachable
    }
}
__device__ float sign(float v) {  // returns_nothing: unreachable
    if (v > 0.0f) return 1.0f;
    if (v < 0.0f) return -1.0f;
}
extern "C" __global__ void returns_nothing(float* y, const float* x, int n) { y[threadIdx.x] = sign(x[threadIdx.x]); }

struct Shape {
    __device__ Shape(float* y) { describe(y); }
    __device__ __noinline__ void describe(float* y) { y[threadIdx.x] = area(); }  // has_no_body: fault
    __device__ virtual float area() const = 0;
};
struct Square : Shape {
    __device__ Square(float* y, float a) : Shape(y), side(a) {}
    __device__ float area() const override { return side * side; }
    float side;
};
extern "C" __global__ void has_no_body(float* y, const float* x, int n) {
    const Square square(y, x[threadIdx.x]);
    y[threadIdx.x] = square.area();
}
extern "C" __global__ void refused_instruction(float* y, const float* x, int n) {
#if defined(__x86_64__)
    asm volatile("ud2");  // refused_instruction: fault
#else
    asm volatile(".inst 0");  // refused_instruction: fault
#endif
    y[threadIdx.x] = 0.0f;
}
