// tril.cu: the lower or upper triangle of matrices: y = x where column - row <= diagonal (lower) or >= (upper), else 0.
//   x, y (batch, rows, columns, inner), contiguous: inner is the channels of images, which lie within their pixels
// Launch: one thread per element, 256 a block. Traffic: x read where it is kept, y once.
#include "bytes.cuh"

extern "C" __global__ void triangle(unsigned char* __restrict__ y, const unsigned char* __restrict__ x, Divisor inner,
                                    Divisor columns, Divisor rows, int diagonal, int upper, int n) {
    const int i = my_number(n);
    if (i < 0) return;
    int column = inner.quotient(i);
    int row = columns.split(column);
    rows.split(row);
    const long long at = (long long)i * BYTES;
    const int offset = column - row - diagonal;
    put_into(y, at, (upper ? offset >= 0 : offset <= 0) ? take_from(x, at) : of_bits(0));
}
