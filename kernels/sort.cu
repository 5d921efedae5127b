// sort.cu: the stable order of rows: order[r, i] = where the i-th element of row r, counted in order, is.
//   x (rows, length)      real: a float type or int, int64, uint8; NaN is behind all numbers, -0 equals 0
//   order (rows, length)  int64   keys, places (rows, length)  runs in order, of rows longer than a chunk
// Elements become unsigned words of as many bits that stand in the same order. sort_chunks orders CHUNK of them at a time in
// shared memory by a bitonic network, by word and then by place, so that no two are equal: several rows, or a part of
// one. merge_runs makes pairs of runs one run: an element's place is its place in its own run and, found by bisection,
// the number of elements of the other run that come before it.
// Launch: sort_chunks a block of 512 for each CHUNK; merge_runs a thread for each element, once for each doubling.
// Traffic: x and order once; each merge reads and writes keys and places once, bisection reads neighbours' words.
// Source: Batcher 1968, "Sorting networks and their applications".
#include "numbers.cuh"

#define CHUNK 1024
#define THREADS (CHUNK / 2)

template <int BYTES>
struct Word {
    typedef unsigned type;
};
template <>
struct Word<1> {
    typedef uint8 type;
};
template <>
struct Word<8> {
    typedef unsigned long long type;
};
typedef Word<sizeof(real)>::type word;

// A word that is less than another's where x comes before the other.
__device__ __forceinline__ word word_of(real x, int descending) {
    const word sign = word(1) << (8 * sizeof(word) - 1), all = ~word(0);
    word bits;
    if constexpr (FLOATING<real>) {
        memcpy(&bits, &x, sizeof(bits));
        if (bits == sign) bits = 0;  // -0; adding 0 would make zeros of the smallest numbers too, where these are flushed
        bits = x != x ? all : bits & sign ? ~bits : bits | sign;
    } else {
        bits = (word)x ^ (real(-1) < real(0) ? sign : word(0));
    }
    return descending ? ~bits : bits;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    sort_chunks(int64* __restrict__ order, word* __restrict__ keys, int* __restrict__ places,
                const real* __restrict__ x, long long rows, int length, int chunks, int width, int descending) {
    __shared__ word key[CHUNK];
    __shared__ int place[CHUNK];
    // A block has CHUNK / width pieces: rows of at most `width` elements, or one of a row's chunks.
    const long long first = (long long)blockIdx.x * (CHUNK / width);
    for (int i = threadIdx.x; i < CHUNK; i += THREADS) {
        const long long piece = first + i / width, row = piece / chunks;
        const int at = (int)(piece % chunks) * width + i % width;
        const bool inside = row < rows && at < length;
        key[i] = inside ? word_of(x[row * length + at], descending) : ~word(0);
        place[i] = at;  // what is behind the row's end has the last places too
    }
    for (int size = 2; size <= width; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            __syncthreads();
            const int i = 2 * stride * (threadIdx.x / stride) + threadIdx.x % stride, j = i + stride;
            const bool upwards = (i % width & size) == 0;
            const word a = key[i], b = key[j];
            const int p = place[i], q = place[j];
            if ((a < b || (a == b && p < q)) != upwards) {
                key[i] = b, key[j] = a;
                place[i] = q, place[j] = p;
            }
        }
    __syncthreads();
    for (int i = threadIdx.x; i < CHUNK; i += THREADS) {
        const long long piece = first + i / width, row = piece / chunks;
        const int at = (int)(piece % chunks) * width + i % width;
        if (row >= rows || at >= length) continue;
        if (chunks == 1) {
            order[row * length + at] = place[i];
        } else {
            keys[row * length + at] = key[i];
            places[row * length + at] = place[i];
        }
    }
}

// Runs of `run` elements become runs of twice as many: keys and places of `from` those of `to`; in the end the order.
extern "C" __global__ void __launch_bounds__(256)
    merge_runs(int64* __restrict__ order, word* __restrict__ to_keys, int* __restrict__ to_places,
               const word* __restrict__ from_keys, const int* __restrict__ from_places, int length, int run,
               long long total) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= total) return;
    const long long start = number / length * length;
    const int i = (int)(number - start), own = i / run;
    const bool second = own % 2;
    const long long other = (long long)(own ^ 1) * run;  // where the other run begins; behind the end there is none
    const word mine = from_keys[number];
    int low = 0, high = (int)(other >= length ? 0 : length - other < run ? length - other : run);
    while (low < high) {  // equal words of the first run come first: their places are before all of the second's
        const int middle = low + (high - low) / 2;
        const word there = from_keys[start + other + middle];
        if (there < mine || (second && there == mine)) low = middle + 1;
        else high = middle;
    }
    const long long at = start + (long long)(own / 2) * 2 * run + (i - own * run) + low;
    if (order) {
        order[at] = from_places[number];
    } else {
        to_keys[at] = mine;
        to_places[at] = from_places[number];
    }
}
