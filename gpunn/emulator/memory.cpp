// memory.cpp: which memory a launch may touch, and the shadow that remembers who did.
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>

#include "counts.h"
#include "faults.h"

extern "C" const gpunn::u32 gpunn_emulator_thread[3], gpunn_emulator_block[3], gpunn_emulator_block_shape[3],
    gpunn_emulator_grid_shape[3];

namespace gpunn {
namespace {

// Shadow cells for all regions of a launch. Not cleared: old stamps are recognised by their epoch.
struct Arena {
    Cell *words, *bytes;
    u64 capacity, used;  // in words
} arena;

constexpr u64 kept_words = 1 << 22;  // beyond this (16 MB of outputs) the shadow is given back at the next launch

alignas(128) char dynamic_shared[256 << 10];

u64 words_of(u64 low, u64 size) { return ((low + size + 3) >> 2) - (low >> 2); }

// Pages of zeros, which take no memory until they are touched, and none is set aside: a launch on arrays of many
// gigabytes that touches a few of their elements needs little.
Cell* new_cells(u64 count) {
    void* cells = mmap(nullptr, count * sizeof(Cell), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return cells == MAP_FAILED ? nullptr : static_cast<Cell*>(cells);
}

bool reserve_arena(u64 words) {
    arena.used = 0;
    // Epochs never wrap within a launch: a launch of a billion barriers would take hours.
    const bool wraps = state.now > 3u << 30;
    if (words <= arena.capacity && arena.capacity <= kept_words && !wraps) return true;
    if (arena.capacity) {
        munmap(arena.words, arena.capacity * sizeof(Cell));
        munmap(arena.bytes, arena.capacity * 4 * sizeof(Cell));
    }
    if (wraps) state.now = 0;
    arena.capacity = std::max(words + words / 4, u64(1) << 16);
    arena.words = new_cells(arena.capacity);
    arena.bytes = new_cells(arena.capacity * 4);
    if (arena.words && arena.bytes) return true;
    if (arena.words) munmap(arena.words, arena.capacity * sizeof(Cell));
    if (arena.bytes) munmap(arena.bytes, arena.capacity * 4 * sizeof(Cell));
    arena = Arena{};
    return false;
}

void add_region(u64 low, u64 size, Kind kind, u32 item_bytes, const char* name) {
    Region region{};
    region.low = low;
    region.size = size;
    for (int i = 0; i < 5; ++i) region.room[i] = size >= 1u << i ? size - (1u << i) + 1 : 0;
    region.kind = kind;
    region.item_bytes = item_bytes;
    region.name = name;
    region.floor = kind == Kind::output && !state.request->blocks ? state.launch_first : 0;
    region.older = u64(state.launch_first) << 32;
    if (kind == Kind::output || kind == Kind::inout || kind == Kind::shared) {
        region.words = arena.words + arena.used;
        region.bytes = arena.bytes + arena.used * 4;
        arena.used += words_of(low, size);
    }
    state.regions.push_back(region);
}

void split_word(const Region& region, u64 address) {
    Cell& word = region.word(address);
    Cell* bytes = &region.byte(address & ~u64(3));
    for (int i = 0; i < 4; ++i) bytes[i] = word;
    word = Cell{};
    word.writer = split;
    word.reader_before = state.launch_first;
}

void set_guard(const Region& region, u64 from, u64 to) {
    for (u64 address = from; address < to;) {
        Cell& word = region.word(address);
        const bool whole = address % 4 == 0 && address + 4 <= to;
        if (!whole && (word.writer != split || word.reader_before != state.launch_first)) {
            word = Cell{};
            split_word(region, address);
        }
        Cell& cell = whole ? word : region.byte(address);
        cell = Cell{};
        cell.writer = guard;
        cell.reader_before = state.launch_first;
        address += whole ? 4 : 1;
    }
}

// Everything in the section of the __shared__ arrays that is not in an array is a guard zone.
void guard_shared(const Region& region) {
    const gpunn_emulator_module_info& module = *state.request->module;
    std::vector<gpunn_emulator_array> arrays(module.arrays_start, module.arrays_stop);
    std::sort(arrays.begin(), arrays.end(), [](const gpunn_emulator_array& a, const gpunn_emulator_array& b) {
        return a.address < b.address;
    });
    u64 from = region.low;
    for (const gpunn_emulator_array& array : arrays) {
        set_guard(region, from, u64(array.address));
        from = u64(array.address) + array.bytes;
    }
    set_guard(region, from, region.low + region.size);
}

struct Range {
    u64 inside, base, low, high, code_low, code_end;
};

// The addresses that the loaded module covers, which it keeps to read constants from.
Range module_range() {
    Range range{u64(state.request->module), 0, 0, 0, 0, 0};
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* data) {
            Range& r = *static_cast<Range*>(data);
            u64 low = ~u64(0), high = 0, code_low = ~u64(0), code_end = 0;
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
                const u64 start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                low = std::min(low, start);
                high = std::max(high, start + info->dlpi_phdr[i].p_memsz);
                if (!(info->dlpi_phdr[i].p_flags & PF_X)) continue;
                code_low = std::min(code_low, start);
                code_end = std::max(code_end, start + info->dlpi_phdr[i].p_memsz);
            }
            if (r.inside < low || r.inside >= high) return 0;
            r.base = info->dlpi_addr;
            r.low = low;
            r.high = high;
            r.code_low = code_low;
            r.code_end = code_end;
            return 1;
        },
        &range);
    return range;
}

void check_word(const Region& region, u64 first, u64 last, const Access& access) {  // bytes, inclusive
    Cell& word = region.word(first);
    if (word.writer >= copying && word.reader_before != state.launch_first) word = Cell{};  // of an older launch
    if (word.writer == guard) fail_outside(access);
    if (word.writer == copying) fail_undelivered(region, access);
    const bool whole = last - first == 3;
    if (whole && word.writer != split) return check_cell(region, word, access);
    if (word.writer != split) split_word(region, first);
    for (u64 address = first; address <= last; ++address) {
        Cell& cell = region.byte(address);
        if (cell.writer == guard) fail_outside(access);
        check_cell(region, cell, access);
    }
    if (whole && access.operation == Operation::write) word = region.byte(first);
}

}  // namespace

Region& find(const Access& access) {
    const u64 end = access.address + access.size;
    Region* region = &state.stack;
    if (access.address < state.stack.low || end > state.stack.low + state.stack.size) {
        auto after = std::upper_bound(state.regions.begin(), state.regions.end(), access.address,
                                      [](u64 address, const Region& r) { return address < r.low; });
        if (after == state.regions.begin()) fail_outside(access);
        region = &after[-1];
        if (access.address - region->low >= region->size || end > region->low + region->size) fail_outside(access);
    }
    // Otherwise the next access would be decided without coming here.
    if (!state.counting) state.recent[(access.pc ^ access.pc >> 9) % recent_regions] = region;
    return *region;
}

void check(Region& region, const Access& access) {
    if (region.kind == Kind::stack) return;
    if (access.operation != Operation::read && (region.kind == Kind::input || region.kind == Kind::constants))
        fail(access, "write-to-input", "write to read-only memory: %s %s %s", thread_text(~0u, state.thread).data,
             verb(access.operation), place_text(region, access.address).data);
    if (!region.words) return;
    if (access.operation != Operation::read && region.kind != Kind::shared) keep_source(region, access);
    const u64 end = access.address + access.size;
    for (u64 address = access.address; address < end;) {
        const u64 last = std::min(address | 3, end - 1);
        check_word(region, address, last, access);
        address = last + 1;
    }
    if (access.operation == Operation::atomic && region.kind != Kind::shared) hand_on(access.address);
}

const char* begin_launch() {
    const gpunn_emulator_request& request = *state.request;
    const gpunn_emulator_module_info& module = *request.module;
    const u64 shared_low = u64(module.shared_start), shared_size = u64(module.shared_stop) - shared_low;
    u64 words = words_of(shared_low, shared_size) + words_of(u64(dynamic_shared), request.shared_bytes);
    for (u32 i = 0; i < request.buffer_count; ++i)
        if (request.buffers[i].access != gpunn_emulator_in)
            words += words_of(request.buffers[i].address, request.buffers[i].bytes);
    if (!reserve_arena(words)) return "no memory for what is remembered of the arrays' elements";

    state.launch_first = ++state.now;
    state.block_starts.clear();
    forget_releases();
    forget_copies();
    state.counting = request.counting;
    if (state.counting) begin_counts();
    state.regions.clear();
    state.shared.clear();
    state.stack.kind = Kind::stack;
    for (u64& room : state.stack.room) room = state.stack.size - 16;
    for (Region*& region : state.recent) region = &state.nothing;

    for (u32 i = 0; i < request.buffer_count; ++i) {
        const gpunn_emulator_buffer& buffer = request.buffers[i];
        const Kind kind = buffer.access == gpunn_emulator_in    ? Kind::input
                          : buffer.access == gpunn_emulator_out ? Kind::output
                                                                : Kind::inout;
        add_region(buffer.address, buffer.bytes, kind, buffer.item_bytes, buffer.name);
        // NaN in every floating-point type, so that what a kernel forgets to write shows.
        if (kind == Kind::output && !request.blocks && !fill(reinterpret_cast<void*>(buffer.address), 0xff, buffer.bytes))
            return "an array cannot be written to: is it a mapped file that has become shorter?";
    }
    const Range range = module_range();
    state.module_base = range.base;
    state.code_low = range.code_low;
    state.code_end = range.code_end;
    add_region(range.low, shared_size ? shared_low - range.low : range.high - range.low, Kind::constants, 1,
               "the module's constants");
    if (shared_size) {
        add_region(shared_low, shared_size, Kind::shared, 1, nullptr);
        guard_shared(state.regions.back());
        const u64 rest = shared_low + shared_size;
        add_region(rest, range.high - rest, Kind::constants, 1, "the module's constants");
    }
    add_region(u64(dynamic_shared), request.shared_bytes, Kind::shared, 1, "dynamic shared memory");
    for (const u32* variable : {gpunn_emulator_thread, gpunn_emulator_block, gpunn_emulator_block_shape,
                                gpunn_emulator_grid_shape})
        add_region(u64(variable), 3 * sizeof(u32), Kind::constants, 4, "a built-in variable");
    std::sort(state.regions.begin(), state.regions.end(),
              [](const Region& a, const Region& b) { return a.low < b.low; });
    for (Region& region : state.regions)
        if (region.kind == Kind::shared) state.shared.push_back(&region);
    return nullptr;
}

void abandon_memory() {
    arena = Arena{};
    new (&state.regions) std::vector<Region>();
    new (&state.shared) std::vector<Region*>();
    new (&state.block_starts) std::vector<State::BlockStart>();
}

void begin_block(u32 block) {
    begin_epoch();
    state.block_first = state.now;
    state.block_starts.push_back({state.now, block});
    for (Region* region : state.shared) {
        region->floor = state.now;
        memset(reinterpret_cast<void*>(region->low), 0xff, region->size);
    }
    for (u32 warp = 0; warp < 32; ++warp) {
        Warp& w = state.warps[warp];
        if (w.clock) memset(state.clocks[warp * 32], 0, sizeof state.clocks[0] * 32);
        w.waiting = w.clock = w.clock_of_all = 0;
    }
    forget_fences();
    if (state.counting) begin_block_counts();
}

void begin_epoch() {
    ++state.now;
    for (Region* region : state.shared) region->older = u64(state.now) << 32;
}

}  // namespace gpunn

EXPORTED void* gpunn_emulator_dynamic_shared() {
    return gpunn::dynamic_shared;
}
