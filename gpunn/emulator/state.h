// state.h: what the parts of the runtime share: who runs now, and what is known of each memory word.
//
// Time is counted in epochs: a 32-bit number that grows at every block barrier, at every block's start
// and at every launch's, and is never set back. As blocks run one after another, an epoch also says which
// block it belongs to. An access is remembered as a stamp, one 64-bit number:
//
//   bits 32-63  epoch
//   bits 13-31  clock: how many __syncwarp and __threadfence the warp had completed in this block
//   bit  12     "several warps": bits 0-9 are 0
//   bit  11     "several lanes": of one warp, whose first thread is in bits 0-9; the lanes are beside it
//   bits  0-9   the thread's linear index in its block
//
// A stamp whose epoch lies before the launch (or, for shared memory, before the block) means nothing any
// more, so that the shadow of a megabyte is forgotten by adding one to a counter.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "runtime.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace gpunn {

using u8 = unsigned char;
using u32 = uint32_t;
using u64 = uint64_t;

constexpr u64 lanes_flag = 1 << 11, warps_flag = 1 << 12;
constexpr int clock_shift = 13;
constexpr u32 clock_limit = 1u << 19;

inline u32 epoch_of(u64 stamp) { return u32(stamp >> 32); }
inline u32 thread_of(u64 stamp) { return stamp & 1023; }
inline u32 clock_of(u64 stamp) { return u32(stamp) >> clock_shift; }

// What is known of four bytes (or, once anyone has touched less than the four, of one byte).
struct Cell {
    u64 writer;          // the last plain write
    u64 reader, atomic;  // the last plain read and the last atomic since then, or the set of unordered last ones
    // The lanes where the stamp says "several lanes", one of the threads where it says "several warps".
    u32 reader_lanes, atomic_lanes;
    u32 reader_before, atomic_before;  // the epoch of one such access in an earlier block of this launch
};

// Values of Cell::writer that are no stamp; valid if reader_before is this launch's first epoch.
constexpr u64 split = ~u64(0);        // look at the byte cells
constexpr u64 guard = ~u64(0) - 1;    // belongs to no array
constexpr u64 copying = ~u64(0) - 2;  // an asynchronous copy to it is in flight; the smallest of the three

enum class Kind : u8 { input, output, inout, shared, constants, stack };

struct Region {
    u64 low, size;
    u64 room[5];  // for accesses of 1, 2, 4, 8, 16 bytes: the offset must be smaller than this
    Cell* words;  // null where there is nothing to remember
    Cell* bytes;  // four times as many
    u64 older;    // stamps below this are ordered before everything now running
    u32 floor;    // a writer's epoch below this means unwritten; 0 where all is initialised
    Kind kind;
    u32 item_bytes;
    const char* name;

    Cell& word(u64 address) const { return words[(address >> 2) - (low >> 2)]; }
    Cell& byte(u64 address) const { return bytes[address - (low & ~u64(3))]; }
};

enum class Operation : u8 { read, write, atomic };

// One access, as a message needs it.
struct Access {
    u64 address;
    u32 size;
    Operation operation;
    u64 pc;     // or, where the kernel told it, the place in the source:
    int line;
    const char* file;
};

struct Warp {
    u32 exists;         // lanes, a bit each
    u32 waiting;        // in a warp collective
    u32 clock;          // __syncwarp and __threadfence completed in this block
    u32 clock_of_all;   // the last __syncwarp that all lanes took part in
};

constexpr int recent_regions = 512;

struct State {
    // Of the thread that runs now:
    u64 me;           // its stamp
    u64 me_lanes;     // the stamp of its warp with lanes_flag
    u64 several;      // epoch and warps_flag
    u32 now;          // epoch
    u32 block_first, launch_first;  // epochs
    u32 thread, lane_bit;
    bool unfenced[1024];  // threads that wrote global memory in this epoch and have not fenced since
    Region* recent[recent_regions];  // by a hash of the instruction's address: it mostly stays with one

    Region stack, nothing;
    std::vector<Region> regions;  // sorted by address; all but the stack
    std::vector<Region*> shared;  // those of them that are shared memory
    Warp warps[32];
    u32 clocks[1024][32];  // [thread][lane]: the last __syncwarp that ordered that lane before the thread
    const gpunn_emulator_request* request;
    gpunn_emulator_finding* finding;
    struct BlockStart { u32 epoch, block; };
    std::vector<BlockStart> block_starts;
    u64 stacks_low, stacks_high;
    u64 module_base;  // where the kernels' library was loaded
    u64 code_low, code_end;  // its instructions
    bool counting;    // counts.h
};
extern State state;

// fibers.cpp
// Notes a finding and leaves the launch. From within a fiber it does not return.
[[noreturn]] void fail(const Access& access, const char* kind, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
void refresh_stamp();  // after the thread, the epoch or the warp's clock changed
void advance_clock(int line, const char* file);  // of the running thread's warp

// memory.cpp
const char* begin_launch();  // null, or why not
void begin_block(u32 block);
void begin_epoch();
Region& find(const Access& access);
void check(Region& region, const Access& access);

// races.cpp
void check_cell(const Region& region, Cell& cell, const Access& access);
void fence(int line, const char* file);
void hand_on(u64 word);  // an atomic on global memory
void forget_releases();  // at a launch
void forget_fences();    // at a block
void settle_fences();    // at a barrier, when all threads have arrived and the epoch still is the old one

// copies.cpp
void forget_copies();         // at a launch
void require_no_copies();     // when a thread returns
void keep_source(const Region& region, const Access& access);  // before a write to global memory
[[noreturn]] void fail_undelivered(const Region& region, const Access& access);

// describe.cpp: words for messages
struct Text {
    char data[256];
};
Text thread_text(u32 block, u32 thread);
Text place_text(const Region& region, u64 address);
[[noreturn]] void fail_outside(const Access& access);
const char* verb(Operation operation);
void block_index(u32 linear, u32 index[3]);
void thread_index(u32 linear, u32 index[3]);
u32 block_of(u32 epoch);

}  // namespace gpunn
