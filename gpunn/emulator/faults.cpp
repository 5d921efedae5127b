// faults.cpp: see faults.h.
#include "faults.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "fibers.h"

#ifndef sigev_notify_thread_id  // glibc before 2.41 does not name it
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace gpunn {

Watch watch;

namespace {

constexpr int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
constexpr int faults = sizeof fault_signals / sizeof *fault_signals;
constexpr size_t handler_stack_bytes = 64 << 10;  // there are two
constexpr long tick_nanoseconds = 50000000;  // of processor time: a launch attends this often
constexpr u64 stack_guard = 4096;            // bytes below a fiber's stack that nobody may touch

// All of the launching thread, while it launches.
struct Before {
    bool running, timed;
    pthread_t thread;
    stack_t stack;
    struct sigaction actions[faults + 1];  // the last: of the timer's signal
    sigset_t mask;
    timer_t timer;
} before;

volatile sig_atomic_t filling;
sigjmp_buf unfilled;

char* handler_stack;

struct Progress {
    u64 stamp, since;  // `since` in nanoseconds of processor time
} progress;

int tick_signal() { return SIGRTMAX - 3; }  // not a constant: the C library keeps some for itself
int signal_of(int i) { return i < faults ? fault_signals[i] : tick_signal(); }

u64 processor_time() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return u64(now.tv_sec) * 1000000000u + u64(now.tv_nsec);
}

bool in_module(u64 pc) { return pc >= state.code_low && pc < state.code_end; }
bool ours() { return before.running && pthread_equal(before.thread, pthread_self()); }

// The innermost return address into the kernel's code that is on the stack.
u64 caller_of(const ucontext_t& stopped) {
    const u64 low = state.stack.low, end = low + state.stack.size;
    u64 at = (sp_of(stopped) + 7) & ~u64(7);
    if (at + stack_guard < low || at >= end) return 0;
    if (at < low) at = low;
    for (; at < end; at += 8) {
        const u64 value = *reinterpret_cast<const u64*>(at);
        if (in_module(value)) return value;
    }
    return 0;
}

// The place as an access has it: one past the instruction, as a return address is. 0 if it is not in the kernel's code.
Access access_at(const ucontext_t& stopped) {
    const u64 pc = pc_of(stopped);
    return Access{0, 0, Operation::read, in_module(pc) ? pc + 1 : 0, 0, nullptr};
}

// A wild jump, a function of the C library or the stub of a call has no line: that of the call has to do.
void note_caller(const ucontext_t& stopped) {
    const u64 caller = caller_of(stopped);
    if (caller) state.finding->caller = caller - state.module_base;
}

void note_overflow(const Access& access) {
    note_finding(access, "stack-overflow", "%s needs more than the %llu KB of stack that it has: too deep a recursion, "
                 "or too large local arrays", thread_text(~0u, state.thread).data,
                 (unsigned long long)(state.stack.size >> 10));
}

void note_fault(int signal, const siginfo_t& info, const ucontext_t& stopped) {
    const Access access = access_at(stopped);
    const u64 address = u64(info.si_addr);
    const Text who = thread_text(~0u, state.thread);
    // With -fstack-clash-protection no frame is so large that it gets past the guard.
    note_caller(stopped);
    if (signal == SIGSEGV && address >= state.stack.low - stack_guard && address < state.stack.low) {
        note_overflow(access);
        // What the recursion has filled is given back: 124 KB for each thread that ever failed so.
        madvise(reinterpret_cast<void*>(state.stack.low), state.stack.size, MADV_DONTNEED);
    } else if (signal == SIGFPE) {
        note_finding(access, "division", "%s divides an integer by zero, or the least one by -1 (the processor trapped; a "
                     "GPU gives some number)", who.data);
    } else if (signal == SIGSEGV && !in_module(pc_of(stopped)) && address == pc_of(stopped)) {
        note_finding(access, "fault", "%s calls a function at %#llx, where no code is", who.data,
                     (unsigned long long)address);
    } else if (signal == SIGSEGV || signal == SIGBUS) {
        note_finding(access, "fault", "%s touches memory that is not there, at %#llx", who.data,
                     (unsigned long long)address);
    } else {
        note_finding(access, "fault", "%s executes an instruction that the processor refuses", who.data);
    }
}

// A signal that has nothing to do with a kernel.
void hand_over(int signal, int number, siginfo_t* info, void* stopped) {
    const struct sigaction& action = before.actions[number];
    if (action.sa_flags & SA_SIGINFO) return action.sa_sigaction(signal, info, stopped);
    const bool fault = number < faults && info->si_code > 0;
    if (action.sa_handler == SIG_IGN && !fault) return;
    if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) return action.sa_handler(signal);
    // Ends the process: a fault happens again when its instruction is repeated, what was sent is sent again.
    struct sigaction plain{};
    plain.sa_handler = SIG_DFL;
    sigaction(signal, &plain, nullptr);
    if (!fault) raise(signal);
}

void on_fault(int signal, siginfo_t* info, void* context) {
    const int saved = errno;
    ucontext_t& stopped = *static_cast<ucontext_t*>(context);
    int number = 0;
    while (fault_signals[number] != signal) ++number;
    if (ours() && filling && info->si_code > 0) siglongjmp(unfilled, 1);
    // Positive codes are faults of this very instruction; what others send has 0 or less.
    if (!ours() || !watch.in_fiber || info->si_code <= 0) {
        hand_over(signal, number, info, context);
    } else {
        note_fault(signal, *info, stopped);
        leave_from_handler(stopped, block.main);
    }
    errno = saved;
}

void note_overtime(const Access& access) {
    note_finding(access, "limit", "%s has neither returned nor come to a barrier for %.3g seconds of processor time, or its "
                 "block takes too many barriers: an endless loop? GPUNN_EMULATOR_SECONDS sets the limit, 0 is none",
                 thread_text(~0u, state.thread).data, double(state.request->time_limit) * 1e-9);
}

void on_tick(int signal, siginfo_t* info, void* context) {
    if (info->si_code != SI_TIMER || info->si_value.sival_ptr != &before) return hand_over(signal, faults, info, context);
    if (!ours()) return;
    const int saved = errno;
    const bool waited = watch.attention;
    ucontext_t& stopped = *static_cast<ucontext_t*>(context);
    const u64 now = processor_time();
    const u64 stamp = u64(watch.returned) << 32 | std::min(watch.switches, counted_switches);
    if (stamp != progress.stamp) progress = Progress{stamp, now};
    if (state.request->time_limit && now - progress.since > state.request->time_limit) watch.overtime = true;
    if (watch.overtime && watch.in_fiber && in_module(pc_of(stopped))) {
        note_caller(stopped);
        note_overtime(access_at(stopped));
        leave_from_handler(stopped, block.main);
        errno = saved;
        return;
    }
    watch.attention = true;
    // No access is decided on the hooks' fast path now.
    for (Region*& region : state.recent) region = &state.nothing;
    if (waited && watch.in_fiber && in_module(pc_of(stopped))) {
        watch.paused = watch.in_handler = true;
        switch_context(me().context, block.main);
        watch.in_handler = false;
    }
    errno = saved;
}

bool have_handler_stack() {
    if (handler_stack) return true;
    void* memory = mmap(nullptr, 2 * handler_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    handler_stack = static_cast<char*>(memory);
    return true;
}

void use_handler_stack(int number, stack_t* old) {
    stack_t stack{};
    stack.ss_sp = handler_stack + number * handler_stack_bytes;
    stack.ss_size = handler_stack_bytes;
    sigaltstack(&stack, old);
}

void start_timer() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = tick_signal();
    event.sigev_value.sival_ptr = &before;
    event.sigev_notify_thread_id = pid_t(syscall(SYS_gettid));
    // Where the system gives no timer there is no limit of time, and Ctrl-C waits for the launch to end.
    before.timed = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &before.timer) == 0;
    const itimerspec every{{0, tick_nanoseconds}, {0, tick_nanoseconds}};
    if (before.timed) timer_settime(before.timer, 0, &every, nullptr);
}

void restore_handlers() {
    for (int i = 0; i <= faults; ++i) {
        struct sigaction current;
        sigaction(signal_of(i), &before.actions[i], &current);
        // Somebody else has set a handler meanwhile: that one stays.
        const auto handler = i < faults ? on_fault : on_tick;
        if (!(current.sa_flags & SA_SIGINFO) || current.sa_sigaction != handler)
            sigaction(signal_of(i), &current, nullptr);
    }
}

}  // namespace

bool begin_watch() {
    if (!have_handler_stack()) return false;
    watch = Watch{};
    progress = Progress{0, processor_time()};
    before.thread = pthread_self();
    use_handler_stack(0, &before.stack);
    sigset_t needed;
    sigemptyset(&needed);
    for (int i = 0; i <= faults; ++i) sigaddset(&needed, signal_of(i));
    pthread_sigmask(SIG_UNBLOCK, &needed, &before.mask);
    for (int i = 0; i <= faults; ++i) {
        struct sigaction action{};
        action.sa_sigaction = i < faults ? on_fault : on_tick;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
        sigaddset(&action.sa_mask, tick_signal());
        sigaction(signal_of(i), &action, &before.actions[i]);
    }
    before.running = true;
    start_timer();
    return true;
}

void end_watch() {
    if (before.timed) timer_delete(before.timer);
    before.timed = before.running = false;
    watch = Watch{};  // the last tick may have asked for attention after the last fiber: nothing is left to pause
    restore_handlers();
    pthread_sigmask(SIG_SETMASK, &before.mask, nullptr);
    sigaltstack(&before.stack, nullptr);
}

bool fill(void* to, int value, u64 bytes) {
    const bool whole = sigsetjmp(unfilled, 1) == 0;
    if (whole) {
        filling = true;
        memset(to, value, bytes);
    }
    filling = false;
    return whole;
}

bool attend() {
    watch.attention = false;
    const gpunn_emulator_python& python = state.request->python;
    const u64 began = processor_time();
    // Signals that come now must not use the stack on which the timer's handler waits.
    if (watch.in_handler) use_handler_stack(1, nullptr);
    python.restore_thread(watch.python_thread);
    watch.interrupted = python.check_signals() != 0;
    watch.python_thread = python.save_thread();
    if (watch.in_handler) use_handler_stack(0, nullptr);
    progress.since += processor_time() - began;
    return !watch.interrupted;
}

void pause(const Access& access) {
    if (watch.overtime) fail_overtime(access);
    watch.paused = true;
    switch_context(me().context, block.main);
}

void fail_overtime(const Access& access) {
    note_overtime(access);
    switch_context(me().context, block.main);
    __builtin_unreachable();  // a failed launch is never resumed
}

void require_stack(const Access& access) {
    if (u64(__builtin_frame_address(0)) - state.stack.low >= needed_stack) return;
    note_overflow(access);
    switch_context(me().context, block.main);
}

void abandon_watch() {
    if (!before.running) return;
    before.timed = before.running = false;  // timers are not inherited
    watch = Watch{};
    restore_handlers();
}

}  // namespace gpunn

using namespace gpunn;

EXPORTED void gpunn_emulator_after_fork() {
    // The launching thread itself may fork, in a handler that Python ran meanwhile: it goes on, without a timer.
    if (!before.running || pthread_equal(before.thread, pthread_self())) {
        before.timed = false;
        return;
    }
    abandon_watch();
    abandon_memory();
    abandon_releases();
    abandon_copies();
    abandon_exchanges();
    abandon_counts();
    state.counting = false;
}
