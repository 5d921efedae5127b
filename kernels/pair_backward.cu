// pair_backward.cu: gradients of the two-operand functions whose gradients are not products: powers, maximum, minimum.
//   dy, y and the gradients (n), of the full shape   a, b arrays repeated to it, or null for the numbers beside them
//   power:            da = dy b a^(b-1), 0 where b is 0;   db = dy y log a, 0 where a is 0 and b not negative
//   maximum, minimum: dy to the winner, half to each of equal ones, to both where one is NaN
//   a and its bound:  dy to a where they are equal, to none where one is NaN
// Either gradient of power may be null.
// Launch: one thread per piece of 4 elements, or of 1 (broadcast.cuh).
// Traffic: dy, y and each operand once, each gradient once.
#include "broadcast.cuh"

template <int WIDTH>
__device__ __forceinline__ void power(real* da, real* db, const real* dy, const real* y, const real* a, const real* b,
                                      real a_number, real b_number, const Broadcast<2>& shape, long long piece) {
    long long at[2];
    locate<WIDTH>(shape, piece, at);
    const Vector<real, WIDTH> u = fetch<WIDTH>(a, a_number, at[0], shape.stride[0][AXES - 1]);
    const Vector<real, WIDTH> w = fetch<WIDTH>(b, b_number, at[1], shape.stride[1][AXES - 1]);
    const Vector<real, WIDTH> slope = load<WIDTH>(dy + piece * WIDTH);
    Vector<real, WIDTH> out;
    if (da != nullptr) {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j)
            out.v[j] = w.v[j] == 0 ? real(0) : slope.v[j] * (w.v[j] * pow(u.v[j], w.v[j] - 1));
        store(da + piece * WIDTH, out);
    }
    if (db != nullptr) {
        const Vector<real, WIDTH> p = load<WIDTH>(y + piece * WIDTH);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j)
            out.v[j] = u.v[j] == 0 && w.v[j] >= 0 ? real(0) : slope.v[j] * p.v[j] * log(u.v[j]);
        store(db + piece * WIDTH, out);
    }
}

extern "C" __global__ void power_backward(real* __restrict__ da, real* __restrict__ db, const real* __restrict__ dy,
                                          const real* __restrict__ y, const real* __restrict__ a,
                                          const real* __restrict__ b, real a_number, real b_number,
                                          Broadcast<2> shape, long long pieces) {
    const long long piece = my_piece();
    if (piece >= pieces) return;
    if (shape.wide)
        power<4>(da, db, dy, y, a, b, a_number, b_number, shape, piece);
    else
        power<1>(da, db, dy, y, a, b, a_number, b_number, shape, piece);
}

template <int WIDTH>
__device__ __forceinline__ void winner(real* da, real* db, const real* dy, const real* a, const real* b, real a_number,
                                       real b_number, const Broadcast<2>& shape, int largest, int bounds, long long piece) {
    long long at[2];
    locate<WIDTH>(shape, piece, at);
    const Vector<real, WIDTH> u = fetch<WIDTH>(a, a_number, at[0], shape.stride[0][AXES - 1]);
    const Vector<real, WIDTH> w = fetch<WIDTH>(b, b_number, at[1], shape.stride[1][AXES - 1]);
    Vector<real, WIDTH> left = load<WIDTH>(dy + piece * WIDTH), right;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        const bool equal = u.v[j] == w.v[j], less = u.v[j] < w.v[j], more = w.v[j] < u.v[j];
        const bool won = largest ? more : less, lost = largest ? less : more;
        const real part = equal && !bounds ? real(0.5) * left.v[j] : left.v[j];
        left.v[j] = (bounds ? won || equal : !lost) ? part : real(0);
        right.v[j] = (bounds ? lost : !won) ? part : real(0);
    }
    store(da + piece * WIDTH, left);
    store(db + piece * WIDTH, right);
}

extern "C" __global__ void extremum_pair_backward(real* __restrict__ da, real* __restrict__ db,
                                                  const real* __restrict__ dy, const real* __restrict__ a,
                                                  const real* __restrict__ b, real a_number, real b_number,
                                                  Broadcast<2> shape, int largest, int bounds, long long pieces) {
    const long long piece = my_piece();
    if (piece >= pieces) return;
    if (shape.wide)
        winner<4>(da, db, dy, a, b, a_number, b_number, shape, largest, bounds, piece);
    else
        winner<1>(da, db, dy, a, b, a_number, b_number, shape, largest, bounds, piece);
}
