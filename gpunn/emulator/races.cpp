// races.cpp: which accesses to a word are ordered.
//
// The rules, for two accesses by different threads of which at least one writes:
//   - a block barrier between them orders them, if both threads are of one block;
//   - a __syncwarp that both lanes took part in orders them, and transitively so;
//   - two atomics need no order;
//   - across blocks, an atomic after a __threadfence hands on what the block did before the fence (release) to
//     whoever does an atomic on the same word later, and then a __threadfence (acquire): the last_block() pattern.
// Everything else is a race, shuffles and votes included: they move values, not memory.
#include <string.h>

#include <algorithm>
#include <unordered_map>

#include "faults.h"
#include "state.h"

namespace gpunn {
namespace {

// The last fence of a thread, and what came before it in the same epoch: a lane's accesses that are older
// than `known`, which counts as a stamp's clock does.
struct Fence {
    u32 epoch, thread;
    u32 known[32];
};
// What an atomic handed on: its block's accesses in two ranges of epochs, and those before its thread's fence.
struct Release {
    u32 first, end;              // made visible by a fence that came after a later barrier
    u32 clean_first, clean_end;  // every writer fenced by itself before the next barrier
    Fence own;
};
struct Acquire {
    const std::vector<Release>* releases;
    size_t count;  // as many as there were
    bool fenced;
    u32 epoch, clock, thread;  // of the fence
};
std::unordered_map<u64, std::vector<Release>> releases;  // by the address of the atomic
std::vector<Acquire> acquires;                           // by this block

// Of this block:
Fence fences[1024];      // of each thread; epoch 0 if it had none
size_t unfenced_acquires;
u32 fenced_before;       // some thread fenced after the barrier that began this epoch, and met us since
u32 clean_first, clean_end;
bool fenced_in_epoch, fenced_in_block, fenced_in_launch;

// Of a write, `stamp` says whose it was; of others only the epoch counts.
bool released(const Release& r, u64 stamp, bool write) {
    const u32 epoch = epoch_of(stamp);
    if (epoch < r.end || (epoch >= r.clean_first && epoch < r.clean_end)) return true;
    if (epoch != r.own.epoch) return false;
    const u32 thread = thread_of(stamp);
    return !write || (thread >> 5 == r.own.thread >> 5 && clock_of(stamp) < r.own.known[thread & 31]);
}

// A thread's acquire holds for others of its block from the barrier or __syncwarp on where they met.
bool holds(const Acquire& acquire) {
    if (!acquire.fenced) return false;
    if (acquire.thread == state.thread || acquire.epoch < state.now) return true;
    if (acquire.thread >> 5 != state.thread >> 5) return false;
    const u32 met = state.clocks[state.thread][acquire.thread & 31];
    return std::max(met, state.warps[state.thread >> 5].clock_of_all) > acquire.clock;
}

bool acquired(u64 stamp, bool write) {
    for (const Acquire& acquire : acquires) {
        if (!holds(acquire)) continue;
        // Blocks run one after another, so the releases are sorted by epoch.
        auto begin = acquire.releases->begin(), end = begin + ptrdiff_t(acquire.count);
        auto after = std::upper_bound(begin, end, epoch_of(stamp), [](u32 e, const Release& r) { return e < r.first; });
        const u32 first = after == begin ? 0 : after[-1].first;  // of the block that made the access
        for (; after != begin && after[-1].first == first; --after)
            if (released(after[-1], stamp, write)) return true;
    }
    return false;
}

bool ordered(const Region& region, u64 stamp, u32 lanes, bool write) {
    const u32 epoch = epoch_of(stamp);
    if (epoch < state.launch_first) return true;
    if (epoch < state.block_first) return region.kind == Kind::shared || acquired(stamp, write);
    if (epoch < state.now) return true;
    if (stamp & warps_flag) return false;
    const u32 thread = thread_of(stamp);
    if (!(stamp & lanes_flag)) {
        if (thread == state.thread) return true;
        lanes = 1u << (thread & 31);
    }
    if (thread >> 5 != state.thread >> 5) return false;
    const u32 clock = clock_of(stamp);
    if (state.warps[thread >> 5].clock_of_all > clock) return true;
    for (lanes &= ~state.lane_bit; lanes; lanes &= lanes - 1)
        if (state.clocks[state.thread][__builtin_ctz(lanes)] <= clock) return false;
    return true;
}

bool in_earlier_block(u32 epoch) { return epoch >= state.launch_first && epoch < state.block_first; }

[[noreturn]] void fail_race(const Region& region, const Access& access, u64 stamp, u32 lanes, const char* did) {
    u32 thread = thread_of(stamp);
    if (stamp & warps_flag) thread = lanes;
    if (stamp & lanes_flag) {
        const u32 others = lanes & ~state.lane_bit;
        thread = (thread & ~31u) + u32(__builtin_ctz(others ? others : lanes));
    }
    const bool same_block = epoch_of(stamp) >= state.block_first;
    const bool same_warp = same_block && thread >> 5 == state.thread >> 5;
    fail(access, "race", "race on %s memory: %s %s what %s %s with no %s between (%s)",
         region.kind == Kind::shared ? "shared" : "global", thread_text(~0u, state.thread).data,
         verb(access.operation), thread_text(block_of(epoch_of(stamp)), thread).data, did,
         same_warp    ? "barrier or __syncwarp"
         : same_block ? "barrier"
                      : "__threadfence, atomic, __threadfence",
         place_text(region, access.address).data);
}

// A reader or atomic of an earlier block, of which only the epoch is kept.
[[noreturn]] void fail_race_before(const Region& region, const Access& access, u32 epoch, const char* did) {
    u32 index[3];
    block_index(block_of(epoch), index);
    fail(access, "race",
         "race on global memory: %s %s what a thread of block (%u,%u,%u) %s with no __threadfence, atomic, "
         "__threadfence between (%s)",
         thread_text(~0u, state.thread).data, verb(access.operation), index[0], index[1], index[2], did,
         place_text(region, access.address).data);
}

void require_after_write(const Region& region, const Access& access, u64 stamp) {
    if (!ordered(region, stamp, 0, true)) fail_race(region, access, stamp, 0, "wrote");
}

void require_after(const Region& region, const Access& access, u64 stamp, u32 lanes, u32 before, const char* did) {
    if (!ordered(region, stamp, lanes, false)) fail_race(region, access, stamp, lanes, did);
    if (in_earlier_block(before) && !acquired(u64(before) << 32, false)) fail_race_before(region, access, before, did);
}

// Adds the running thread to the last readers, or to the last atomics.
void join(const Region& region, u64& stamp, u32& lanes, u32& before) {
    const u32 epoch = epoch_of(stamp);
    if (region.kind != Kind::shared && in_earlier_block(epoch)) before = epoch;
    if (epoch < state.now || ordered(region, stamp, lanes, false)) {
        stamp = state.me;  // whoever comes after this access comes after the older ones too
    } else if (stamp & warps_flag) {
        return;
    } else if (thread_of(stamp) >> 5 == state.thread >> 5) {
        lanes = (stamp & lanes_flag ? lanes : 1u << (stamp & 31)) | state.lane_bit;
        stamp = state.me_lanes;
    } else {
        lanes = thread_of(stamp);
        stamp = state.several;
    }
}

}  // namespace

void check_cell(const Region& region, Cell& cell, const Access& access) {
    if (access.operation != Operation::write && epoch_of(cell.writer) < region.floor)
        fail(access, "unwritten-read",
             "read of unwritten memory: %s reads %s, which nobody has written in this %s so far (no write, or no "
             "barrier after it)",
             thread_text(~0u, state.thread).data, place_text(region, access.address).data,
             region.kind == Kind::shared ? "block" : "launch");
    require_after_write(region, access, cell.writer);
    if (access.operation != Operation::atomic)
        require_after(region, access, cell.atomic, cell.atomic_lanes, cell.atomic_before, "changed atomically");
    if (access.operation == Operation::read) {
        join(region, cell.reader, cell.reader_lanes, cell.reader_before);
        return;
    }
    require_after(region, access, cell.reader, cell.reader_lanes, cell.reader_before, "read");
    if (access.operation == Operation::atomic) {
        join(region, cell.atomic, cell.atomic_lanes, cell.atomic_before);
        return;
    }
    // Whoever comes after this write comes after all that it came after.
    cell = Cell{};
    cell.writer = state.me;
    if (region.kind != Kind::shared) state.unfenced[state.thread] = true;
}

void fence(int line, const char* file) {
    fenced_in_epoch = fenced_in_block = fenced_in_launch = true;
    state.unfenced[state.thread] = false;
    Fence& fence = fences[state.thread];
    const Warp& warp = state.warps[state.thread >> 5];
    fence.epoch = state.now;
    fence.thread = state.thread;
    memcpy(fence.known, state.clocks[state.thread], sizeof fence.known);
    for (u32& clock : fence.known) clock = std::max(clock, warp.clock_of_all);
    // What the thread does from here on gets another stamp.
    advance_clock(line, file);
    fence.known[state.thread & 31] = warp.clock;
    if (!unfenced_acquires) return;
    for (Acquire& acquire : acquires) {
        if (acquire.fenced || acquire.thread != state.thread) continue;
        acquire.fenced = true;
        acquire.epoch = state.now;
        acquire.clock = warp.clock;
        --unfenced_acquires;
    }
}

void hand_on(u64 word) {
    if (!fenced_in_launch) return;
    std::vector<Release>& list = releases[word];
    if (!list.empty()) {
        const bool known = !acquires.empty() && acquires.back().releases == &list &&
                           acquires.back().count == list.size() && acquires.back().thread == state.thread;
        if (!known) {
            acquires.push_back(Acquire{&list, list.size(), false, 0, 0, state.thread});
            ++unfenced_acquires;
        }
    }
    if (!fenced_in_block) return;
    const Fence& own = fences[state.thread];
    const Release release{state.block_first, std::max(fenced_before, own.epoch), clean_first, clean_end, own};
    if (list.empty() || memcmp(&list.back(), &release, sizeof release)) list.push_back(release);
}

void forget_releases() {
    releases.clear();
    fenced_in_launch = false;
}

void abandon_releases() {
    new (&releases) std::unordered_map<u64, std::vector<Release>>();
    new (&acquires) std::vector<Acquire>();
}

void forget_fences() {
    acquires.clear();
    unfenced_acquires = 0;
    if (fenced_in_block) memset(fences, 0, sizeof fences);
    memset(state.unfenced, 0, sizeof state.unfenced);
    fenced_before = clean_first = clean_end = 0;
    fenced_in_epoch = fenced_in_block = false;
}

void settle_fences() {
    if (!memchr(state.unfenced, true, sizeof state.unfenced)) {
        if (clean_end != state.now) clean_first = state.now;
        clean_end = state.now + 1;
    } else {
        memset(state.unfenced, 0, sizeof state.unfenced);
    }
    if (fenced_in_epoch) fenced_before = state.now;
    fenced_in_epoch = false;
}

}  // namespace gpunn
