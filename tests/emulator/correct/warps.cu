// Lanes that exchange values, by memory and by shuffles, whole warps and parts of them.

// All read one element, then one lane changes it: again and again.
extern "C" __global__ void broadcast_then_change(float* y, const float* x) {
    __shared__ float total;
    if (threadIdx.x == 0) total = 0.0f;
    __syncwarp();
    float seen = 0.0f;
    for (int i = 0; i < 32; ++i) {
        seen += total;
        __syncwarp();
        if (threadIdx.x == i) total += x[i];
        __syncwarp();
    }
    y[threadIdx.x] = seen;
}

// Two groups of 16 lanes with masks of their own, which meet only at the end.
extern "C" __global__ void half_warps(float* y, const float* x) {
    __shared__ float tile[32];
    const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp(mask);
    const float other = tile[threadIdx.x ^ 5];
    __syncwarp(mask);
    tile[threadIdx.x] = other;
    if (threadIdx.x < 16) __syncwarp(mask);  // one group takes part in more barriers
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x ^ 21];
}

// Lane 0 tells lane 1, lane 1 tells lane 2: ordered through the one between, though 0 and 2 never meet.
extern "C" __global__ void relay(float* y, const float* x) {
    __shared__ float cell;
    if (threadIdx.x == 0) cell = x[0];
    if (threadIdx.x < 2) __syncwarp(0x3u);
    if (threadIdx.x == 1 || threadIdx.x == 2) __syncwarp(0x6u);
    if (threadIdx.x == 2) cell = cell + 1.0f;
    __syncwarp();
    y[threadIdx.x] = cell;
}

extern "C" __global__ void shuffles(float* y, const float* x, unsigned long long* z) {
    const int lane = threadIdx.x;
    const float v = x[lane];
    y[lane] = __shfl_sync(0xffffffffu, v, 31 - lane);
    y[32 + lane] = __shfl_up_sync(0xffffffffu, v, 3);
    y[64 + lane] = __shfl_down_sync(0xffffffffu, v, 5, 8);
    y[96 + lane] = __shfl_xor_sync(0xffffffffu, v, 6);
    y[128 + lane] = __shfl_sync(0xffffffffu, v, 2, 8);
    y[160 + lane] = __shfl_up_sync(0xffffffffu, v, 1, 16);
    z[lane] = __shfl_xor_sync(0xffffffffu, (1ull << 40) + lane, 1);
    z[32 + lane] = __ballot_sync(0xffffffffu, lane % 3 == 0);
    z[64 + lane] = __any_sync(0xffffffffu, lane == 7) + 2 * __all_sync(0xffffffffu, lane < 31);
    z[96 + lane] = lane < 8 ? __ballot_sync(0x000000ffu, lane & 1) : 0;
    z[128 + lane] = __popc(__activemask());
}

extern "C" __global__ void votes(int* y, const int* x) {
    const int i = threadIdx.x;
    y[0 * blockDim.x + i] = __syncthreads_or(x[i] == 5);
    y[1 * blockDim.x + i] = __syncthreads_and(x[i] < 90);
    y[2 * blockDim.x + i] = __syncthreads_count(x[i] % 2);
}

// A warp that has less than 32 threads, and a shuffle in a part of it that has its own mask.
extern "C" __global__ void short_warp(float* y, const float* x) {
    __shared__ float tile[40];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    float v = tile[threadIdx.x ^ 1];
    if (threadIdx.x >= 32) v = __shfl_xor_sync(0x000000ffu, v, 1);
    y[threadIdx.x] = v;
}
