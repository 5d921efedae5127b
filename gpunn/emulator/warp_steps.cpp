// warp_steps.cpp: the lanes' lists of what they did, walked side by side, one instruction of the warp at a time.
#include <algorithm>

#include "counts.h"

namespace gpunn {
namespace counting {
namespace {

// A block that some lanes have run together and have not all left yet.
struct Branch {
    u32 node, target, lanes, comparison, users;
    bool divergent;
};
std::vector<Branch> branches;
std::vector<u32> free_branches;

struct Bytes {
    u64 from, to;
};

// How many bytes, each counted once; sorts them.
u64 distinct(Bytes* some, u32 n) {
    std::sort(some, some + n, [](const Bytes& a, const Bytes& b) { return a.from < b.from; });
    u64 total = 0, end = 0;
    for (u32 i = 0; i < n; ++i) {
        total += some[i].to > std::max(end, some[i].from) ? some[i].to - std::max(end, some[i].from) : 0;
        end = std::max(end, some[i].to);
    }
    return total;
}

void count_sectors(gpunn_emulator_count& count, Bytes* some, u32 n) {
    count.least += (distinct(some, n) + 31) / 32;
    u64 next = 0;  // sector that has not been counted
    for (u32 i = 0; i < n; ++i) {
        const u64 first = std::max(next, some[i].from >> 5), last = (some[i].to - 1) >> 5;
        if (last + 1 > first) count.asked += last + 1 - first;
        next = std::max(next, last + 1);
    }
}

void count_passes(gpunn_emulator_count& count, const u64* address, const u32* size, u32 active) {
    u32 widest = 0;
    for (u32 lane = 0; lane < 32; ++lane)
        if (active >> lane & 1) widest = std::max(widest, size[lane]);
    const u32 together = widest > 8 ? 8 : widest > 4 ? 16 : 32;
    for (u32 from = 0; from < 32; from += together) {
        u64 words[64];
        u32 n = 0, in_bank[32] = {}, passes = 0;
        for (u32 lane = from; lane < from + together; ++lane) {
            if (!(active >> lane & 1)) continue;
            for (u64 word = address[lane] >> 2; word <= (address[lane] + size[lane] - 1) >> 2; ++word)
                if (std::find(words, words + n, word) == words + n) {
                    words[n++] = word;
                    passes = std::max(passes, ++in_bank[word & 31]);
                }
        }
        count.asked += passes;
        count.least += n != 0;
    }
}

void leave(u32 id, u32 to) {
    Branch& branch = branches[id];
    Node& node = nodes[branch.node];
    if (branch.target == none) {
        branch.target = to;
        if (node.target == none) node.target = to;
        ++node.executions;
        node.lanes += branch.lanes;
        if (branch.comparison) node.comparison = branch.comparison;
    } else if (branch.target != to && !branch.divergent) {
        branch.divergent = true;
        ++node.divergent;
    }
    if (node.target != to) node.several = true;
    if (!--branch.users) free_branches.push_back(id);
}

u32 new_branch(u32 node, u32 users) {
    u32 id = u32(branches.size());
    if (free_branches.empty()) {
        branches.emplace_back();
    } else {
        id = free_branches.back();
        free_branches.pop_back();
    }
    branches[id] = Branch{node, none, users, 0, users, false};
    return id;
}

// Lets the lanes of `active` in the warp do their next event, which is the same for all of them.
void step(u32 first, u32 active) {
    const u32 n = u32(__builtin_popcount(active));
    const Lane& leader = lanes[first + u32(__builtin_ctz(active))];
    const Event event = leader.events[leader.next];
    Bytes bytes[32];
    u64 address[32];
    u32 size[32], used = 0, branch = none;
    if (event.what == is_block) branch = new_branch(event.place, n);
    for (u32 i = 0; i < 32; ++i) {
        if (!(active >> i & 1)) continue;
        Lane& lane = lanes[first + i];
        const Event& own = lane.events[lane.next++];
        if (own.what == is_access) {
            address[i] = own.address;
            size[i] = own.size;
            bytes[used++] = Bytes{own.address, own.address + own.size};
        }
        if (own.depth < lane.calls.size()) {  // returned from calls
            for (size_t d = own.depth; d < lane.calls.size(); ++d) leave(lane.calls[d].branch, 0);
            lane.calls.resize(own.depth);
        }
        if (own.what == is_comparison && !lane.calls.empty()) branches[lane.calls.back().branch].comparison = own.pc;
        if (own.what != is_block) continue;
        if (lane.calls.size() < own.depth) {
            lane.calls.push_back({own.place, branch});
        } else {
            leave(lane.calls.back().branch, own.first ? 0 : own.place);
            lane.calls.back() = {own.place, branch};
        }
    }
    if (event.what == is_block || event.what == is_comparison) return;
    gpunn_emulator_count& count = counts[Key{event.pc, event.place, event.count_kind}];
    if (!count.executions) {
        count.kind = event.count_kind;
        count.offset = event.place ? 0 : event.pc;
        count.line = places[event.place].line;
        count.file = places[event.place].file;
        count.array = event.array;
    }
    ++count.executions;
    count.lanes += n;
    if (event.what != is_access) return;
    if (event.count_kind < gpunn_emulator_shared_load)
        count_sectors(count, bytes, used);
    else
        count_passes(count, address, size, active);
}

// Where a lane is: the smallest goes first.
struct Position {
    u32 depth, order, pc, place, kind, waits_for;
    bool operator<(const Position& o) const {
        if (depth != o.depth) return depth > o.depth;
        if (order != o.order) return order < o.order;
        if (pc != o.pc) return pc < o.pc;
        if (place != o.place) return place < o.place;
        return kind < o.kind;
    }
};

Position position_of(const Lane& lane) {
    const Event& event = lane.events[lane.next];
    u32 node = event.place;
    if (event.what != is_block) {
        const size_t calls = std::min<size_t>(event.depth, lane.calls.size());
        node = calls ? lane.calls[calls - 1].block : 0;
    }
    return Position{event.depth, nodes[node].order, event.pc, event.what == is_block ? 0 : event.place,
                    u32(event.what) << 8 | event.count_kind, event.what == is_wait ? u32(event.address) : 0};
}

}  // namespace

void forget_branches() {
    branches.clear();
    free_branches.clear();
}

void abandon_branches() {
    new (&branches) std::vector<Branch>();
    new (&free_branches) std::vector<u32>();
}

}  // namespace counting

using namespace counting;

void settle_counts(u32 warp) {
    if (order_is_old) order_nodes();
    const u32 first = warp * 32, exists = state.warps[warp].exists;
    u32 left = 0, waiting = 0;  // lanes that have something to do, and those of them for which it is a wait
    Position positions[32];
    for (u32 moved = exists;;) {
        for (; moved; moved &= moved - 1) {
            const u32 i = u32(__builtin_ctz(moved)), bit = 1u << i;
            const Lane& lane = lanes[first + i];
            left &= ~bit;
            waiting &= ~bit;
            if (lane.next == lane.events.size()) continue;
            left |= bit;
            positions[i] = position_of(lane);
            if (positions[i].waits_for) waiting |= bit;
        }
        if (!left) break;
        u32 free = left & ~waiting;
        for (u32 some = waiting; some; some &= some - 1) {
            const u32 i = u32(__builtin_ctz(some));
            if ((positions[i].waits_for & left & ~waiting) == 0) free |= 1u << i;
        }
        if (!free) free = left;  // lanes of two collectives that name each other, which is a finding elsewhere
        u32 best = u32(__builtin_ctz(free)), active = 0;
        for (u32 some = free; some; some &= some - 1) {
            const u32 i = u32(__builtin_ctz(some));
            if (positions[i] < positions[best]) {
                best = i;
                active = 1u << i;
            } else if (!(positions[best] < positions[i])) {
                active |= 1u << i;
            }
        }
        step(first, active);
        moved = active;
    }
    for (u32 i = 0; i < 32; ++i) {
        if (!(exists >> i & 1)) continue;
        lanes[first + i].events.clear();
        lanes[first + i].next = 0;
    }
}

}  // namespace gpunn
