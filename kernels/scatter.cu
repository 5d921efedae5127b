// scatter.cu: the gradients of gather.cu, where an element of x may have been picked several times: the sum of what came
// back from all its copies, always in the same order, without atomics.
//   sum_chunks, join_chunks: dx[place + target(r)] = sum over all i with places[i] = place of dy[i row + source(r)],
//     r from 0 to rest - 1. `order` (sort.cu) has equal places side by side. A chunk of CHUNK of them is summed by one
//     thread for each r; places that go beyond a chunk leave a part in head (of one from before) or tail (of one that
//     begins here), which join_chunks adds up. dx must be zero before.
//   head, tail (chunks, rest)   order (n)
//   gather_backward: dx[i, s, k] = sum over j with index[i, j, k] = s of dy[i, j, k]: each element of dx looks at all L
//     indices of its line.
// Launch: sum_chunks, join_chunks: one thread for each r of each chunk, r fastest; gather_backward: one per element of
// dx; 256 a block.
// Traffic: sum_chunks dy once, dx once where places do not come often; gather_backward: dx once, index dx / L times L
// (out of the cache): dx.size L comparisons.
#include "common.cuh"

#define MAX_RANK 6
#define CHUNK 32

struct RestAxis {
    Divisor length;
    long long source, target;  // elements, in dy and dx
};
struct Rest {
    Divisor size;
    int rank;
    RestAxis axis[MAX_RANK];
    long long row, scale;  // elements of dy from one index to the next; of dx from one place to the next
};

struct RestPlace {
    long long source, target;
};

__device__ __forceinline__ RestPlace rest_place(const Rest& rest, int r) {
    RestPlace at = {0, 0};
    for (int a = rest.rank - 1; a >= 0; --a) {
        int here = r;
        r = rest.axis[a].length.split(here);
        at.source += here * rest.axis[a].source;
        at.target += here * rest.axis[a].target;
    }
    return at;
}

extern "C" __global__ void sum_chunks(INOUT real* __restrict__ dx, real* __restrict__ head,
                                      real* __restrict__ tail, const real* __restrict__ dy,
                                      const long long* __restrict__ places, const long long* __restrict__ order, Rest rest,
                                      int n, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int r = (int)number;
    const int chunk = rest.size.split(r);
    const RestPlace at = rest_place(rest, r);
    const int first = chunk * CHUNK, last = min(n, first + CHUNK);
    long long place = places[order[first]];
    bool from_before = first > 0 && places[order[first - 1]] == place;
    real sum = 0;
    for (int i = first; i < last; ++i) {
        const long long from = order[i];
        const long long next = places[from];
        if (next != place) {
            if (from_before)
                head[number] = sum;
            else
                dx[rest.scale * place + at.target] = sum;
            place = next;
            from_before = false;
            sum = 0;
        }
        sum += dy[rest.row * from + at.source];
    }
    if (from_before)
        head[number] = sum;
    else if (last < n && places[order[last]] == place)
        tail[number] = sum;
    else
        dx[rest.scale * place + at.target] = sum;
}

extern "C" __global__ void join_chunks(INOUT real* __restrict__ dx, const real* __restrict__ head,
                                       const real* __restrict__ tail, const long long* __restrict__ places,
                                       const long long* __restrict__ order, Rest rest, int n, int threads) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= threads) return;
    int r = (int)number;
    const int chunk = rest.size.split(r);
    long long next = (long long)(chunk + 1) * CHUNK;
    if (next >= n) return;
    const long long place = places[order[next - 1]];
    if (places[order[next]] != place) return;                                // it ends here
    const int first = chunk * CHUNK;
    if (first > 0 && places[order[first - 1]] == place) return;              // it began before
    real sum = tail[number];
    for (int c = chunk + 1; next < n && places[order[next]] == place; ++c, next += CHUNK)
        sum += head[(long long)c * rest.size.value + r];
    dx[rest.scale * place + rest_place(rest, r).target] = sum;
}

struct LineAxis {
    Divisor length;    // of dx
    int limit;         // of the index; beyond it nothing was picked
    long long stride;  // in index and dy
};
struct Lines {
    int rank, axis_of_index;
    LineAxis axis[MAX_RANK];
    int length;  // L
    long long stride;
};

extern "C" __global__ void gather_backward(real* __restrict__ dx, const real* __restrict__ dy,
                                           const long long* __restrict__ index, Lines lines, int n) {
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= n) return;
    int i = (int)number, mine = 0;
    long long at = 0;
    bool inside = true;
    for (int a = lines.rank - 1; a >= 0; --a) {
        int here = i;
        i = lines.axis[a].length.split(here);
        if (a == lines.axis_of_index) {
            mine = here;
        } else {
            inside = inside && here < lines.axis[a].limit;
            at += here * lines.axis[a].stride;
        }
    }
    real sum = 0;
    if (inside)
        for (int j = 0; j < lines.length; ++j, at += lines.stride)
            if (index[at] == mine) sum += dy[at];
    dx[number] = sum;
}
