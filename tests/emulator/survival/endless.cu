// Launch: grid 1, block 32, x 32, y 32.
// Loops without end, of all that a thread can do in one.

extern "C" __global__ void does_nothing(float* y, const float* x, int n) {
    for (;;) asm volatile("");  // does_nothing: limit
}
extern "C" __global__ void counts_in_registers(float* y, const float* x, int n) {
    unsigned long long v = n;
    for (; v != 12345u; ++n) v = v * 6364136223846793005ull + 2ull;  // counts_in_registers: limit
    y[threadIdx.x] = float(n);
}
extern "C" __global__ void computes_sines(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    while (v < 1000.0f) v = sinf(v + 1e6f);  // computes_sines: limit
    y[threadIdx.x] = v;
}
extern "C" __global__ void writes_again(float* y, const float* x, int n) {
    for (int i = 0; i < n; i = (i + 1) % n) y[threadIdx.x] = x[i % 32];  // writes_again: limit
}
extern "C" __global__ void waits_for_a_flag(float* y, const float* x, int n) {
    volatile float* flag = y;
    if (threadIdx.x == 0) {
        flag[0] = 0.0f;
        while (flag[0] == 0.0f) continue;  // waits_for_a_flag: limit
    }
}
extern "C" __global__ void waits_for_an_atomic(float* y, const float* x, int n) {
    int* flag = (int*)y;
    if (threadIdx.x != 0) return;
    flag[0] = 0;
    while (atomicAdd(flag, 0) == 0) continue;  // waits_for_an_atomic: limit
}
extern "C" __global__ void meets_for_ever(float* y, const float* x, int n) {
    for (int i = 0; i >= 0; i = (i + 1) & 1) __syncthreads();  // meets_for_ever: limit
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void votes_for_ever(float* y, const float* x, int n) {
    while (__syncthreads_or(1)) continue;  // votes_for_ever: limit
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void shuffles_for_ever(float* y, const float* x, int n) {
    float v = x[threadIdx.x];
    while (v < 1000.0f) v = __shfl_xor_sync(0xffffffffu, v, 1);  // shuffles_for_ever: limit
    y[threadIdx.x] = v;
}
extern "C" __global__ void meets_its_warp_for_ever(float* y, const float* x, int n) {
    while (n) __syncwarp();  // meets_its_warp_for_ever: limit
    y[threadIdx.x] = 0.0f;
}
extern "C" __global__ void one_lane_keeps_the_others(float* y, const float* x, int n) {
    unsigned v = n;
    if (threadIdx.x == 17)
        while (v & 64u) v = v * 5u | 64u;  // one_lane_keeps_the_others: limit
    __syncthreads();
    y[threadIdx.x] = float(v);
}
extern "C" __global__ void prints_for_ever(float* y, const float* x, int n) {
    while (n) printf("%.*s", n - 64, (const char*)x);  // prints_for_ever: limit
    y[threadIdx.x] = 0.0f;
}
