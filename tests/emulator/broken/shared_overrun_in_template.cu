// A pointer runs over the end of an array that belongs to a template.
// Launch: grid 1, block 32, x 32, y 32.
template <class T>
__device__ T* table() {
    __shared__ T values[32];
    return values;
}
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    float* p = table<float>();
    int* q = table<int>();
    p[threadIdx.x] = x[threadIdx.x];
    q[threadIdx.x] = threadIdx.x;
    __syncthreads();
    p[threadIdx.x] = q[threadIdx.x] + p[32];  // finding: out-of-bounds
    y[threadIdx.x] = p[threadIdx.x];
}
