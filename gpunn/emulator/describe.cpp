// describe.cpp: words for what the checks found. Runs only when a launch has failed.
#include <cxxabi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "state.h"

extern "C" const gpunn::u32 gpunn_emulator_block[3];

namespace gpunn {
namespace {

void split_index(u32 linear, const u32 shape[3], u32 index[3]) {
    index[0] = linear % shape[0];
    index[1] = linear / shape[0] % shape[1];
    index[2] = linear / shape[0] / shape[1];
}

// "kernel(float*)::tile" is what the demangler makes of the name; "tile" is what the source says.
Text array_name(const char* mangled) {
    Text text;
    int status = 0;
    char* name = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
    const char* whole = status == 0 ? name : mangled;
    const char* last = whole;
    for (const char* at = whole; (at = strstr(at, "::")); at += 2) last = at + 2;
    snprintf(text.data, sizeof text.data, "%s", last);
    free(name);
    return text;
}

struct Place {
    u64 low, size;
    u32 item_bytes;
    Text name;
};

Place place_of(const Region& region) {
    Place place{region.low, region.size, region.item_bytes, {}};
    snprintf(place.name.data, sizeof place.name.data, "%s", region.name && *region.name ? region.name : "an array");
    return place;
}

Place place_of(const gpunn_emulator_array& array) {
    return Place{u64(array.address), array.bytes, 1, array_name(array.name)};
}

u64 distance(u64 low, u64 size, u64 address) {
    return address < low ? low - address : address >= low + size ? address - (low + size) + 1 : 0;
}

// The array that `address` most likely was meant for.
bool nearest(u64 address, Place& best) {
    u64 least = ~u64(0);
    for (const Region& region : state.regions) {
        if (region.kind == Kind::constants || (region.kind == Kind::shared && !region.name)) continue;
        const u64 away = distance(region.low, region.size, address);
        if (away >= least) continue;
        least = away;
        best = place_of(region);
    }
    const gpunn_emulator_module_info& module = *state.request->module;
    for (const gpunn_emulator_array* array = module.arrays_start; array < module.arrays_stop; ++array) {
        const u64 away = distance(u64(array->address), array->bytes, address);
        if (away >= least) continue;
        least = away;
        best = place_of(*array);
    }
    return least != ~u64(0);
}

}  // namespace

void block_index(u32 linear, u32 index[3]) { split_index(linear, state.request->grid, index); }
void thread_index(u32 linear, u32 index[3]) { split_index(linear, state.request->block, index); }

u32 block_of(u32 epoch) {
    auto after = std::upper_bound(state.block_starts.begin(), state.block_starts.end(), epoch,
                                  [](u32 e, const State::BlockStart& start) { return e < start.epoch; });
    return after == state.block_starts.begin() ? 0 : after[-1].block;
}

Text thread_text(u32 block, u32 thread) {
    u32 t[3], b[3];
    thread_index(thread, t);
    memcpy(b, gpunn_emulator_block, sizeof b);
    if (block != ~0u) block_index(block, b);
    Text text;
    snprintf(text.data, sizeof text.data, "thread (%u,%u,%u) of block (%u,%u,%u)", t[0], t[1], t[2], b[0], b[1], b[2]);
    return text;
}

const char* verb(Operation operation) {
    return operation == Operation::read ? "reads" : operation == Operation::write ? "writes" : "atomically changes";
}

Text place_text(const Region& region, u64 address) {
    Place place = place_of(region);
    if (region.kind == Kind::shared && !region.name) {
        const gpunn_emulator_module_info& module = *state.request->module;
        for (const gpunn_emulator_array* array = module.arrays_start; array < module.arrays_stop; ++array)
            if (!distance(u64(array->address), array->bytes, address)) place = place_of(*array);
    }
    const u64 offset = address - place.low;
    Text text;
    const int room = 200;
    if (place.item_bytes > 1)
        snprintf(text.data, sizeof text.data, "%.*s, element %llu", room, place.name.data,
                 (unsigned long long)(offset / place.item_bytes));
    else
        snprintf(text.data, sizeof text.data, "%.*s, byte %llu", room, place.name.data, (unsigned long long)offset);
    return text;
}

void fail_outside(const Access& access) {
    const Text who = thread_text(~0u, state.thread);
    const u64 address = access.address;
    if (address >= state.stacks_low && address < state.stacks_high)
        fail(access, "out-of-bounds", "out of bounds: %s %s %u bytes of another thread's local variables", who.data,
             verb(access.operation), access.size);
    if (address < 1 << 20)
        fail(access, "out-of-bounds", "out of bounds: %s %s %u bytes through a null pointer (address %#llx)", who.data,
             verb(access.operation), access.size, (unsigned long long)address);
    Place place{};
    if (!nearest(address, place))
        fail(access, "out-of-bounds", "out of bounds: %s %s %u bytes at %#llx, and no array is there", who.data,
             verb(access.operation), access.size, (unsigned long long)address);
    const u64 end = place.low + place.size;
    const char* side = address < place.low ? "before the start" : "past the end";
    const u64 away = address < place.low ? place.low - address
                     : address < end     ? address + access.size - end
                                         : address - end;
    fail(access, "out-of-bounds", "out of bounds: %s %s %u bytes, %llu bytes %s of %s (%llu bytes)%s", who.data,
         verb(access.operation), access.size, (unsigned long long)away, side, place.name.data,
         (unsigned long long)place.size, address >= place.low && address < end ? ", across its end" : "");
}

}  // namespace gpunn
