// races.cpp: which accesses to a word are ordered.
//
// The rules, for two accesses by different threads of which at least one writes:
//   - a block barrier between them orders them, if both threads are of one block;
//   - a __syncwarp that both lanes took part in orders them, and transitively so;
//   - two atomics need no order;
//   - across blocks, an atomic after a __threadfence hands on what the block did before it (release) to
//     whoever does an atomic on the same word later (acquire): the last_block() pattern.
// Everything else is a race, shuffles and votes included: they move values, not memory.
#include <string.h>

#include <algorithm>
#include <unordered_map>

#include "state.h"

namespace gpunn {
namespace {

// What an atomic handed on: its block's accesses in two ranges of epochs, and its thread's own.
struct Release {
    u32 first, end;              // made visible by a fence that came after a later barrier
    u32 clean_first, clean_end;  // every writer fenced by itself before the next barrier
    u32 own;                     // the epoch of the thread's last fence
};
struct Acquire {
    const std::vector<Release>* releases;
    size_t count;  // as many as there were
    u32 epoch, thread;
};
std::unordered_map<u64, std::vector<Release>> releases;  // by the address of the atomic
std::vector<Acquire> acquires;                           // by this block

// Of this block:
u32 fence_epoch[1024];   // of each thread's last fence
u32 fenced_before;       // some thread fenced after the barrier that began this epoch, and met us since
u32 clean_first, clean_end;
bool fenced_in_epoch, fenced_in_block, fenced_in_launch;

bool acquired(u32 epoch) {
    for (const Acquire& acquire : acquires) {
        // A thread's acquire holds for the others of its block from the next barrier on.
        if (acquire.thread != state.thread && acquire.epoch >= state.now) continue;
        // Blocks run one after another, so the releases are sorted by epoch.
        auto begin = acquire.releases->begin(), end = begin + ptrdiff_t(acquire.count);
        auto after = std::upper_bound(begin, end, epoch, [](u32 e, const Release& r) { return e < r.first; });
        const u32 first = after == begin ? 0 : after[-1].first;  // of the block that made the access
        for (; after != begin && after[-1].first == first; --after) {
            const Release& r = after[-1];
            if (epoch < r.end || epoch == r.own || (epoch >= r.clean_first && epoch < r.clean_end)) return true;
        }
    }
    return false;
}

bool ordered(const Region& region, u64 stamp, u32 lanes) {
    const u32 epoch = epoch_of(stamp);
    if (epoch < state.launch_first) return true;
    if (epoch < state.block_first) return region.kind == Kind::shared || acquired(epoch);
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
                      : "__threadfence and atomic",
         place_text(region, access.address).data);
}

// A reader or atomic of an earlier block, of which only the epoch is kept.
[[noreturn]] void fail_race_before(const Region& region, const Access& access, u32 epoch, const char* did) {
    u32 index[3];
    block_index(block_of(epoch), index);
    fail(access, "race",
         "race on global memory: %s %s what a thread of block (%u,%u,%u) %s with no __threadfence and atomic "
         "between (%s)",
         thread_text(~0u, state.thread).data, verb(access.operation), index[0], index[1], index[2], did,
         place_text(region, access.address).data);
}

void require_after(const Region& region, const Access& access, u64 stamp, u32 lanes, u32 before, const char* did) {
    if (!ordered(region, stamp, lanes)) fail_race(region, access, stamp, lanes, did);
    if (in_earlier_block(before) && !acquired(before)) fail_race_before(region, access, before, did);
}

// Adds the running thread to the last readers, or to the last atomics.
void join(const Region& region, u64& stamp, u32& lanes, u32& before) {
    const u32 epoch = epoch_of(stamp);
    if (region.kind != Kind::shared && in_earlier_block(epoch)) before = epoch;
    if (epoch < state.now || ordered(region, stamp, lanes)) {
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
    require_after(region, access, cell.writer, 0, 0, "wrote");
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

void fence() {
    fenced_in_epoch = fenced_in_block = fenced_in_launch = true;
    fence_epoch[state.thread] = state.now;
    state.unfenced[state.thread] = false;
}

void hand_on(u64 word) {
    if (!fenced_in_launch) return;
    std::vector<Release>& list = releases[word];
    if (!list.empty()) {
        const bool known = !acquires.empty() && acquires.back().releases == &list &&
                           acquires.back().count == list.size() && acquires.back().thread == state.thread;
        if (!known) acquires.push_back(Acquire{&list, list.size(), state.now, state.thread});
    }
    if (!fenced_in_block) return;
    const u32 own = fence_epoch[state.thread];
    const Release release{state.block_first, std::max(fenced_before, own), clean_first, clean_end, own};
    if (list.empty() || memcmp(&list.back(), &release, sizeof release)) list.push_back(release);
}

void forget_releases() {
    releases.clear();
    fenced_in_launch = false;
}

void forget_fences() {
    acquires.clear();
    if (fenced_in_block) memset(fence_epoch, 0, sizeof fence_epoch);
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
