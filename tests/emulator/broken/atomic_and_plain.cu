// One thread resets the counter while others count.
// Launch: grid 1, block 64, x 64, y 64, counter 1.
extern "C" __global__ void kernel(float* y, const float* x, int n, unsigned* counter) {
    if (threadIdx.x == 40) *counter = 0;  // finding: race
    y[threadIdx.x] = atomicAdd(counter, 1u);  // finding: race
}
