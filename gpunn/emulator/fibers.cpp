// fibers.cpp: a fiber for each CUDA thread of a block, the order they run in, and what they wait for.
//
// One warp runs as far as it goes, then the next; within a warp each lane runs until it waits or returns.
// Taking turns after every instruction would look fairer and find less: a missing barrier shows when one
// warp has finished with memory that another has not begun with.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "counts.h"
#include "faults.h"
#include "fibers.h"

// The built-in variables, by the names that cuda.h gives them.
extern "C" {
__attribute__((visibility("default"))) gpunn::u32 gpunn_emulator_thread[3], gpunn_emulator_block[3],
    gpunn_emulator_block_shape[3], gpunn_emulator_grid_shape[3];
}

namespace gpunn {

State state;
Block block;

namespace {

constexpr u32 stack_bytes = 160 << 10, page = 4096;

char* stacks;

u32 random_below(u32 n) {  // xorshift64*, Vigna 2016
    block.random ^= block.random >> 12;
    block.random ^= block.random << 25;
    block.random ^= block.random >> 27;
    return u32((block.random * 0x2545f4914f6cdd1dull >> 33) % n);
}

// Writes the numbers below n into `order`, in the order that the launch's schedule asks for.
void arrange(u32* order, u32 n) {
    const u32 kind = state.request->order;
    for (u32 i = 0; i < n; ++i) order[i] = kind == gpunn_emulator_reverse ? n - 1 - i : i;
    if (kind != gpunn_emulator_shuffled) return;
    for (u32 i = n; i > 1; --i) {
        const u32 j = random_below(i), other = order[j];
        order[j] = order[i - 1];
        order[i - 1] = other;
    }
}

void body() {
    state.request->kernel->call(state.request->arguments);
    require_no_copies();
    me().wait = Wait::returned;
    ++watch.returned;
    watch.overtime = false;
    switch_context(me().context, block.main);
    abort();  // nobody switches back to a thread that has returned
}

void resume(u32 thread) {
    Fiber& fiber = block.fibers[thread];
    state.thread = thread;
    memcpy(gpunn_emulator_thread, fiber.index, sizeof fiber.index);
    state.stack.low = u64(stacks) + u64(thread) * stack_bytes + page;
    refresh_stamp();
    ++watch.switches;
    do {
        watch.paused = false;
        watch.in_fiber = true;
        switch_context(block.main, fiber.context);
        watch.in_fiber = false;
        if (block.failed) return;
    } while ((!watch.attention || attend()) && watch.paused);
    if (watch.interrupted) block.failed = true;
}

// Notes a finding about a thread without leaving anything.
__attribute__((format(printf, 3, 0)))
void note(const Access& access, const char* kind, const char* format, va_list arguments) {
    gpunn_emulator_finding& finding = *state.finding;
    snprintf(finding.kind, sizeof finding.kind, "%s", kind);
    vsnprintf(finding.detail, sizeof finding.detail, format, arguments);
    snprintf(finding.file, sizeof finding.file, "%s", access.file ? access.file : "");
    finding.line = access.line;
    finding.offset = access.file || !access.pc ? 0 : access.pc - state.module_base;
    memcpy(finding.block, gpunn_emulator_block, sizeof finding.block);
    memcpy(finding.thread, block.fibers[state.thread].index, sizeof finding.thread);
    block.failed = true;
}

}  // namespace

void note_finding(const Access& access, const char* kind, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note(access, kind, format, arguments);
    va_end(arguments);
}

namespace {

// A finding about a waiting thread, made when no thread runs.
__attribute__((format(printf, 3, 4)))
void note_waiting(u32 thread, const char* kind, const char* format, ...) {
    const Fiber& fiber = block.fibers[thread];
    state.thread = thread;
    va_list arguments;
    va_start(arguments, format);
    note(Access{0, 0, Operation::read, 0, fiber.line, fiber.file}, kind, format, arguments);
    va_end(arguments);
}

Text where(const Fiber& fiber) {
    Text text;
    const char* what = fiber.wait == Wait::barrier ? "__syncthreads"
                       : fiber.operation == sync_warp_operation ? "__syncwarp"
                                                                : "a warp collective";
    if (fiber.wait == Wait::returned)
        snprintf(text.data, sizeof text.data, "has returned");
    else if (fiber.wait == Wait::barrier)
        snprintf(text.data, sizeof text.data, "waits in %s at %s:%d", what, fiber.file, fiber.line);
    else
        snprintf(text.data, sizeof text.data, "waits in %s with mask %#x at %s:%d", what, fiber.mask, fiber.file,
                 fiber.line);
    return text;
}

// A warp where no lane can run and some wait in a collective: no other warp can help them.
void note_stuck_warp(u32 warp) {
    u32 first = 0;
    for (u32 lane = 32; lane-- > 0;)
        if (state.warps[warp].waiting >> lane & 1) first = warp * 32 + lane;
    const Fiber& fiber = block.fibers[first];
    u32 missing = first;
    for (u32 lane = 0; lane < 32; ++lane) {
        const u32 thread = warp * 32 + lane;
        if (!(fiber.mask & state.warps[warp].exists & 1u << lane)) continue;
        const Fiber& other = block.fibers[thread];
        const bool together = other.wait == Wait::collective && other.operation == fiber.operation &&
                              other.mask == fiber.mask && other.bytes == fiber.bytes;
        if (!together && missing == first) missing = thread;
    }
    const bool apart = block.fibers[missing].wait == Wait::collective;
    note_waiting(first, apart ? "divergent-barrier" : "deadlock", "%s: %s %s, but %s %s",
                 apart ? "lanes of a warp in different collectives" : "deadlock", thread_text(~0u, first).data,
                 where(fiber).data, thread_text(~0u, missing).data, where(block.fibers[missing]).data);
}

void run_warp(u32 warp) {
    Warp& w = state.warps[warp];
    const u32 lanes = block.threads - warp * 32 < 32 ? block.threads - warp * 32 : 32;
    for (bool moved = true; moved;) {
        moved = false;
        arrange(block.lane_order, lanes);
        for (u32 i = 0; i < lanes; ++i) {
            const u32 thread = warp * 32 + block.lane_order[i];
            if (block.fibers[thread].wait != Wait::nothing) continue;
            resume(thread);
            if (block.failed) return;
            moved = true;
        }
    }
    if (w.waiting) note_stuck_warp(warp);
    if (state.counting && !block.failed) settle_counts(warp);
}

// All threads have returned or wait in a barrier. Returns false when the block is done or has failed.
bool pass_barrier() {
    u32 first = ~0u, absent = ~0u, elsewhere = ~0u, set = 0;
    for (u32 thread = 0; thread < block.threads; ++thread) {
        const Fiber& fiber = block.fibers[thread];
        if (fiber.wait == Wait::returned) {
            if (absent == ~0u) absent = thread;
            continue;
        }
        if (first == ~0u) first = thread;
        // By line and not by instruction: g++ may copy one call into two branches.
        const Fiber& leader = block.fibers[first];
        const bool same_file = fiber.file == leader.file || !strcmp(fiber.file, leader.file);
        if (fiber.line != leader.line || fiber.operation != leader.operation || !same_file) elsewhere = thread;
        set += fiber.predicate != 0;
    }
    if (first == ~0u) return false;
    if (absent != ~0u || elsewhere != ~0u) {
        const u32 other = absent != ~0u ? absent : elsewhere;
        note_waiting(first, "divergent-barrier", "divergent barrier: %s %s, but %s %s%s", thread_text(~0u, first).data,
                     where(block.fibers[first]).data, thread_text(~0u, other).data, where(block.fibers[other]).data,
                     absent != ~0u ? " (every thread must reach every barrier)" : "");
        return false;
    }
    const u32 operation = block.fibers[first].operation;
    block.predicate = operation == gpunn_emulator_sync_or    ? set != 0
                      : operation == gpunn_emulator_sync_and ? set == block.threads
                                                             : int(set);
    settle_fences();
    begin_epoch();
    for (u32 thread = 0; thread < block.threads; ++thread) block.fibers[thread].wait = Wait::nothing;
    return true;
}

void run_block(u32 linear) {
    block_index(linear, gpunn_emulator_block);
    begin_block(linear);
    watch.switches = 0;
    for (u32 thread = 0; thread < block.threads; ++thread) {
        Fiber& fiber = block.fibers[thread];
        fiber.wait = Wait::nothing;
        // Tops of stacks are spread over the cache's sets; 16 KB of the stack at most are lost to it.
        char* top = stacks + u64(thread + 1) * stack_bytes - (thread % 61) * 256;
        prepare_context(fiber.context, stacks + u64(thread) * stack_bytes + page, top, body);
    }
    do {
        arrange(block.warp_order, block.warps);
        for (u32 i = 0; i < block.warps && !block.failed; ++i) run_warp(block.warp_order[i]);
    } while (!block.failed && pass_barrier());
}

// What all blocks of the launch have in common.
void start_shape() {
    const gpunn_emulator_request& request = *state.request;
    memcpy(gpunn_emulator_block_shape, request.block, sizeof request.block);
    memcpy(gpunn_emulator_grid_shape, request.grid, sizeof request.grid);
    block.threads = request.block[0] * request.block[1] * request.block[2];
    block.warps = (block.threads + 31) / 32;
    block.failed = false;
    block.random = (request.seed + 1) * 0x9e3779b97f4a7c15ull;
    if (!block.random) block.random = 1;
    for (u32 thread = 0; thread < block.threads; ++thread) thread_index(thread, block.fibers[thread].index);
    for (u32 warp = 0; warp < block.warps; ++warp) {
        const u32 lanes = block.threads - warp * 32;
        state.warps[warp].exists = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    }
}

bool have_stacks() {
    if (stacks) return true;
    void* memory = mmap(nullptr, 1024ull * stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    stacks = static_cast<char*>(memory);
    for (u32 i = 0; i < 1024; ++i) mprotect(stacks + u64(i) * stack_bytes, page, PROT_NONE);
    state.stacks_low = u64(stacks);
    state.stacks_high = u64(stacks) + 1024ull * stack_bytes;
    return true;
}

}  // namespace

void wait_here(Wait wait, u32 operation, u32 mask, int line, const char* file) {
    if (watch.overtime) fail_overtime(Access{0, 0, Operation::read, 0, line, file});
    Fiber& fiber = me();
    fiber.operation = operation;
    fiber.mask = mask;
    fiber.line = line;
    fiber.file = file;
    fiber.wait = wait;
    switch_context(fiber.context, block.main);
}

void refresh_stamp() {
    const Warp& warp = state.warps[state.thread >> 5];
    const u64 when = u64(state.now) << 32 | u64(warp.clock) << clock_shift;
    state.me = when | state.thread;
    state.me_lanes = when | lanes_flag | (state.thread & ~31u);
    state.several = u64(state.now) << 32 | warps_flag;
    state.lane_bit = 1u << (state.thread & 31);
}

void advance_clock(int line, const char* file) {
    Warp& warp = state.warps[state.thread >> 5];
    if (warp.clock + 1 == clock_limit)
        fail(Access{0, 0, Operation::read, 0, line, file}, "limit",
             "more than %u __syncwarp and __threadfence of one warp in one block", clock_limit - 2);
    ++warp.clock;
    refresh_stamp();
}

void fail(const Access& access, const char* kind, const char* format, ...) {
    require_stack(access);
    va_list arguments;
    va_start(arguments, format);
    note(access, kind, format, arguments);
    va_end(arguments);
    switch_context(me().context, block.main);
    abort();  // a failed launch is never resumed
}

}  // namespace gpunn

using namespace gpunn;

namespace {

// All of a launch but the watch; what is wrong with the memory, if anything is.
const char* run_launch() {
    const gpunn_emulator_request& request = *state.request;
    if (!have_stacks()) return "no memory for the threads' stacks";
    state.stack.size = stack_bytes - page;
    start_shape();
    if (const char* wrong = begin_launch()) return wrong;
    const u32* chosen = request.blocks;
    const u32 blocks = chosen ? u32(request.block_count) : request.grid[0] * request.grid[1] * request.grid[2];
    u32* order = nullptr;  // only where it is no simple one: a grid may have two billion blocks
    if (request.order == gpunn_emulator_shuffled) {
        order = static_cast<u32*>(malloc(u64(blocks) * sizeof(u32) + 1));
        if (!order) return "no memory for the order of the blocks";
        arrange(order, blocks);
    }
    for (u32 i = 0; i < blocks && !block.failed; ++i) {
        const u32 next = order ? order[i] : request.order == gpunn_emulator_reverse ? blocks - 1 - i : i;
        run_block(chosen ? chosen[next] : next);
        for (u32 thread = 0; thread < block.threads; ++thread) release_exchange(block.fibers[thread]);
    }
    free(order);
    return nullptr;
}

}  // namespace

EXPORTED int gpunn_emulator_launch(const gpunn_emulator_request* request, gpunn_emulator_finding* finding) {
    state.request = request;
    state.finding = finding;
    memset(finding, 0, sizeof *finding);
    void* python_thread = request->python.save_thread();
    const char* wrong = "no memory for the stack that faults are handled on";
    if (begin_watch()) {
        watch.python_thread = python_thread;
        wrong = run_launch();
        fflush(stdout);  // what the kernel printed
        python_thread = watch.python_thread;
        end_watch();
        // A module that is loaded calls the hooks, in the constructor that g++ writes for its sanitizer's runtime.
        state.counting = false;
    }
    if (wrong) {
        snprintf(finding->kind, sizeof finding->kind, "memory");
        snprintf(finding->detail, sizeof finding->detail, "%s", wrong);
    }
    request->python.restore_thread(python_thread);
    return wrong || block.failed;
}

EXPORTED uint64_t gpunn_emulator_layout() {
    return sizeof(gpunn_emulator_kernel) | sizeof(gpunn_emulator_module_info) << 8 |
           sizeof(gpunn_emulator_buffer) << 16 | sizeof(gpunn_emulator_request) << 24 |
           u64(sizeof(gpunn_emulator_finding)) << 40 | u64(sizeof(gpunn_emulator_count)) << 56;
}
