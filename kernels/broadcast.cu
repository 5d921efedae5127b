// broadcast.cu: y = a op b and the comparisons, with operands repeated to y's shape.
//   y (real) or answer (bool, a byte each), of the full shape   a, b arrays, or null for the numbers beside them
//   broadcast_update: target = target op b
// Launch: one thread per piece of 4 elements, or of 1 (broadcast.cuh). Traffic: each operand once, y once.
// real is also int, int64 and uint8 (bool too, where 1 and 0 are the only values).
#include "broadcast.cuh"

// The order is that of gpunn/gpu/broadcast.py.
enum { ADD, SUB, MUL, DIV, POW, FLOORDIV, REMAINDER, MAXIMUM, MINIMUM, AND, OR, XOR, LEFT };
enum { EQ = 16, NE, LT, LE, GT, GE };  // comparisons

template <class T>
__device__ __forceinline__ T power(T base, T exponent) {
    if constexpr (FLOATING<T>) {
        return pow(base, exponent);
    } else {  // exponents of whole numbers are not negative
        T result = 1;
        for (; exponent > 0; exponent >>= 1) {
            if (exponent & 1) result *= base;
            base *= base;
        }
        return result;
    }
}

// Rounded down; whole numbers divided by 0 give 0, as in NumPy.
template <class T>
__device__ __forceinline__ T floor_quotient(T a, T b) {
    if constexpr (FLOATING<T>) {
        if (b == 0) return a / b;
        const T rest = fmod(a, b);
        T quotient = (a - rest) / b;
        if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
        const T whole = floor(quotient);
        return quotient - whole > T(0.5) ? whole + 1 : whole;  // the division above may have rounded
    } else {
        if (b == 0) return 0;
        if (T(-1) < 0 && b == T(-1)) return T(0) - a;  // the quotient of the least number would trap
        return a / b - (a % b != 0 && (a < 0) != (b < 0));
    }
}

// With b's sign.
template <class T>
__device__ __forceinline__ T remainder_of(T a, T b) {
    if constexpr (FLOATING<T>) {
        const T rest = fmod(a, b);
        return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
    } else {
        if (b == 0 || (T(-1) < 0 && b == T(-1))) return 0;
        const T rest = a % b;
        return rest != 0 && (a < 0) != (b < 0) ? rest + b : rest;
    }
}

template <class T>
__device__ __forceinline__ T bits(int op, T a, T b) {
    if constexpr (FLOATING<T>) {
        return a;
    } else {
        return op == AND ? a & b : op == OR ? a | b : a ^ b;
    }
}

template <int WIDTH, class F>
__device__ __forceinline__ void each(Vector<real, WIDTH>& u, const Vector<real, WIDTH>& w, F f) {
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) u.v[j] = f(u.v[j], w.v[j]);
}

template <int WIDTH>
__device__ __forceinline__ void calculate(int op, Vector<real, WIDTH>& u, const Vector<real, WIDTH>& w) {
    switch (op) {
        case ADD: each(u, w, [](real a, real b) -> real { return a + b; }); break;
        case SUB: each(u, w, [](real a, real b) -> real { return a - b; }); break;
        case MUL: each(u, w, [](real a, real b) -> real { return a * b; }); break;
        case DIV: each(u, w, [](real a, real b) -> real { return b == 0 && !FLOATING<real> ? real(0) : a / b; }); break;
        case POW: each(u, w, [](real a, real b) -> real { return power(a, b); }); break;
        case FLOORDIV: each(u, w, [](real a, real b) -> real { return floor_quotient(a, b); }); break;
        case REMAINDER: each(u, w, [](real a, real b) -> real { return remainder_of(a, b); }); break;
        // NaN wins: a comparison with it is false.
        case MAXIMUM: each(u, w, [](real a, real b) -> real { return a >= b || a != a ? a : b; }); break;
        case MINIMUM: each(u, w, [](real a, real b) -> real { return a <= b || a != a ? a : b; }); break;
        case LEFT: break;
        default: each(u, w, [op](real a, real b) -> real { return bits(op, a, b); }); break;
    }
}

__device__ __forceinline__ bool compare(int op, real a, real b) {
    switch (op) {
        case EQ: return a == b;
        case NE: return a != b;
        case LT: return a < b;
        case LE: return a <= b;
        case GT: return a > b;
        default: return a >= b;
    }
}

template <int WIDTH>
__device__ __forceinline__ void binary(real* y, unsigned char* answer, const real* a, const real* b, real a_number,
                                       real b_number, const Broadcast<2>& shape, int op, long long piece) {
    long long at[2];
    locate<WIDTH>(shape, piece, at);
    Vector<real, WIDTH> u = fetch<WIDTH>(a, a_number, at[0], shape.stride[0][AXES - 1]);
    const Vector<real, WIDTH> w = fetch<WIDTH>(b, b_number, at[1], shape.stride[1][AXES - 1]);
    if (answer != nullptr) {
        Vector<unsigned char, WIDTH> said;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) said.v[j] = compare(op, u.v[j], w.v[j]);
        store(answer + piece * WIDTH, said);
    } else {
        calculate(op, u, w);
        store(y + piece * WIDTH, u);
    }
}

extern "C" __global__ void broadcast_binary(real* __restrict__ y, unsigned char* __restrict__ answer,
                                            const real* __restrict__ a, const real* __restrict__ b, real a_number,
                                            real b_number, Broadcast<2> shape, int op, long long pieces) {
    const long long piece = my_piece();
    if (piece >= pieces) return;
    if (shape.wide)
        binary<4>(y, answer, a, b, a_number, b_number, shape, op, piece);
    else
        binary<1>(y, answer, a, b, a_number, b_number, shape, op, piece);
}

template <int WIDTH>
__device__ __forceinline__ void update(real* target, const real* b, real number, const Broadcast<1>& shape, int op,
                                       long long piece) {
    long long at[1];
    locate<WIDTH>(shape, piece, at);
    Vector<real, WIDTH> u = load<WIDTH>(target + piece * WIDTH);
    calculate(op, u, fetch<WIDTH>(b, number, at[0], shape.stride[0][AXES - 1]));
    store(target + piece * WIDTH, u);
}

extern "C" __global__ void broadcast_update(INOUT real* __restrict__ target, const real* __restrict__ b, real number,
                                            Broadcast<1> shape, int op, long long pieces) {
    const long long piece = my_piece();
    if (piece >= pieces) return;
    if (shape.wide)
        update<4>(target, b, number, shape, op, piece);
    else
        update<1>(target, b, number, shape, op, piece);
}
