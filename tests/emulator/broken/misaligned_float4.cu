// A row of 5 floats does not start at a multiple of 16 bytes.
// Launch: grid 1, block 4, x 20, y 4.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    const float4 v = *reinterpret_cast<const float4*>(x + 5 * threadIdx.x);  // finding: misaligned
    y[threadIdx.x] = v.x + v.y + v.z + v.w;
}
