// fibers.h: the threads of the block that runs now, and what each of them waits for.
#pragma once

#include "state.h"
#include "switch.h"

namespace gpunn {

enum class Wait : u8 { nothing, collective, barrier, returned };

// Operands of one warp collective, kept until every lane that took part has come to its next one.
struct Exchange {
    int users;
    Exchange* next_free;
    alignas(16) char operands[32 * 128];
};

struct Fiber {
    Context context;
    u32 index[3];
    Wait wait;
    u32 operation, mask, bytes;  // of the collective or barrier it waits in
    int predicate, line;
    const char *operand, *file;
    Exchange* exchange;  // what it was last given
};

struct Block {
    Fiber fibers[1024];
    u32 threads, warps;
    Context main;
    int predicate;  // what the last barrier came to
    bool failed;
    u64 random;
    u32 warp_order[32], lane_order[32];
};
extern Block block;

constexpr u32 sync_warp_operation = 0;  // beside the numbers that cuda.h gives to its collectives

inline Fiber& me() { return block.fibers[state.thread]; }

// fibers.cpp: leaves the running fiber until somebody sets its `wait` to nothing.
void wait_here(Wait wait, u32 operation, u32 mask, int line, const char* file);
// collectives.cpp: the lane needs the operands no more.
void release_exchange(Fiber& fiber);

}  // namespace gpunn
