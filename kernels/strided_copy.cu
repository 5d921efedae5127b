// strided_copy.cu: boxes of elements copied between arrays with any strides: slices, axes in another order, repeated
// or backwards, arrays joined and cut apart, frames of a constant.
//   copy_box:   to[to_start + sum_a i_a target_a] = from[from_start + sum_a i_a source_a] for all i in the box
//   place_box:  to, contiguous, is from[from_start + sum_a j_a source_a] where i_a = first_a + j_a step_a with
//               0 <= j_a < count_a along all axes, else a constant
//   join_parts: row r of `to` is row r of all parts one after the other;  cut_parts: and back
//   fill_bytes: to = a constant
// Launch: one thread per element of `to` (copy_box: of the box), 256 a block. An element has 16 bytes where runs of
// neighbours on both sides allow, which the host finds out.
// Several launches may write one array, each its part: `to` is INOUT where they do.
// Traffic: what is copied once, in and out; a transpose that this does instead of transpose.cu reads whole sectors
// for single elements.
#include "bytes.cuh"

struct CopyAxis {
    Divisor length;
    long long target, source;  // bytes from one to the next; 0 repeats, negative turns round
};
struct CopyBox {
    int rank;
    CopyAxis axis[MAX_RANK];
};

extern "C" __global__ void copy_box(INOUT unsigned char* __restrict__ to, const unsigned char* __restrict__ from,
                                    CopyBox box, long long to_start, long long from_start, int n) {
    int i = my_number(n);
    if (i < 0) return;
    long long t = to_start, f = from_start;
    for (int a = box.rank - 1; a >= 0; --a) {
        int at = i;
        i = box.axis[a].length.split(at);
        t += at * box.axis[a].target;
        f += at * box.axis[a].source;
    }
    put_into(to, t, take_from(from, f));
}

struct PlaceAxis {
    Divisor length, step;
    int first, count;
    long long source;
};
struct PlaceBox {
    int rank;
    PlaceAxis axis[MAX_RANK];
};

extern "C" __global__ void place_box(INOUT unsigned char* __restrict__ to, const unsigned char* __restrict__ from,
                                     PlaceBox box, long long to_start, long long from_start,
                                     unsigned long long outside, int n) {
    int i = my_number(n);
    if (i < 0) return;
    const long long t = to_start + (long long)i * BYTES;
    long long f = from_start;
    bool inside = true;
    for (int a = box.rank - 1; a >= 0; --a) {
        const PlaceAxis& axis = box.axis[a];
        int at = i;
        i = axis.length.split(at);
        at -= axis.first;
        if (at < 0) inside = false, at = 0;
        const int j = axis.step.split(at);  // leaves the remainder in `at`
        inside = inside && at == 0 && j < axis.count;
        f += j * axis.source;
    }
    put_into(to, t, inside ? take_from(from, f) : of_bits(outside));
}

// The parts of a row: each ends before column `end`, and has rows of its own, contiguous.
#define MAX_PARTS 64
struct Part {
    unsigned char* memory;  // null: a part that nobody wants cut out
    int end;
};
struct Parts {
    Divisor columns;  // of all parts here
    int count;
    Part part[MAX_PARTS];
};

struct PartPlace {
    unsigned char* memory;
    long long at, in_row;  // bytes: in the part, and from the start of the whole array
};

__device__ __forceinline__ PartPlace part_place(const Parts& parts, int i, long long start, long long row_bytes) {
    int column = i;
    const int row = parts.columns.split(column);
    int p = 0, begin = 0;
    while (column >= parts.part[p].end) begin = parts.part[p++].end;
    const long long width = parts.part[p].end - begin;
    return {parts.part[p].memory, (row * width + column - begin) * BYTES,
            start + row * row_bytes + (long long)column * BYTES};
}

extern "C" __global__ void join_parts(INOUT unsigned char* __restrict__ to, Parts parts, long long start,
                                      long long row_bytes, int n) {
    const int i = my_number(n);
    if (i < 0) return;
    const PartPlace place = part_place(parts, i, start, row_bytes);
    put_into(to, place.in_row, take_from(place.memory, place.at));
}

extern "C" __global__ void cut_parts(const unsigned char* __restrict__ from, Parts parts, long long start,
                                     long long row_bytes, int n) {
    const int i = my_number(n);
    if (i < 0) return;
    const PartPlace place = part_place(parts, i, start, row_bytes);
    if (place.memory) put_into(place.memory, place.at, take_from(from, place.in_row));
}

extern "C" __global__ void fill_bytes(unsigned char* __restrict__ to, unsigned long long bits, long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) put_into(to, i * BYTES, of_bits(bits));
}
