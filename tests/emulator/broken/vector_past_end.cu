// The length is no multiple of 4, so the last float4 crosses the end.
// Launch: grid 1, block 32, x 126, y 128.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    const float4 v = reinterpret_cast<const float4*>(x)[threadIdx.x];  // finding: out-of-bounds
    reinterpret_cast<float4*>(y)[threadIdx.x] = v;
}
