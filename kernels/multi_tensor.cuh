// multi_tensor.cuh: one launch over many tensors. A table of pointers travels with the launch; each block takes one
// chunk of one tensor, finds out which, and applies a rule to its elements. Tensors are of type stored: the rule of 16-bit ones
// computes in float.
//
// What an optimiser adds is its rule: a struct with `update(real (&x)[ARRAYS])`, x being one element of each array.
#ifndef GPUNN_MULTI_TENSOR_CUH
#define GPUNN_MULTI_TENSOR_CUH
#include "stored.cuh"

#define BLOCK 256
#define CHUNK (BLOCK * 16)
#define TABLE_BYTES 3880  // a launch has 4 KB for its parameters; a kernel's own need some

template <int ARRAYS>
struct TensorRow {
    stored* array[ARRAYS];  // null: this tensor has none
    long long n;
    int first_chunk;  // where this tensor's chunks begin in the grid
    int flag;         // what a rule wants to know of this tensor
};

template <int ARRAYS>
struct TensorTable {
    TensorRow<ARRAYS> row[(TABLE_BYTES - 8) / sizeof(TensorRow<ARRAYS>)];
    int count, form;  // form: what a rule wants to know of all tensors

    // The last tensor whose first chunk is not after `chunk`.
    __device__ __forceinline__ int tensor_of(int chunk) const {
        int low = 0, high = count - 1;
        while (low < high) {
            const int middle = (low + high + 1) / 2;
            if (row[middle].first_chunk <= chunk)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }
};

// Applies the rule to this block's chunk of a tensor. READS and WRITES have a bit for each array; those not read are 0.
template <unsigned READS, unsigned WRITES, int ARRAYS, class Rule>
__device__ __forceinline__ void for_each_element(const TensorRow<ARRAYS>& row, Rule& rule) {
    stored* array[ARRAYS];
#pragma unroll
    for (int k = 0; k < ARRAYS; ++k) array[k] = row.array[k];
    const long long start = (long long)(blockIdx.x - row.first_chunk) * CHUNK;
    const long long end = min(row.n, start + CHUNK);
    for (long long i = start + threadIdx.x * VEC; i < end; i += BLOCK * VEC) {
        if (i + VEC <= end) {
            Vector<real, VEC> v[ARRAYS];
#pragma unroll
            for (int k = 0; k < ARRAYS; ++k) {
                v[k] = Vector<real, VEC>{};
                if ((READS >> k & 1) && array[k] != nullptr) v[k] = load<VEC>(array[k] + i);
            }
#pragma unroll
            for (int j = 0; j < VEC; ++j) {
                real x[ARRAYS];
#pragma unroll
                for (int k = 0; k < ARRAYS; ++k) x[k] = v[k].v[j];
                rule.update(x);
#pragma unroll
                for (int k = 0; k < ARRAYS; ++k) v[k].v[j] = x[k];
            }
#pragma unroll
            for (int k = 0; k < ARRAYS; ++k)
                if ((WRITES >> k & 1) && array[k] != nullptr) store(array[k] + i, v[k]);
        } else {
            for (long long e = i; e < end; ++e) {
                real x[ARRAYS];
#pragma unroll
                for (int k = 0; k < ARRAYS; ++k) x[k] = (READS >> k & 1) && array[k] != nullptr ? real(array[k][e]) : real(0);
                rule.update(x);
#pragma unroll
                for (int k = 0; k < ARRAYS; ++k)
                    if ((WRITES >> k & 1) && array[k] != nullptr) array[k][e] = x[k];
            }
        }
    }
}

#endif  // GPUNN_MULTI_TENSOR_CUH
