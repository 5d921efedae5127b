// counts.h: what a launch that counts is told of (a launch that does not never comes here: state.counting), and what
// the parts of counting share. What is counted, and how: counts.cpp.
#pragma once

#include <unordered_map>

#include "state.h"

namespace gpunn {

void begin_counts();            // at a launch
void begin_block_counts();      // at a block
void count_access(const Region& region, const Access& access);
void count_wait(int kind, u32 mask, int line, const char* file);  // a barrier or a collective, before it is waited for
void settle_counts(u32 warp);   // none of the warp's lanes can run on: what they did is put side by side

namespace counting {

enum : u8 { is_access, is_block, is_comparison, is_wait };

// Something that a lane did.
struct Event {
    u64 address;  // of an access; the mask of a wait
    u32 pc;       // from the start of the module
    u32 place;    // of a block: its number; otherwise: of the source, 0 where the pc tells it
    uint16_t depth;  // calls that it is inside of
    u8 what, count_kind;
    u8 size;
    bool first;  // block of its function's call
    const char* array;
};

struct Lane {
    std::vector<Event> events;
    std::vector<u32> path;  // when they are written down: the block that each call is in
    bool entered;  // a function, whose first block comes next
    // When they are walked:
    struct Call {
        u32 block, branch;
    };
    std::vector<Call> calls;
    size_t next;
};
extern Lane lanes[1024];

// A basic block, as a place in the order and as a branch.
struct Node {
    u32 pc;
    std::vector<u32> successors;
    u32 order;
    u32 comparison;  // the pc of its last one
    u32 target;      // the first that was taken
    bool several;    // targets
    u64 executions, lanes, divergent;
};
extern std::vector<Node> nodes;  // as they were first run, but for 0: where a call came from
extern bool order_is_old;
constexpr u32 none = ~0u;

struct Place {
    int line;
    const char* file;
};
extern std::vector<Place> places;

struct Key {
    u32 pc, place, kind;
    bool operator==(const Key& o) const { return pc == o.pc && place == o.place && kind == o.kind; }
};
struct Hash {
    size_t operator()(const Key& k) const {
        return (u64(k.pc) << 20 ^ u64(k.place) << 8 ^ k.kind) * 0x9e3779b97f4a7c15ull >> 16;
    }
};
extern std::unordered_map<Key, gpunn_emulator_count, Hash> counts;

void order_nodes();      // block_order.cpp
void forget_branches();   // warp_steps.cpp
void abandon_branches();  // likewise

}  // namespace counting
}  // namespace gpunn
