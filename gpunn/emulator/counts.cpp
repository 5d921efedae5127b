// counts.cpp: what the lanes of a warp did together, counted as a GPU's profiler would count it.
//
// Fibers run lane by lane, so first every lane's accesses, basic blocks and waits are written down; when no lane of
// the warp can run on, the lanes' lists are walked again side by side, as a GPU would run them: of the places that
// lanes have come to, the first goes next, with all lanes that are there. "First" is by a weak topological order of
// the basic blocks that were seen (Bourdoncle 1993): every block before those that it leads to, a loop's blocks
// before what comes after the loop. So lanes that took different ways meet again where the ways do, and a lane that
// left a loop waits behind it for the others. A lane in a call goes before those that are not; a collective waits for
// the lanes of its mask.
//
// One step of that walk is one instruction of a warp. Of an access to global memory are counted the 32-byte sectors
// that the lanes' addresses lie in, and the fewest that the same number of bytes would fit in. Of one to shared memory
// the passes: 32 banks of 4 bytes, each of which gives one word a pass to all lanes that want that word; 8 bytes a
// lane are taken by 16 lanes at a time, 16 bytes by 8; the fewest are one for each such group of lanes. A branch
// diverges if lanes that run the same execution of a block go to different ones from there.
//
// Modules for counting are compiled with calls at every basic block and comparison, and so that loads and stores stay
// those of the source (build.py). Not seen: what only a GPU's compiler does (loads that it merges or keeps in
// registers, branches that it turns into predicates), and caches.
#include "counts.h"

#include <algorithm>

#include "faults.h"

namespace gpunn {
namespace counting {

Lane lanes[1024];
std::vector<Node> nodes;
bool order_is_old;
std::vector<Place> places;
std::unordered_map<Key, gpunn_emulator_count, Hash> counts;

namespace {

constexpr u32 most_events = 1u << 18;  // of a lane between two barriers: 256 MB for a warp

std::unordered_map<u32, u32> node_at;
struct Recent {
    u32 pc, node;
} recent_nodes[1024];  // of node_at, by a hash of the pc
std::vector<gpunn_emulator_count> rows;  // as they are handed out

Lane& mine() { return lanes[state.thread]; }
u32 offset_of(u64 pc) { return u32(pc - state.module_base); }

void write_down(const Event& event, const Access& access) {
    Lane& lane = mine();
    if (lane.events.size() == most_events)
        fail(access, "limit", "%s does more than %u accesses, branches and collectives between two barriers: too many "
             "to count; use fewer elements or blocks", thread_text(~0u, state.thread).data, most_events);
    lane.events.push_back(event);
}

u32 place_of(int line, const char* file) {
    for (u32 i = u32(places.size()); i-- > 1;)
        if (places[i].line == line && places[i].file == file) return i;
    places.push_back({line, file});
    return u32(places.size()) - 1;
}

Event event_at(u8 what, int kind, u64 pc, int line, const char* file) {
    Lane& lane = mine();
    Event event{};
    event.what = what;
    event.count_kind = u8(kind);
    event.depth = uint16_t(std::min<size_t>(lane.path.size(), 0xffff));
    event.pc = pc ? offset_of(pc) : 0;
    if (file) event.place = place_of(line, file);
    return event;
}

void come_to(u32 node) {
    Lane& lane = mine();
    const bool first = lane.entered || lane.path.empty();
    if (lane.path.empty()) lane.path.push_back(0);
    if (!first) {
        std::vector<u32>& known = nodes[lane.path.back()].successors;
        if (std::find(known.begin(), known.end(), node) == known.end()) {
            known.push_back(node);
            order_is_old = true;
        }
    }
    lane.path.back() = node;
    lane.entered = false;
    Event event = event_at(is_block, 0, nodes[node].pc + state.module_base, 0, nullptr);
    event.place = node;
    event.first = first;
    write_down(event, Access{0, 0, Operation::read, nodes[node].pc + state.module_base, 0, nullptr});
}

}  // namespace
}  // namespace counting

using namespace counting;

void begin_counts() {
    for (Lane& lane : lanes) {
        lane.events.clear();
        if (lane.events.capacity() > most_events / 64) lane.events.shrink_to_fit();
    }
    nodes.assign(1, Node{});
    node_at.clear();
    for (Recent& recent : recent_nodes) recent = {};
    counts.clear();
    places.assign(1, Place{});
    order_is_old = true;
}

void abandon_counts() {
    for (Lane& lane : lanes) new (&lane) Lane();
    new (&nodes) std::vector<Node>();
    new (&places) std::vector<Place>();
    new (&counts) std::unordered_map<Key, gpunn_emulator_count, Hash>();
    new (&node_at) std::unordered_map<u32, u32>();
    new (&rows) std::vector<gpunn_emulator_count>();
    abandon_branches();
}

void begin_block_counts() {
    forget_branches();
    for (Lane& lane : lanes) {
        lane.events.clear();
        lane.path.clear();
        lane.calls.clear();
        lane.next = 0;
        lane.entered = false;
    }
}

void count_access(const Region& region, const Access& access) {
    if (region.kind == Kind::stack || region.kind == Kind::constants || !access.size) return;
    const bool shared = region.kind == Kind::shared;
    const int first = shared ? gpunn_emulator_shared_load : gpunn_emulator_global_load;
    Event event = event_at(is_access, first + int(access.operation), access.pc, access.line, access.file);
    event.array = region.name;
    // An array begins at a sector on a GPU; where NumPy puts it, it is a multiple of 16 bytes.
    const u64 aside = shared ? 0 : region.low & 16;
    // An instruction moves 16 bytes of a lane at most.
    for (u32 done = 0; done < access.size; done += event.size) {
        event.address = access.address + done - aside;
        event.size = u8(std::min(16u, access.size - done));
        write_down(event, access);
    }
}

void count_wait(int kind, u32 mask, int line, const char* file) {
    Event event = event_at(is_wait, kind, 0, line, file);
    event.address = mask;
    write_down(event, Access{0, 0, Operation::read, 0, line, file});
}

}  // namespace gpunn

using namespace gpunn;

#define PC u64(__builtin_return_address(0))

// What is written down takes memory, and so a lock of the C library.
static void begin_writing(u64 pc) {
    const Access access{0, 0, Operation::read, pc, 0, nullptr};
    if (watch.attention) pause(access);
    require_stack(access);
}

static void compared(u64 pc) {
    if (!state.counting) return;
    begin_writing(pc);
    write_down(event_at(is_comparison, 0, pc, 0, nullptr), Access{0, 0, Operation::read, pc, 0, nullptr});
}

// What g++ -fsanitize-coverage=trace-pc,trace-cmp calls.
EXPORTED void __sanitizer_cov_trace_pc() {
    if (!state.counting) return;
    begin_writing(PC);
    const u32 pc = offset_of(PC);
    Recent& recent = recent_nodes[(pc ^ pc >> 10) % 1024];
    if (recent.pc != pc) {
        const auto found = node_at.emplace(pc, u32(nodes.size()));
        if (found.second) {
            nodes.push_back(Node{});
            nodes.back().pc = pc;
            nodes.back().target = none;
            order_is_old = true;
        }
        recent = {pc, found.first->second};
    }
    come_to(recent.node);
}
EXPORTED void __sanitizer_cov_trace_cmp1(u8, u8) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_cmp2(uint16_t, uint16_t) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_cmp4(u32, u32) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_cmp8(u64, u64) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_const_cmp1(u8, u8) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_const_cmp2(uint16_t, uint16_t) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_const_cmp4(u32, u32) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_const_cmp8(u64, u64) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_cmpf(float, float) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_cmpd(double, double) { compared(PC); }
EXPORTED void __sanitizer_cov_trace_switch(u64, void*) { compared(PC); }

EXPORTED void __tsan_func_entry(void*) {
    if (!state.counting) return;
    begin_writing(PC);
    mine().path.push_back(0);
    mine().entered = true;
}
EXPORTED void __tsan_func_exit() {
    if (!state.counting) return;
    if (!mine().path.empty()) mine().path.pop_back();
    mine().entered = false;
}

EXPORTED uint64_t gpunn_emulator_counts(const gpunn_emulator_count** found) {
    rows.clear();
    for (const auto& entry : counts) rows.push_back(entry.second);
    for (const Node& node : nodes) {
        if (!node.several) continue;
        gpunn_emulator_count row{};
        row.kind = gpunn_emulator_branch;
        row.offset = node.comparison ? node.comparison : node.pc;
        row.executions = node.executions;
        row.lanes = node.lanes;
        row.asked = node.divergent;
        rows.push_back(row);
    }
    *found = rows.data();
    return rows.size();
}
