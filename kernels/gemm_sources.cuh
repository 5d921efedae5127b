// gemm_sources.cuh: the Sources of gemm_tile.cuh, which includes it, that are plain matrices, or the gradient before a ReLU.
#ifndef GPUNN_GEMM_SOURCES_CUH
#define GPUNN_GEMM_SOURCES_CUH

// data[i][k], k contiguous.
struct MatrixRows {
    typedef const real* Row;
    typedef Load Held;
    const real* data;
    int rows, stride, k, moved;
    __device__ __forceinline__ MatrixRows(const real* d, int n, int s) : data(d), rows(n), stride(s), k(0) {}
    __device__ __forceinline__ Row row(int i) const { return data + (size_t)min(i, rows - 1) * stride; }
    __device__ __forceinline__ void seek(int to) { moved = to - k, k = to; }
    __device__ __forceinline__ void advance() { moved = BK; }
    __device__ __forceinline__ void move(Row& row) const { row += moved; }
    __device__ __forceinline__ Load read(const Row& row) const { return load<VEC>(row); }
    __device__ __forceinline__ Load value(const Held& held) const { return held; }
};

// One of a thread's vectors along C: how far from its first, and whether it is one of the matrix.
struct Column {
    int offset;
    bool inside;
};

// data[k][i], i contiguous.
struct MatrixColumns {
    typedef ::Column Column;
    typedef Load Held;
    const real* at;  // k and this thread's first column
    int columns, stride, k;
    __device__ __forceinline__ MatrixColumns(const real* data, int n, int s) : at(data), columns(n), stride(s), k(0) {}
    __device__ __forceinline__ Column column(int i, int l) {
        if (l == 0) at += i;
        return {l, i + l < columns};
    }
    __device__ __forceinline__ void seek(int to) {
        at += (ptrdiff_t)(to - k) * stride;
        k = to;
    }
    __device__ __forceinline__ void advance() { at += (size_t)BK * stride; }
    __device__ __forceinline__ void read(Held& held, const Column& column) const {
        if (column.inside) held = load<VEC>(at + column.offset);
    }
    __device__ __forceinline__ Load value(const Held& held, const Column&) const { return held; }
};

// The gradient dz before a ReLU: dy, and 0 where the ReLU's output y was not positive. Without RELU: dy as it is.
template <bool RELU>
struct OutputGradient {
    struct Held {
        Load dy, y;
    };
    const real *dy, *y;
    __device__ __forceinline__ void read(Held& held, int offset) const {
        held.dy = load<VEC>(dy + offset);
        if (RELU) held.y = load<VEC>(y + offset);
    }
    __device__ __forceinline__ Load value(const Held& held) const {
        Load d = held.dy;
        if (RELU) {
#pragma unroll
            for (int j = 0; j < VEC; ++j) d.v[j] = held.y.v[j] <= 0 ? real(0) : d.v[j];
        }
        return d;
    }
    __device__ __forceinline__ void move(ptrdiff_t by) {
        dy += by;
        if (RELU) y += by;
    }
};

// dz[k][i], i contiguous. What was made of dy is left in dz, unless that is null.
template <bool RELU>
struct GradientColumns {
    struct Column {
        int offset;
        bool inside, left;
    };
    typedef typename OutputGradient<RELU>::Held Held;
    OutputGradient<RELU> at;  // k and this thread's first column
    real* dz;
    int columns, stride, k;
    bool leaves;
    __device__ __forceinline__ GradientColumns(const OutputGradient<RELU>& of, real* gated, int n, int s)
        : at(of), dz(gated), columns(n), stride(s), k(0), leaves(RELU && gated != nullptr) {}
    __device__ __forceinline__ Column column(int i, int l) {
        if (l == 0) move(i);
        return {l, i + l < columns, i + l < columns && leaves};
    }
    __device__ __forceinline__ void move(ptrdiff_t by) {
        at.move(by);
        if (RELU) dz += by;
    }
    __device__ __forceinline__ void seek(int to) {
        move((ptrdiff_t)(to - k) * stride);
        k = to;
    }
    __device__ __forceinline__ void advance() { move((ptrdiff_t)BK * stride); }
    __device__ __forceinline__ void read(Held& held, const Column& column) const {
        if (column.inside) at.read(held, column.offset);
    }
    __device__ __forceinline__ Load value(const Held& held, const Column& column) const {
        Load d = at.value(held);
        if (RELU) {
            settle(d);
            if (column.left) store(dz + column.offset, d);
        }
        return d;
    }
};

// dz[i][k], k contiguous.
template <bool RELU>
struct GradientRows {
    typedef OutputGradient<RELU> Row;
    typedef typename Row::Held Held;
    OutputGradient<RELU> gradient;
    int rows, stride, k, moved;
    __device__ __forceinline__ GradientRows(const OutputGradient<RELU>& of, int n, int s)
        : gradient(of), rows(n), stride(s), k(0) {}
    __device__ __forceinline__ Row row(int i) const {
        Row row = gradient;
        row.move((ptrdiff_t)min(i, rows - 1) * stride);
        return row;
    }
    __device__ __forceinline__ void seek(int to) { moved = to - k, k = to; }
    __device__ __forceinline__ void advance() { moved = BK; }
    __device__ __forceinline__ void move(Row& row) const { row.move(moved); }
    __device__ __forceinline__ Held read(const Row& row) const {
        Held held;
        row.read(held, 0);
        return held;
    }
    __device__ __forceinline__ Load value(const Held& held) const { return gradient.value(held); }
};

#endif  // GPUNN_GEMM_SOURCES_CUH
