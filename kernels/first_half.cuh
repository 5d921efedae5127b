// first_half.cuh: what the kernels of 16-bit first layers share (conv2d_first_half.cu, conv2d_first_half_weight.cu): how a filter
// is cut into words, tiles of outputs, and the part of x under one in shared memory.
// Before it is included: VECTORS: x comes in vectors of 8 numbers, else number by number.
//
// A filter row of S * C numbers is contiguous in x, under each output. It is cut into slots of two numbers that are one word of
// shared memory, as tensor cores take them: 147 numbers of a filter of 7 x 7 x 3 become 77 slots. The first number of a row, or
// its last, may be alone in its slot. Such slots come last, and what is left of the last step of 8 slots is no slot.
// Runs of 8 outputs in a row are the rows of products. A warp does several at a time, an item: some side by side, some one below the
// other, so that tiles have whole items. Where a run's outputs begin at odd numbers, every second one reads a copy
// of x that lies one number further on.
#ifndef GPUNN_FIRST_HALF_CUH
#define GPUNN_FIRST_HALF_CUH
#include "half_number.cuh"

enum { EACH = 8, STEP = 8, RUN = 8 };  // numbers of a vector; slots of a step; outputs of a run

struct FirstHalfShape {
    int N, H, W, C, K, R, S, P, Q;
    int stride_h, stride_w, pad_h, pad_w, dilation_h;
    int line, length;           // numbers of a row of x, of a filter row
    int high, wide;             // outputs of a tile
    int rows, pitch;            // of x under it; numbers from row to row
    int copies, apart;          // of x; numbers from one to the next
    int lead, front, full;      // numbers before the first output's; alone in the first slot; whole slots of a filter row
    int plain, steps;           // steps of whole slots; all
    int tiles, tiles_per_block;
    int groups;                 // of COLUMNS filters, of a block
    int across, down, items;    // runs of an item, side by side (1 to 4, or all) and one below the other; items of a tile
    Divisor by_tiles_P, by_tiles_Q, by_items, by_full, by_parts;  // items of a row; vectors or words of x in a row
};

struct Tile {
    int n, p, q;
    __device__ __forceinline__ Tile(const FirstHalfShape& g, int number) {
        q = number;
        number = g.by_tiles_Q.split(q);
        p = number;
        n = g.by_tiles_P.split(p);
        p *= g.high, q *= g.wide;
    }
};

// A slot: its filter row, its first number there, and which of both it has.
struct Slot {
    int row, number;
    unsigned mask;
    __device__ __forceinline__ Slot(const FirstHalfShape& g, int slot) : row(0), number(g.front), mask(0) {
        if (slot < g.R * g.full) {
            number = slot;
            row = g.by_full.split(number);
            number = g.front + 2 * number;
            mask = ~0u;
            return;
        }
        slot -= g.R * g.full;
        if (g.front != 0) {
            if (slot < g.R) {
                row = slot, number = -1, mask = 0xffff0000u;
                return;
            }
            slot -= g.R;
        }
        if ((g.length - g.front) % 2 != 0 && slot < g.R) row = slot, number = g.length - 1, mask = 0xffffu;
    }
    // Bytes from the first output's place in shared memory.
    __device__ __forceinline__ int place(const FirstHalfShape& g) const {
        return (row * g.dilation_h * g.pitch + g.lead + number) * 2;
    }
};

// Starts to bring x under a tile to `patch`, zeros around the image: cp_async_wait before it is read.
__device__ __forceinline__ void take_patch(number* patch, const number* __restrict__ x, const FirstHalfShape& g,
                                           const Tile& tile, int threads) {
    const int top = tile.p * g.stride_h - g.pad_h, first = (tile.q * g.stride_w - g.pad_w) * g.C - g.lead;
    const number* image = x + (size_t)tile.n * g.H * g.line;
    const int parts = g.rows * (int)g.by_parts.value;
#if VECTORS
    for (int i = threadIdx.x; i < parts; i += threads) {
        int at = i;
        const int row = g.by_parts.split(at), h = top + row, from = first + at * EACH;
        const bool inside = (unsigned)h < (unsigned)g.H && (unsigned)from < (unsigned)g.line;
        cp_async_16(patch + row * g.pitch + at * EACH, image + (inside ? (size_t)h * g.line + from : 0), inside ? 16 : 0);
    }
#else
    for (int copy = 0; copy < g.copies; ++copy)
#pragma unroll 2
        for (int i = threadIdx.x; i < parts; i += threads) {
            int at = i;
            const int row = g.by_parts.split(at), h = top + row, from = first + copy + at * 2;
            const bool there = (unsigned)h < (unsigned)g.H;
            const number* of = image + (there ? (size_t)h * g.line : 0);
            const unsigned low = there && (unsigned)from < (unsigned)g.line ? of[from] : 0;
            const unsigned high = there && (unsigned)(from + 1) < (unsigned)g.line ? of[from + 1] : 0;
            *reinterpret_cast<unsigned*>(patch + copy * g.apart + row * g.pitch + at * 2) = high << 16 | low;
        }
#endif
}

__device__ __forceinline__ unsigned word(const char* shared, int at) {
    return *reinterpret_cast<const unsigned*>(shared + at);
}

// Of a block: asked of the warp, so that ptxas knows that its lanes have the same one, and go through a loop together.
__device__ __forceinline__ int number_of_warp() { return __shfl_sync(FULL_MASK, (int)threadIdx.x / WARP, 0); }

// A place that ptxas is not to take apart: what is added to it is the same in all of a warp, and costs no addition then.
__device__ __forceinline__ int settled(int place) {
#ifndef GPUNN_EMULATOR
    asm("" : "+r"(place));
#endif
    return place;
}

// The first run of an item: where in the patch its first output's numbers lie, in bytes; its row and its output of a tile.
struct RunPlace {
    int at, row, column;
};
__device__ __forceinline__ RunPlace run_place(const FirstHalfShape& g, int item) {
    const int row = g.by_items.split(item) * g.down, column = item * g.across * RUN;
    return {(row * g.stride_h * g.pitch + column * g.stride_w * g.C) * 2, row, column};
}
// From an item's first run to another: rows, and bytes. It is as far in all items.
__device__ __forceinline__ int down_of(const FirstHalfShape& g, int run) {
    return g.across == 1 ? run : g.across == 2 ? run / 2 : g.across == 3 ? run / 3 : g.across == 4 ? run / 4 : 0;
}
__device__ __forceinline__ int run_from_first(const FirstHalfShape& g, int run) {
    const int down = down_of(g, run), right = run - down * g.across;
    return (down * g.stride_h * g.pitch + right * RUN * g.stride_w * g.C) * 2;
}
// From a run's first output to another.
__device__ __forceinline__ int output_place(const FirstHalfShape& g, int output) {
    const int at = output * g.stride_w * g.C, copy = g.copies > 1 ? at & 1 : 0;
    return (at - copy + copy * g.apart) * 2;
}

#endif  // GPUNN_FIRST_HALF_CUH
