// copies.cpp: asynchronous copies from global to shared memory (cp.async), which arrive as late as they may.
//
// A copy does nothing until its thread waits for its group; on a GPU it may arrive at any time before.
// So between the two, nobody may touch the destination, nor write to the source: the destination's shadow
// cells say "copying", and a write to global memory looks through the copies that read from it.
// To the race detector a copy is a read of the source and a write of the destination by its thread,
// both when it starts and when it is waited for; others need a barrier after the wait.
#include <string.h>

#include <algorithm>
#include <vector>

#include "counts.h"
#include "faults.h"

namespace gpunn {
namespace {

struct Copy {
    u64 to, from;
    Region *destination, *source;  // source: null if nothing is read
    u32 group, bytes, valid;
    int line;
    const char* file;

    bool reads_from(u64 low, u64 high) const { return source && from < high && low < from + valid; }
    bool writes_to(u64 low, u64 high) const { return to < high && low < to + bytes; }
    // What is only read in this launch needs no watching.
    bool watched() const { return source && source->words; }
};

struct Queue {
    std::vector<Copy> copies;  // the oldest first
    u32 closed;                // groups
};
Queue queues[1024];  // one for each thread of the block
u32 in_flight, watched;

// The first copy that `wanted` is true of, and whose it is.
template <class Predicate>
const Copy* find_copy(Predicate wanted, u32& thread) {
    for (thread = 0; thread < 1024; ++thread)
        for (const Copy& copy : queues[thread].copies)
            if (wanted(copy)) return &copy;
    return nullptr;
}

const char* base_name(const char* file) {
    const char* slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

void require_aligned(const Access& access, const char* what) {
    if (access.address % access.size)
        fail(access, "misaligned", "misaligned asynchronous copy: the %s of %s's %u bytes is no multiple of %u", what,
             thread_text(~0u, state.thread).data, access.size, access.size);
}

Region& find_shared(const Access& access, const char* what) {
    Region& region = find(access);
    if (region.kind == Kind::constants) fail_outside(access);  // which lie around the __shared__ arrays
    if (region.kind != Kind::shared)
        fail(access, "address-space", "%s of %s must be in shared memory", what,
             thread_text(~0u, state.thread).data);
    for (u32 i = 0; i < access.size; i += 4) {
        const Cell& word = region.word(access.address + i);
        if (word.writer == guard && word.reader_before == state.launch_first) fail_outside(access);
    }
    return region;
}

Region& find_global(const Access& access) {
    Region& region = find(access);
    if (region.kind != Kind::input && region.kind != Kind::output && region.kind != Kind::inout)
        fail(access, "address-space", "the source of %s's asynchronous copy must be in global memory",
             thread_text(~0u, state.thread).data);
    return region;
}

void deliver(const Copy& copy, int line, const char* file) {
    char* to = reinterpret_cast<char*>(copy.to);
    if (copy.source) {
        // On a GPU the source may have been read as late as now.
        check(*copy.source, Access{copy.from, copy.valid, Operation::read, 0, line, file});
        memcpy(to, reinterpret_cast<const char*>(copy.from), copy.valid);
    }
    memset(to + copy.valid, 0, copy.bytes - copy.valid);
    for (u32 i = 0; i < copy.bytes; i += 4) {
        Cell& word = copy.destination->word(copy.to + i);
        word = Cell{};
        word.writer = state.me;
    }
    --in_flight;
    watched -= copy.watched();
}

}  // namespace

void forget_copies() {
    if (in_flight)  // the last launch was abandoned
        for (Queue& queue : queues) queue.copies.clear();
    in_flight = watched = 0;
}

void abandon_copies() {
    for (Queue& queue : queues) new (&queue) Queue();
    in_flight = watched = 0;
}

void require_no_copies() {
    if (!in_flight) return;
    const Queue& queue = queues[state.thread];
    if (queue.copies.empty()) return;
    const Copy& first = queue.copies.front();
    fail(Access{first.to, first.bytes, Operation::write, 0, first.line, first.file}, "unwaited",
         "%s ends with %zu asynchronous copies that it has not waited for (the first is %s)",
         thread_text(~0u, state.thread).data, queue.copies.size(),
         first.group == queue.closed ? "in no committed group" : "in a committed group");
}

void keep_source(const Region& region, const Access& access) {
    if (!watched) return;
    const u64 low = access.address, high = access.address + access.size;
    u32 owner;
    const Copy* copy = find_copy([=](const Copy& c) { return c.reads_from(low, high); }, owner);
    if (!copy) return;
    fail(access, "undelivered",
         "write to the source of an asynchronous copy that is not delivered: %s %s %s, which %s copies from since "
         "%s:%d",
         thread_text(~0u, state.thread).data, verb(access.operation),
         place_text(region, std::max(low, copy->from)).data, thread_text(~0u, owner).data,
         base_name(copy->file), copy->line);
}

void fail_undelivered(const Region& region, const Access& access) {
    const u64 low = access.address, high = access.address + access.size;
    u32 owner;
    const Copy* copy = find_copy([=](const Copy& c) { return c.writes_to(low, high); }, owner);
    fail(access, "undelivered",
         "%s memory that an asynchronous copy has not delivered: %s %s %s, which %s copies to since %s:%d and has not "
         "waited for",
         access.operation == Operation::read ? "read of" : "write to", thread_text(~0u, state.thread).data,
         verb(access.operation), place_text(region, std::max(low, copy->to)).data,
         thread_text(~0u, owner).data, base_name(copy->file), copy->line);
}

}  // namespace gpunn

using namespace gpunn;

EXPORTED void gpunn_emulator_copy(void* shared, const void* global, unsigned bytes, int valid, int line,
                                  const char* file) {
    const Access write{u64(shared), bytes, Operation::write, 0, line, file};
    require_stack(write);
    // No element has one byte; a condition that was taken for a number has.
    if (valid < 0 || u32(valid) > bytes || valid % 2)
        fail(write, "bad-size", "%s copies %d valid bytes of %u: expected an even number from 0 to %u",
             thread_text(~0u, state.thread).data, valid, bytes, bytes);
    require_aligned(write, "destination");
    Access read{u64(global), bytes, Operation::read, 0, line, file};
    require_aligned(read, "source");
    read.size = u32(valid);
    Region* source = nullptr;
    if (valid) {
        source = &find_global(read);
        check(*source, read);
        if (state.counting) count_access(*source, read);
    }
    Region& destination = find_shared(write, "the destination of the asynchronous copy");
    check(destination, write);
    if (state.counting) count_access(destination, write);
    for (u32 i = 0; i < bytes; i += 4) {
        Cell& word = destination.word(write.address + i);
        word = Cell{};
        word.writer = copying;
        word.reader_before = state.launch_first;
    }
    Queue& queue = queues[state.thread];
    queue.copies.push_back(
        Copy{write.address, read.address, &destination, source, queue.closed, bytes, u32(valid), line, file});
    ++in_flight;
    watched += queue.copies.back().watched();
}

EXPORTED void gpunn_emulator_copy_commit() { ++queues[state.thread].closed; }

EXPORTED void gpunn_emulator_copy_wait(unsigned groups, int line, const char* file) {
    Queue& queue = queues[state.thread];
    auto copy = queue.copies.begin();
    // Counted from behind, so that the number of groups may wrap. The open group has 0 behind it.
    for (; copy != queue.copies.end() && queue.closed - copy->group > groups; ++copy) deliver(*copy, line, file);
    queue.copies.erase(queue.copies.begin(), copy);
}

EXPORTED void gpunn_emulator_matrix_row(const void* row, int read, int line, const char* file) {
    const Access access{u64(row), 16, Operation::read, 0, line, file};
    if (access.address % 16)
        fail(access, "misaligned", "misaligned row of a matrix: the address from %s is no multiple of 16",
             thread_text(~0u, state.thread).data);
    Region& region = find_shared(access, "the row of a matrix");
    if (!read) return;
    check(region, access);
    if (state.counting) count_access(region, access);
}

EXPORTED void gpunn_emulator_matrix_part(const void* part, int line, const char* file) {
    const Access access{u64(part), 4, Operation::read, 0, line, file};
    check(find(access), access);
}
