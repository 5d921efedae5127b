// collectives.cpp: barriers, and what the lanes of a warp do together.
#include <stdlib.h>
#include <string.h>

#include "counts.h"
#include "faults.h"
#include "fibers.h"

namespace gpunn {
namespace {

Exchange* free_exchanges;

Access call_at(int line, const char* file) { return Access{0, 0, Operation::read, 0, line, file}; }

}  // namespace

void release_exchange(Fiber& fiber) {
    Exchange* exchange = fiber.exchange;
    fiber.exchange = nullptr;
    if (!exchange || --exchange->users) return;
    exchange->next_free = free_exchanges;
    free_exchanges = exchange;
}

void abandon_exchanges() { free_exchanges = nullptr; }

}  // namespace gpunn

using namespace gpunn;

EXPORTED int gpunn_emulator_barrier(int operation, int predicate, int line, const char* file) {
    me().predicate = predicate;
    if (state.counting) count_wait(gpunn_emulator_barrier_wait, ~0u, line, file);
    wait_here(Wait::barrier, u32(operation), 0, line, file);
    return block.predicate;
}

// Hands in this lane's part; returns when all lanes of the mask have.
static void meet(u32 operation, u32 mask, const void* operand, u32 bytes, int line, const char* file) {
    Fiber& fiber = me();
    Warp& warp = state.warps[state.thread >> 5];
    const Access access = call_at(line, file);
    if (watch.attention) pause(access);
    require_stack(access);
    if (!(mask & state.lane_bit))
        fail(call_at(line, file), "bad-mask", "%s calls a warp collective whose mask %#x does not name its lane",
             thread_text(~0u, state.thread).data, mask);
    if (state.counting) count_wait(gpunn_emulator_collective, mask, line, file);
    release_exchange(fiber);
    fiber.operation = operation;
    fiber.mask = mask;
    fiber.operand = static_cast<const char*>(operand);
    fiber.bytes = bytes;
    const u32 present = mask & warp.exists, first = state.thread & ~31u;
    warp.waiting |= state.lane_bit;
    bool complete = (warp.waiting & present) == present;
    for (u32 lane = 0; lane < 32 && complete; ++lane) {
        const Fiber& other = block.fibers[first + lane];
        if (present >> lane & 1) complete = other.operation == operation && other.mask == mask && other.bytes == bytes;
    }
    if (!complete) {
        wait_here(Wait::collective, operation, mask, line, file);
        return;
    }
    warp.waiting &= ~present;
    Exchange* exchange = nullptr;
    if (bytes) {
        exchange = free_exchanges;
        if (exchange)
            free_exchanges = exchange->next_free;
        else
            exchange = static_cast<Exchange*>(aligned_alloc(64, (sizeof(Exchange) + 63) / 64 * 64));
        exchange->users = __builtin_popcount(present);
    }
    for (u32 lane = 0; lane < 32; ++lane) {
        if (!(present >> lane & 1)) continue;
        Fiber& other = block.fibers[first + lane];
        other.wait = Wait::nothing;
        other.exchange = exchange;
        if (bytes) memcpy(exchange->operands + lane * bytes, other.operand, bytes);
    }
}

EXPORTED const void* gpunn_emulator_exchange_bytes(unsigned operation, unsigned mask, const void* operand,
                                                   unsigned bytes, int line, const char* file) {
    meet(operation, mask, operand, bytes, line, file);
    return me().exchange->operands;
}

EXPORTED void gpunn_emulator_sync_warp(unsigned mask, int line, const char* file) {
    Warp& warp = state.warps[state.thread >> 5];
    const u32 clock = warp.clock, present = mask & warp.exists, first = state.thread & ~31u;
    meet(sync_warp_operation, mask, nullptr, 0, line, file);
    // The last lane to arrive, which did not wait, orders the lanes for all of them.
    if (warp.clock != clock) return;
    advance_clock(line, file);
    if (present == warp.exists) {
        warp.clock_of_all = warp.clock;
    } else {
        // What one lane of the mask knew of any other, all of them know now.
        u32 known[32] = {};
        for (u32 lane = 0; lane < 32; ++lane)
            for (u32 other = 0; present >> lane & 1 && other < 32; ++other)
                if (known[other] < state.clocks[first + lane][other]) known[other] = state.clocks[first + lane][other];
        for (u32 lane = 0; lane < 32; ++lane)
            if (present >> lane & 1) known[lane] = warp.clock;
        for (u32 lane = 0; lane < 32; ++lane)
            if (present >> lane & 1) memcpy(state.clocks[first + lane], known, sizeof known);
    }
}

EXPORTED void gpunn_emulator_require_lane(unsigned mask, int lane, int line, const char* file) {
    const Warp& warp = state.warps[state.thread >> 5];
    if (lane >= 0 && lane < 32 && mask & warp.exists & 1u << lane) return;
    fail(call_at(line, file), "absent-lane",
         "%s shuffles from lane %d, which takes no part (mask %#x, lanes of the warp %#x): the value is undefined",
         thread_text(~0u, state.thread).data, lane, mask, warp.exists);
}

EXPORTED int gpunn_emulator_lane() { return int(state.thread & 31); }
EXPORTED unsigned gpunn_emulator_lanes() { return state.warps[state.thread >> 5].exists; }
EXPORTED unsigned gpunn_emulator_active_mask() {
    unsigned mask = 0;
    for (u32 lane = 0; lane < 32; ++lane)
        if (gpunn_emulator_lanes() >> lane & 1 &&
            block.fibers[(state.thread & ~31u) + lane].wait != Wait::returned)
            mask |= 1u << lane;
    return mask;
}
EXPORTED void gpunn_emulator_fence(int line, const char* file) { fence(line, file); }

EXPORTED void gpunn_emulator_stop(const char* kind, const char* detail, int line, const char* file) {
    fail(call_at(line, file), kind, "%s in %s", detail, thread_text(~0u, state.thread).data);
}
