// hooks.cpp: what g++ -fsanitize=thread,alignment,bounds,... calls, ourselves instead of its runtimes.
//
// Every memory access of a kernel comes through here, so the common cases are decided in a few
// comparisons: find the region by the instruction that was there last time, then compare stamps.
#include <string.h>

#include <algorithm>

#include "counts.h"
#include "faults.h"

using namespace gpunn;

#define PC u64(__builtin_return_address(0))

namespace {

// Everything that the fast paths below do not decide.
__attribute__((noinline)) void check_slowly(const void* pointer, u32 size, Operation operation, u64 pc) {
    if (!size) return;
    const Access access{u64(pointer), size, operation, pc, 0, nullptr};
    if (watch.attention) pause(access);
    require_stack(access);
    Region& region = find(access);
    check(region, access);
    if (state.counting) count_access(region, access);
}

// An access of 4 GB or more leaves every array, as one of 4 GB - 1 does.
u32 clamped(u64 size) { return u32(std::min(size, u64(~u32(0)))); }

bool same_block_before(u64 stamp) { return epoch_of(stamp) - state.block_first < state.now - state.block_first; }

// Each returns false where it cannot decide.
inline bool read_word(Cell& cell, u64 older, bool initialised) {
    const u64 reader = cell.reader, writer = cell.writer;
    // Nobody wrote since, for a write clears the reader. And where several warps have read, the last write
    // was before the last barrier, or one of them would have been caught.
    if (reader == state.me || reader == state.several) return true;
    if (!same_block_before(writer) && !(initialised && writer < older)) return false;
    if (cell.atomic >= older) return false;
    if (reader == state.me_lanes) {
        cell.reader_lanes |= state.lane_bit;
        return true;
    }
    if (reader >= older && !same_block_before(reader)) return false;
    cell.reader = state.me;
    return true;
}

inline bool write_word(Cell& cell, u64 older) {
    if (std::max(std::max(cell.writer, cell.reader), cell.atomic) < older) {
        cell.writer = state.me;
        cell.reader = cell.atomic = 0;
        return true;
    }
    return cell.writer == state.me && cell.reader == 0 && cell.atomic == 0;
}

template <int Log, bool Writes>
inline __attribute__((always_inline)) void access(void* pointer, u64 pc) {
    constexpr u32 size = 1 << Log;
    constexpr Operation operation = Writes ? Operation::write : Operation::read;
    const u64 address = u64(pointer);
    Region& region = *state.recent[(pc ^ pc >> 9) % recent_regions];
    const u64 offset = address - region.low;
    if (__builtin_expect(offset >= region.room[Log] || (Log >= 2 && address & 3), 0))
        return check_slowly(pointer, size, operation, pc);
    if (!region.words) {
        if (Writes) check_slowly(pointer, size, operation, pc);
        return;
    }
    if (Writes && region.kind != Kind::shared) state.unfenced[state.thread] = true;
    if (Log < 2) return check_slowly(pointer, size, operation, pc);
    Cell* cell = &region.word(address);
    for (u32 i = 0; i < size / 4; ++i)
        if (!(Writes ? write_word(cell[i], region.older) : read_word(cell[i], region.older, !region.floor)))
            return check_slowly(pointer, size, operation, pc);
}

struct SourceLocation {
    const char* file;
    u32 line, column;
};
struct TypeName {
    uint16_t kind, info;
    char name[1];
};
struct MismatchData {
    SourceLocation at;
    const TypeName* type;
    u8 log_alignment, check;
};
struct BoundsData {
    SourceLocation at;
    const TypeName *array, *index;
};

Access access_at(const SourceLocation& at) { return Access{0, 0, Operation::read, 0, int(at.line), at.file}; }

}  // namespace

EXPORTED void __tsan_init() {}
EXPORTED void __tsan_vptr_update(void** p, void*) { access<3, true>(p, PC); }
EXPORTED void __tsan_vptr_read(void** p) { access<3, false>(p, PC); }
EXPORTED void __tsan_read1(void* p) { access<0, false>(p, PC); }
EXPORTED void __tsan_read2(void* p) { access<1, false>(p, PC); }
EXPORTED void __tsan_read4(void* p) { access<2, false>(p, PC); }
EXPORTED void __tsan_read8(void* p) { access<3, false>(p, PC); }
EXPORTED void __tsan_read16(void* p) { access<4, false>(p, PC); }
EXPORTED void __tsan_write1(void* p) { access<0, true>(p, PC); }
EXPORTED void __tsan_write2(void* p) { access<1, true>(p, PC); }
EXPORTED void __tsan_write4(void* p) { access<2, true>(p, PC); }
EXPORTED void __tsan_write8(void* p) { access<3, true>(p, PC); }
EXPORTED void __tsan_write16(void* p) { access<4, true>(p, PC); }
EXPORTED void __tsan_unaligned_read2(void* p) { access<1, false>(p, PC); }
EXPORTED void __tsan_unaligned_read4(void* p) { access<2, false>(p, PC); }
EXPORTED void __tsan_unaligned_read8(void* p) { access<3, false>(p, PC); }
EXPORTED void __tsan_unaligned_read16(void* p) { access<4, false>(p, PC); }
EXPORTED void __tsan_unaligned_write2(void* p) { access<1, true>(p, PC); }
EXPORTED void __tsan_unaligned_write4(void* p) { access<2, true>(p, PC); }
EXPORTED void __tsan_unaligned_write8(void* p) { access<3, true>(p, PC); }
EXPORTED void __tsan_unaligned_write16(void* p) { access<4, true>(p, PC); }
EXPORTED void __tsan_read_range(void* p, u64 size) { check_slowly(p, clamped(size), Operation::read, PC); }
EXPORTED void __tsan_write_range(void* p, u64 size) { check_slowly(p, clamped(size), Operation::write, PC); }

EXPORTED void gpunn_emulator_atomic(const void* pointer, unsigned bytes, int line, const char* file) {
    const Access access{u64(pointer), bytes, Operation::atomic, PC, line, file};
    if (watch.attention) pause(access);
    require_stack(access);
    if (u64(pointer) % bytes)
        fail(access, "misaligned", "misaligned atomic: %s changes %u bytes at an address that is not a multiple of %u",
             thread_text(~0u, state.thread).data, bytes, bytes);
    Region& region = find(access);
    check(region, access);
    if (state.counting) count_access(region, access);
}

EXPORTED void __ubsan_handle_type_mismatch_v1(const MismatchData* data, u64 address) {
    const u64 alignment = u64(1) << data->log_alignment;
    fail(access_at(data->at), "misaligned", "misaligned access: %s uses %s at %#llx, which is no multiple of %llu",
         thread_text(~0u, state.thread).data, data->type->name, (unsigned long long)address,
         (unsigned long long)alignment);
}
EXPORTED void __ubsan_handle_out_of_bounds(const BoundsData* data, u64 index) {
    fail(access_at(data->at), "out-of-bounds", "out of bounds: %s indexes %s with %lld",
         thread_text(~0u, state.thread).data, data->array->name, (long long)index);
}
EXPORTED void __ubsan_handle_divrem_overflow(const BoundsData* data, u64, u64 divisor) {
    fail(access_at(data->at), "division", "%s in %s", divisor ? "division overflows" : "integer division by zero",
         thread_text(~0u, state.thread).data);
}
EXPORTED void __ubsan_handle_builtin_unreachable(const SourceLocation* at) {
    fail(access_at(*at), "unreachable", "%s comes to a place that was declared unreachable",
         thread_text(~0u, state.thread).data);
}
EXPORTED void __ubsan_handle_missing_return(const SourceLocation* at) {
    fail(access_at(*at), "unreachable", "%s comes to the end of a function that returns a value, without one",
         thread_text(~0u, state.thread).data);
}
EXPORTED void __ubsan_handle_vla_bound_not_positive(const BoundsData* data, u64 length) {
    fail(access_at(data->at), "bad-size", "%s declares an array of %lld elements", thread_text(~0u, state.thread).data,
         (long long)length);
}
EXPORTED void __ubsan_handle_shift_out_of_bounds(const BoundsData* data, u64, u64 count) {
    fail(access_at(data->at), "shift", "%s shifts %s by %lld bits", thread_text(~0u, state.thread).data,
         data->array->name, (long long)count);
}
