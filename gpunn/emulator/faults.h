// faults.h: what ends a launch from outside of the checks: machine faults, too long a time, Ctrl-C.
//
// While a launch runs, and only then, this thread has handlers of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, on a
// stack of their own (a fiber whose stack has overflowed has none to handle anything on), and a timer of its processor
// time. A fault of a fiber becomes a finding; what is no fault of a fiber goes to the handlers that were there before.
//
// The timer's handler never runs Python, and interrupts nothing but the kernel's own code: it says that `attention` is
// wanted. The next switch of fibers, or the next access that the hooks look at, then comes to the main stack, where
// Python's handlers of signals run. They may raise, which ends the launch. A loop that has neither is stopped where it
// is: the handler waits, on its stack, until they have run.
#pragma once

#include <signal.h>

#include "state.h"

namespace gpunn {

struct Watch {
    // How far the launch has got, for the limit of time. A launch may take for ever as long as its threads return. Short
    // of that, a block's switches between fibers count too, as far as `counted_switches`: loops with barriers are long.
    u32 returned;  // threads
    u32 switches;  // in this block
    volatile sig_atomic_t in_fiber;
    volatile sig_atomic_t attention;  // asked for by the timer
    volatile sig_atomic_t overtime;   // the limit has been passed
    bool paused;       // the running fiber waits for the main stack to attend,
    bool in_handler;   // stopped in the timer's handler
    bool interrupted;  // a handler of Python's has raised
    void* python_thread;  // what the interpreter gave for its lock
};
extern Watch watch;

constexpr u32 counted_switches = 1u << 24;
constexpr u64 needed_stack = 24 << 10;  // bytes, for what the runtime itself does on a fiber's stack

// Between these two faults are caught. The first fails (with errno) where there is no memory for a stack.
bool begin_watch();
void end_watch();
// On the main stack: runs Python's handlers of signals. False if the launch is to end.
bool attend();
// In a fiber, when `attention` is set: has the main stack attend. Returns unless that ends the launch.
void pause(const Access& access);
[[noreturn]] void fail_overtime(const Access& access);
// Ends the launch where too little stack is left for functions that take locks of the C library: a fault within
// them would leave these locked.
void require_stack(const Access& access);
// On the main stack: memset, and false where the memory is not there (a mapped file that has been cut short).
bool fill(void* to, int value, u64 bytes);
void abandon_watch();  // in a forked child

// fibers.cpp: notes a finding about the running thread, and returns.
void note_finding(const Access& access, const char* kind, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

// In a forked child whose parent's launch ran in another thread: what that was changing is as good as garbage, and
// neither read nor freed.
void abandon_memory();     // memory.cpp
void abandon_releases();   // races.cpp
void abandon_copies();     // copies.cpp
void abandon_exchanges();  // collectives.cpp
void abandon_counts();     // counts.cpp

}  // namespace gpunn
