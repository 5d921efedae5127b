// gather.cu: elements picked by an index.
//   take: y[i] = x[sum_a i_a source_a + scale places[sum_a i_a place_a]] for all places i of y
//   put:  the other way, x[...] = y[i], for places that come once each
//   put_last: the same for places that come several times: of those the last is written. slots: the places counted
//             without gaps; last: the number of the last place, from 1 on, by slot (places.cu)
//   y contiguous   x anything   places int64, each within x
// Rows of an embedding, index_select, t[[...]], several index arrays at once (folded into one by places.cu) and
// gather() differ in their strides only.
// Launch: one thread per element, 256 a block. An element has 16 bytes where what is picked are runs of neighbours.
// Traffic: y once, of x what is picked; the places once.
#include "bytes.cuh"

struct TakeAxis {
    Divisor length;
    long long source;  // bytes
    long long place;   // elements
};
struct TakeBox {
    int rank;
    TakeAxis axis[MAX_RANK];
    long long start, place_start, scale;
};

// Where element i of y lies in x, in bytes; `place` becomes the number of its place.
__device__ __forceinline__ long long picked(const TakeBox& box, const long long* places, int i, long long& place) {
    long long at = box.start;
    place = box.place_start;
    for (int a = box.rank - 1; a >= 0; --a) {
        int here = i;
        i = box.axis[a].length.split(here);
        at += here * box.axis[a].source;
        place += here * box.axis[a].place;
    }
    return at + box.scale * places[place];
}

extern "C" __global__ void take(INOUT unsigned char* __restrict__ y, const unsigned char* __restrict__ x,
                                const long long* __restrict__ places, TakeBox box, long long y_start, int n) {
    const int i = my_number(n);
    long long place;
    if (i >= 0) put_into(y, y_start + (long long)i * BYTES, take_from(x, picked(box, places, i, place)));
}

extern "C" __global__ void put(INOUT unsigned char* __restrict__ x, const unsigned char* __restrict__ y,
                               const long long* __restrict__ places, TakeBox box, long long y_start, int n) {
    const int i = my_number(n);
    long long place;
    if (i >= 0) put_into(x, picked(box, places, i, place), take_from(y, y_start + (long long)i * BYTES));
}

extern "C" __global__ void put_last(INOUT unsigned char* __restrict__ x, const unsigned char* __restrict__ y,
                                    const long long* __restrict__ places, const long long* __restrict__ slots,
                                    const int* __restrict__ last, TakeBox box, long long y_start, int n) {
    const int i = my_number(n);
    if (i < 0) return;
    long long place;
    const long long at = picked(box, places, i, place);
    if (last[slots[place]] == place + 1) put_into(x, at, take_from(y, y_start + (long long)i * BYTES));
}
