// Two threads write the same byte.
// Launch: grid 1, block 32, x 32, y 32.
extern "C" __global__ void kernel(float* y, const float* x, int n) {
    unsigned char* bytes = reinterpret_cast<unsigned char*>(y);
    bytes[threadIdx.x / 2] = (unsigned char)threadIdx.x;  // finding: race
}
