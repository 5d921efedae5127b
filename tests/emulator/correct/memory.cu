// Accesses of every width, aliases, atomics, constants, structs.

extern "C" __global__ void copy_float4(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n / 4) reinterpret_cast<float4*>(y)[i] = __ldg(reinterpret_cast<const float4*>(x) + i);
}

extern "C" __global__ void normalise_uchar4(float* y, const unsigned char* x) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const uchar4 v = reinterpret_cast<const uchar4*>(x)[i];
    reinterpret_cast<float4*>(y)[i] = make_float4(v.x / 255.0f, v.y / 255.0f, v.z / 255.0f, v.w / 255.0f);
}

// Neighbouring threads write neighbouring bytes, of which four share a word.
extern "C" __global__ void threshold(unsigned char* y, const float* x) {
    __shared__ unsigned char bits[64];
    __shared__ unsigned short wide[64];
    const int i = threadIdx.x;
    bits[i] = x[i] > 0.5f;
    wide[i] = (unsigned short)(1000 * bits[i]);
    __syncthreads();
    y[i] = bits[63 - i] + (wide[i ^ 1] == 1000);
}

extern "C" __global__ void relu_in_place(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = fmaxf(x[i], 0.0f);
}

extern "C" __global__ void histogram(unsigned* counts, const unsigned char* x, int n) {
    __shared__ unsigned local[16];
    if (threadIdx.x < 16) local[threadIdx.x] = 0;
    __syncthreads();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&local[x[i] % 16], 1u);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&counts[threadIdx.x], local[threadIdx.x]);
}

__constant__ const float taps[3] = {0.25f, 0.5f, 0.25f};

extern "C" __global__ void smooth(float* y, const float* x, int n) {
    DYNAMIC_SHARED(float, tile);
    const int i = threadIdx.x;
    tile[i + 1] = x[i];
    if (i == 0) tile[0] = tile[n + 1] = 0.0f;
    __syncthreads();
    float sum = 0.0f;
    for (int k = 0; k < 3; ++k) sum += taps[k] * tile[i + k];
    y[i] = sum;
}

struct Scale {
    float factor;
    int steps;
    __device__ __forceinline__ float operator()(float v) const {
        for (int k = 0; k < steps; ++k) v *= factor;
        return v;
    }
};

template <class Op>
__device__ void map(float* y, const float* x, Op op) {
    __shared__ float tile[32];
    tile[threadIdx.x] = op(x[threadIdx.x]);
    __syncthreads();
    y[threadIdx.x] = tile[31 - threadIdx.x];
    __syncthreads();
}

extern "C" __global__ void by_value(float* y, const float* x, Scale scale, bool negate, double shift, unsigned char small) {
    map(y, x, scale);
    map(y, y, [=](float v) { return (negate ? -v : v) + float(shift) + small; });
}

extern "C" __global__ void intrinsics(long long* y, double* z) {
    y[0] = __popc(0xf0f0u);
    y[1] = __ffs(8);
    y[2] = __clz(1);
    y[3] = __umulhi(0x80000000u, 6u);
    y[4] = (long long)__umul64hi(1ull << 63, 10ull);
    y[5] = __float_as_uint(1.0f);
    y[6] = min(3, 5) + max(7ll, 2ll) + min(4u, 9u);
    y[7] = blockDim.x + 10 * blockDim.y + 100 * blockDim.z + 1000 * gridDim.y + 10000 * warpSize;
    y[8] = sizeof(float4) + 100 * alignof(float4) + 10000 * alignof(uchar4) + 1000000 * alignof(longlong2);
    y[9] = isnan(__int_as_float(0x7fc00000)) && isinf(INFINITY) && !isnan(fmaxf(NAN, 1.0f));
    y[10] = __byte_perm(0x33221100u, 0x77665544u, 0x7625u);
    z[0] = rsqrtf(4.0f);
    z[1] = __expf(1.0f);
    z[2] = __fdividef(1.0f, 3.0f);
    z[3] = max(1.5f, 2.5) + min(0.5f, 0.25f);
    z[4] = fmaf(2.0f, 3.0f, 4.0f);
}
