// Reductions within a warp, within a block, across blocks.

__device__ __forceinline__ float warp_sum(float v) {
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
    return v;
}

// Two stages; the result is in every thread, and the function may be called again at once.
template <class T>
__device__ T block_sum(T v) {
    __shared__ T partial[32];
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    T sum = T(0);
    for (int i = 0; i < blockDim.x / 32; ++i) sum += partial[i];
    __syncthreads();
    return sum;
}

extern "C" __global__ void warp_rows(float* y, const float* x) {
    const float sum = warp_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
    if (threadIdx.x % 32 == 0) y[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = sum;
}

extern "C" __global__ void block_moments(float* mean, float* var, const float* x) {
    const float v = x[blockIdx.x * blockDim.x + threadIdx.x];
    const float m = block_sum(v) / blockDim.x;
    const float s = block_sum((v - m) * (v - m)) / blockDim.x;
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = m;
        var[blockIdx.x] = s;
    }
}

extern "C" __global__ void tree(float* y, const float* x) {
    DYNAMIC_SHARED(float, tile);
    tile[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) tile[threadIdx.x] += tile[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = tile[0];
}

// Partial sums by block; the last block to finish adds them up and resets the counter.
extern "C" __global__ void last_block(float* y, float* partial, unsigned* counter, const float* x) {
    __shared__ bool last;
    const float sum = block_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        __threadfence();
        last = atomicAdd(counter, 1u) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (!last) return;
    float v = 0.0f;
    for (int i = threadIdx.x; i < gridDim.x; i += blockDim.x) v += partial[i];
    v = block_sum(v);
    if (threadIdx.x == 0) {
        *y = v;
        *counter = 0;
    }
}

// The same with many writers per block: each fences for itself, or one thread does for all of them.
extern "C" __global__ void last_block_columns(float* y, float* partial, unsigned* counter, const float* x, int own_fence) {
    __shared__ unsigned ticket;
    partial[blockIdx.x * blockDim.x + threadIdx.x] = 2.0f * x[blockIdx.x * blockDim.x + threadIdx.x];
    if (own_fence) __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        if (!own_fence) __threadfence();
        ticket = atomicAdd(counter, 1u);
        __threadfence();
    }
    __syncthreads();
    if (ticket != gridDim.x - 1) return;
    float sum = 0.0f;
    for (int i = 0; i < gridDim.x; ++i) sum += partial[i * blockDim.x + threadIdx.x];
    y[threadIdx.x] = sum;
}
