// ==== no_kernel: ^no_kernel.cu: no kernel found
__device__ int f() { return 1; }
// ==== takes_memory: ^takes_memory.cu:3 in takes_memory: malloc is no function that a kernel can call
#include <stdlib.h>
extern "C" __global__ void takes_memory(float* y, const float* x, int n) {
    float* kept = (float*)malloc(4 * n);
    kept[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = kept[threadIdx.x];
}
// ==== starts_a_program: ^starts_a_program.cu:2 in starts_a_program: system is no function
#include <stdlib.h>
__device__ __noinline__ int run(int n) { return system("true") + n; }
extern "C" __global__ void starts_a_program(float* y, const float* x, int n) { y[threadIdx.x] = run(n); }
// ==== forks: ^forks.cu:3 in forks: fork is no function
#include <unistd.h>
extern "C" __global__ void forks(float* y, const float* x, int n) {
    y[threadIdx.x] = fork();
}
// ==== jumps_far: ^jumps_far.cu:\d in jumps_far: (_?setjmp|longjmp) is no function
#include <setjmp.h>
extern "C" __global__ void jumps_far(float* y, const float* x, int n) {
    jmp_buf here;
    if (setjmp(here) == 0) longjmp(here, n);
    y[threadIdx.x] = 0.0f;
}
// ==== raises_a_signal: ^raises_a_signal.cu:3 in raises_a_signal: raise is no function
#include <signal.h>
extern "C" __global__ void raises_a_signal(float* y, const float* x, int n) {
    raise(SIGKILL);
}
// ==== handles_signals: ^handles_signals.cu:4 in handles_signals: signal is no function
#include <signal.h>
__device__ void ignore(int) {}
extern "C" __global__ void handles_signals(float* y, const float* x, int n) {
    signal(SIGSEGV, ignore);
}
// ==== makes_threads: ^makes_threads.cu:5 in makes_threads: pthread_create is no function
#include <pthread.h>
__device__ void* nothing(void* p) { return p; }
extern "C" __global__ void makes_threads(float* y, const float* x, int n) {
    pthread_t thread;
    pthread_create(&thread, nullptr, nothing, y);
}
// ==== reads_a_file: ^reads_a_file.cu:3 in reads_a_file: fopen is no function
#include <stdio.h>
extern "C" __global__ void reads_a_file(float* y, const float* x, int n) {
    y[threadIdx.x] = fopen("/etc/passwd", "r") != nullptr;
}
// ==== prints_to_stderr: ^prints_to_stderr.cu:2 in prints_to_stderr: (stderr|fprintf|fwrite) is no function
extern "C" __global__ void prints_to_stderr(float* y, const float* x, int n) {
    fprintf(stderr, "%d\n", n);
}
// ==== asks_the_system: ^asks_the_system.cu:3 in asks_the_system: syscall is no function
#include <unistd.h>
extern "C" __global__ void asks_the_system(float* y, const float* x, int n) {
    y[threadIdx.x] = syscall(n);
}
// ==== grows_a_vector: ^\S+:\d+ in grows_a_vector: operator new.* is no function that a kernel can call
#include <vector>
extern "C" __global__ void grows_a_vector(float* y, const float* x, int n) {
    std::vector<float> kept(n);
    kept.push_back(x[threadIdx.x]);
    y[threadIdx.x] = kept.back();
}
// ==== uses_atomics_of_the_host: ^\S+:\d+ in uses_atomics_of_the_host: neither atomics of C\+\+ nor
#include <atomic>
extern "C" __global__ void uses_atomics_of_the_host(float* y, const float* x, int n) {
    reinterpret_cast<std::atomic<int>*>(y)->fetch_add(1);
}
// ==== throws: throws.cu:3:\d+: error: exception handling disabled
extern "C" __global__ void throws(float* y, const float* x, int n) {
    if (threadIdx.x == 3)
        throw 1;
}
// ==== catches: catches.cu:2:\d+: error: exception handling disabled
extern "C" __global__ void catches(float* y, const float* x, int n) {
    try { throw n; } catch (int) { y[threadIdx.x] = 1.0f; }
}
// ==== starts_with_code: ^starts_with_code.cu:2: code would run when the kernels are loaded
__device__ int crash(int n) { return *(volatile int*)(size_t(n) << 4); }
int value = crash(3);
extern "C" __global__ void starts_with_code(float* y, const float* x, int n) { y[threadIdx.x] = value; }
// ==== starts_with_a_constructor: ^starts_with_a_constructor.cu:1: code would run when the kernels are loaded
__attribute__((constructor)) static void begin() { __builtin_trap(); }
extern "C" __global__ void starts_with_a_constructor(float* y, const float* x, int n) { y[threadIdx.x] = 0; }
// ==== ends_with_a_destructor: ^ends_with_a_destructor.cu:1: code would run when the kernels are loaded
__attribute__((destructor)) static void finish() { __builtin_trap(); }
extern "C" __global__ void ends_with_a_destructor(float* y, const float* x, int n) { y[threadIdx.x] = 0; }
// ==== chosen_at_load: ^chosen_at_load.cu: code would run when the kernels are loaded
extern "C" {
static void* choose() { return *(void**)8; }
void chosen() __attribute__((ifunc("choose")));
}
extern "C" __global__ void chosen_at_load(float* y, const float* x, int n) { chosen(); }
// ==== static_object: ^static_object.cu:[25]: code would run when the kernels are loaded
struct Table {
    __device__ Table() : entries() { entries[0] = *(volatile float*)(size_t(sizeof entries)); }
    float entries[4];
};
Table table;
extern "C" __global__ void static_object(float* y, const float* x, int n) { y[threadIdx.x] = table.entries[n & 3]; }
// ==== static_in_a_function: ^static_in_a_function.cu:3 in static_in_a_function: neither atomics of C\+\+ nor static variables
__device__ __noinline__ float first(const float* x) { return x[0]; }
extern "C" __global__ void static_in_a_function(float* y, const float* x, int n) {
    static const float kept = first(x);
    y[threadIdx.x] = kept;
}
// ==== too_much_shared: ^too_much_shared.cu:1 in too_much_shared: expected at most 49152 bytes .* got 49168 bytes
extern "C" __global__ void too_much_shared(float* y, const float* x, int n) {
    __shared__ float tile[48 * 256 + 1];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}
// ==== far_too_much_shared: ^far_too_much_shared.cu:1 in far_too_much_shared: expected at most 49152 bytes
extern "C" __global__ void far_too_much_shared(float* y, const float* x, int n) {
    __shared__ float tile[1 << 28];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x ^ 1];
}
// ==== too_large_a_frame: too_large_a_frame.cu:5:\d+: error: the frame size
extern "C" __global__ void too_large_a_frame(float* y, const float* x, int n) {
    float kept[40000];
    for (int i = 0; i < 40000; ++i) kept[i] = i * x[i % 32];
    y[threadIdx.x] = kept[n];
}
// ==== endless_template: endless_template.cu:1:\d+: (fatal )?error: template instantiation depth exceeds
template <int N> struct Deep { static constexpr int value = Deep<N + 1>::value + 1; };
extern "C" __global__ void endless_template(float* y, const float* x, int n) { y[threadIdx.x] = Deep<0>::value; }
// ==== exponential_template: ^exponential_template.cu: g\+\+ did not end within 2 s
template <int N, int M> struct Tree {
    static constexpr long value = Tree<N - 1, 2 * M>::value + Tree<N - 1, 2 * M + 1>::value;
};
template <int M> struct Tree<0, M> { static constexpr long value = M; };
extern "C" __global__ void exponential_template(float* y, const float* x, int n) { y[threadIdx.x] = Tree<26, 1>::value; }
// ==== endless_constant: endless_constant.cu:\d:\d+: error: .*constexpr
constexpr int forever(int n) {
    while (n) n |= 1;
    return n;
}
constexpr int value = forever(1);
extern "C" __global__ void endless_constant(float* y, const float* x, int n) { y[threadIdx.x] = value; }
// ==== huge_macro: ^huge_macro.cu: g\+\+ (did not end within 2 s|needs more than|wrote a file)
#define A(x) x x x x x x x x x x
#define B(x) A(A(A(x)))
#define C(x) B(B(B(x)))
extern "C" __global__ void huge_macro(float* y, const float* x, int n) {
    C(y[threadIdx.x] += x[threadIdx.x];)
}
// ==== macro_of_itself: macro_of_itself.cu:2:\d+: error: 'X' was not declared
#define X X + 1
extern "C" __global__ void macro_of_itself(float* y, const float* x, int n) { y[threadIdx.x] = X; }
// ==== two_of_a_name: two_of_a_name.cu:2:\d+: error: redefinition of
extern "C" __global__ void two_of_a_name(float* y, const float* x, int n) { y[threadIdx.x] = 1.0f; }
extern "C" __global__ void two_of_a_name(float* y, const float* x, int n) { y[threadIdx.x] = 2.0f; }
// ==== overloaded: overloaded.cu:2:\d+: error: conflicting declaration of C function
extern "C" __global__ void overloaded(float* y, const float* x, int n) { y[threadIdx.x] = 1.0f; }
extern "C" __global__ void overloaded(double* y, const float* x, int n) { y[threadIdx.x] = 2.0; }
// ==== without_a_body: ^without_a_body.cu: the kernel without_a_body is declared, but has no body
extern "C" __global__ void without_a_body(float* y, const float* x, int n);
// ==== calls_what_is_not_there: ^calls_what_is_not_there.cu:2 in calls_what_is_not_there: elsewhere\(float\) is no function
__device__ float elsewhere(float v);
extern "C" __global__ void calls_what_is_not_there(float* y, const float* x, int n) { y[threadIdx.x] = elsewhere(x[0]); }
// ==== another_name: ^another_name.cu has no kernel another_name; it has one_name
extern "C" __global__ void one_name(float* y, const float* x, int n) { y[threadIdx.x] = x[threadIdx.x]; }
// ==== wants_four_arguments: ^wants_four_arguments.cu: wants_four_arguments: expected 4 arguments; got 3
extern "C" __global__ void wants_four_arguments(float* y, const float* x, int n, int m) { y[threadIdx.x] = n + m; }
// ==== ends_too_early: ends_too_early.cu:\d+:\d+: error: expected
extern "C" __global__ void ends_too_early(float* y, const float* x, int n) {
    y[threadIdx.x] = x[threadIdx.x];
// ==== closes_too_much: closes_too_much.cu:4:\d+: error: expected declaration before
extern "C" __global__ void closes_too_much(float* y, const float* x, int n) {
    y[threadIdx.x] = x[threadIdx.x];
} }
}
// ==== named_as_a_function_of_c: error: unable to deduce 'auto' from '.*::memcpy'
extern "C" __global__ void memcpy(float* y, const float* x, int n) { y[threadIdx.x] = x[threadIdx.x]; }
// ==== says_error: says_error.cu:1:\d+: error: #error not on this device
#error not on this device
extern "C" __global__ void says_error(float* y, const float* x, int n) {}
// ==== missing_header: missing_header.cu:1|fatal error: no_such_header.h: No such file
#include <no_such_header.h>
extern "C" __global__ void missing_header(float* y, const float* x, int n) {}
// ==== reads_its_input: reads_its_input
#include </dev/stdin>
extern "C" __global__ void reads_its_input(float* y, const float* x, int n) { y[threadIdx.x] = undeclared; }
// ==== reads_a_device: ^reads_a_device.cu: g\+\+ (did not end within 2 s|needs more than)
#include </dev/zero>
extern "C" __global__ void reads_a_device(float* y, const float* x, int n) { y[threadIdx.x] = undeclared; }
// ==== fails_statically: fails_statically.cu:2:\d+: error: static assertion failed: never
extern "C" __global__ void fails_statically(float* y, const float* x, int n) {
    static_assert(sizeof(n) == 8, "never");
}
