// Launch: grid 1, block 32, x 32, y 32.
// What the processor traps and a GPU does not.

extern "C" __global__ void least_int_by_minus_one(float* y, const float* x, int n) {
    const int least = int(1u << 31) + (n - 64), by = 63 - n;
    y[threadIdx.x] = float(least / by);  // least_int_by_minus_one: division
}
extern "C" __global__ void remainder_of_least_int(float* y, const float* x, int n) {
    const int least = int(1u << 31) + (n - 64), by = 63 - n;
    y[threadIdx.x] = float(least % by);  // remainder_of_least_int: division
}
extern "C" __global__ void least_long_by_minus_one(float* y, const float* x, int n) {
    const long long least = (long long)(1ull << 63) + (n - 64), by = 63 - n;
    y[threadIdx.x] = float(least / by);  // least_long_by_minus_one: division
}
__device__ __noinline__ int divide(int a, int b) {
    return a / b;  // division_in_a_function: division
}
extern "C" __global__ void division_in_a_function(float* y, const float* x, int n) {
    y[threadIdx.x] = threadIdx.x == 7 ? divide(int(1u << 31) + (n - 64), 63 - n) : 0.0f;
}
extern "C" __global__ void int_by_zero(float* y, const float* x, int n) {
    y[threadIdx.x] = float(int(threadIdx.x) / (n - 64));  // int_by_zero: division
}
extern "C" __global__ void unsigned_remainder_by_zero(float* y, const float* x, int n) {
    y[threadIdx.x] = float(threadIdx.x % unsigned(n - 64));  // unsigned_remainder_by_zero: division
}
extern "C" __global__ void long_by_zero(float* y, const float* x, int n) {
    y[threadIdx.x] = float((long long)threadIdx.x / (long long)(n - 64));  // long_by_zero: division
}
extern "C" __global__ void negative_shift(float* y, const float* x, int n) {
    y[threadIdx.x] = float(1 << (60 - n));  // negative_shift: shift
}
