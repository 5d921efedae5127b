// Nobody ever writes the array, in a template: g++ would like to call it constant.
// Launch: grid 1, block 32, x 32, y 32.
template <class T>
__device__ T never() {
    __shared__ T values[32];
    return values[threadIdx.x];  // finding: unwritten-read
}
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    y[threadIdx.x] = never<float>() + x[threadIdx.x];
}
