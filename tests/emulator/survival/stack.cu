// Launch: grid 1, block 32, x 32, y 32.
// Stacks that overflow, and writes past the end of what is on them.

__device__ __noinline__ int sum_to(int n) {  // recursion: stack-overflow; one_lane_alone: stack-overflow
    return n == 0 ? 0 : n + sum_to(n + 1);  // recursion: stack-overflow; one_lane_alone: stack-overflow
}
extern "C" __global__ void recursion(float* y, const float* x, int n) { y[threadIdx.x] = sum_to(n + threadIdx.x); }

__device__ __noinline__ float odd(const float* x, int i);
__device__ __noinline__ float even(const float* x, int i) {  // pair_of_recursions: stack-overflow
    return x[i % 32] * 2.0f + odd(x, i + 1);  // pair_of_recursions: stack-overflow
}
__device__ __noinline__ float odd(const float* x, int i) {  // pair_of_recursions: stack-overflow
    return even(x, i + 1) + x[i % 32];  // pair_of_recursions: stack-overflow
}
extern "C" __global__ void pair_of_recursions(float* y, const float* x, int n) { y[threadIdx.x] = even(x, n); }

__device__ __noinline__ float deep_frames(const float* x, int i) {  // recursion_with_large_frames: stack-overflow
    float kept[4096];
    for (int k = 0; k < 4096; ++k) kept[k] = x[(i + k) % 32];  // recursion_with_large_frames: stack-overflow
    const float rest = i > 1000 ? 0.0f : deep_frames(x, i + 1);  // recursion_with_large_frames: stack-overflow
    return rest + kept[i & 4095];
}
extern "C" __global__ void recursion_with_large_frames(float* y, const float* x, int n) {
    y[threadIdx.x] = deep_frames(x, n & 1);
}

__device__ __noinline__ int told(int n) {  // recursion_that_prints: stack-overflow
    printf("%s", "");  // recursion_that_prints: stack-overflow
    return n < 0 ? 0 : n + told(n + 1);  // recursion_that_prints: stack-overflow
}
extern "C" __global__ void recursion_that_prints(float* y, const float* x, int n) { y[threadIdx.x] = told(n); }

__device__ __noinline__ int counted(int* counter, int n) {  // recursion_with_atomics: stack-overflow
    atomicAdd(counter + 31, 1);  // recursion_with_atomics: stack-overflow
    return n < 0 ? 0 : n + counted(counter, n + 1);  // recursion_with_atomics: stack-overflow
}
extern "C" __global__ void recursion_with_atomics(float* y, const float* x, int n) {
    y[31] = 0.0f;
    y[threadIdx.x] = counted((int*)y, n);
}

__device__ __noinline__ int shuffled(int n) {  // recursion_with_shuffles: stack-overflow
    return __shfl_xor_sync(0xffffffffu, n, 1) + shuffled(n + 1);  // recursion_with_shuffles: stack-overflow
}
extern "C" __global__ void recursion_with_shuffles(float* y, const float* x, int n) { y[threadIdx.x] = shuffled(n); }

struct Step {
    int (*next)(const Step&, int);
};
__device__ __noinline__ int follow(const Step& step, int n) {  // recursion_by_pointer: stack-overflow
    return n < 0 ? 0 : 1 + step.next(step, n + 1);  // recursion_by_pointer: stack-overflow
}
extern "C" __global__ void recursion_by_pointer(float* y, const float* x, int n) {
    const Step step{follow};
    y[threadIdx.x] = follow(step, n);
}

extern "C" __global__ void one_lane_alone(float* y, const float* x, int n) {
    y[threadIdx.x] = threadIdx.x == 5 ? sum_to(n) : 0;
}

extern "C" __global__ void huge_alloca(float* y, const float* x, int n) {
    float* kept = (float*)__builtin_alloca(size_t(n) << 20);  // huge_alloca: stack-overflow
    kept[threadIdx.x] = x[threadIdx.x];  // huge_alloca: stack-overflow
    y[threadIdx.x] = kept[threadIdx.x ^ 1];
}

extern "C" __global__ void long_variable_array(float* y, const float* x, int n) {
    float kept[n * 100000];  // long_variable_array: stack-overflow
    for (int i = 0; i < n; ++i) kept[i * 100] = x[i % 32];  // long_variable_array: stack-overflow
    y[threadIdx.x] = kept[threadIdx.x];
}

extern "C" __global__ void negative_variable_array(float* y, const float* x, int n) {
    float kept[n - 100];  // negative_variable_array: bad-size
    for (int i = 0; i < n; ++i) kept[i] = x[i % 32];
    y[threadIdx.x] = kept[threadIdx.x];
}

__device__ __noinline__ void fill(float* to, int count) {
    for (int i = 0; i < count; ++i) to[i] = float(i);
}
extern "C" __global__ void past_a_local_array(float* y, const float* x, int n) {
    float kept[16];
    fill(kept, n - 40);
    y[threadIdx.x] = kept[threadIdx.x % 16];
}  // past_a_local_array: stack-smashed fault

extern "C" __global__ void memset_past_a_local_array(float* y, const float* x, int n) {
    char kept[16];
    memset(kept, 0x41, n);
    y[threadIdx.x] = kept[threadIdx.x % 16];
}  // memset_past_a_local_array: stack-smashed fault

__device__ __noinline__ float smashed(const float* x, int n) {
    float kept[8];
    memcpy(kept, x, n);
    return kept[n % 8];
}  // memcpy_past_a_local_array: stack-smashed fault
extern "C" __global__ void memcpy_past_a_local_array(float* y, const float* x, int n) { y[threadIdx.x] = smashed(x, n); }

extern "C" __global__ void local_array_of_another_thread(float* y, const float* x, int n) {
    float kept[4] = {x[0], x[1], x[2], x[3]};
    float* volatile shared_by_mistake = kept;
    y[threadIdx.x] = shared_by_mistake[-n * 4096];  // local_array_of_another_thread: out-of-bounds
}
