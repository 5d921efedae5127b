// shared_place.cuh: places in shared memory as numbers of 32 bits, as loads take them: what is added to one is added by
// the load, where it is the same in all of a warp. Of a pointer a loop works out anew where shared memory begins, and
// one that it steps forward takes 64 bits.
#ifndef GPUNN_SHARED_PLACE_CUH
#define GPUNN_SHARED_PLACE_CUH
#include "common.cuh"

struct SharedPlace {
#ifdef GPUNN_EMULATOR
    const char* at;
    explicit SharedPlace(const void* shared) : at((const char*)shared) {}
    const void* pointer() const { return at; }
#else
    unsigned at;
    __device__ __forceinline__ explicit SharedPlace(const void* shared) : at(__cvta_generic_to_shared(shared)) {}
    __device__ __forceinline__ const void* pointer() const { return __cvta_shared_to_generic(at); }
#endif
    __device__ __forceinline__ SharedPlace& operator+=(int bytes) {
        at += bytes;
        return *this;
    }
    __device__ __forceinline__ SharedPlace operator+(int bytes) const { return SharedPlace(*this) += bytes; }
    __device__ __forceinline__ bool operator<(const SharedPlace& other) const { return at < other.at; }
};

template <class T>
__device__ __forceinline__ T one_at(SharedPlace from) {
    return *static_cast<const T*>(from.pointer());
}
template <int N>
__device__ __forceinline__ Vector<real, N> load(SharedPlace from) {
    return one_at<Vector<real, N>>(from);
}

// threadIdx.x, of which a compiler does not know that it has it.
__device__ __forceinline__ int asked_again() {
    int thread = threadIdx.x;
#ifndef GPUNN_EMULATOR
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
#endif
    return thread;
}

#endif  // GPUNN_SHARED_PLACE_CUH
