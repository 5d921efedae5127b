// switch.h: leave one call stack and go on with another, also from within a signal's handler.
#pragma once

#include <stdint.h>
#include <ucontext.h>

#if defined(__x86_64__)

namespace gpunn {

// Everything a function must preserve for its caller is on the stack; only the stack pointer is kept.
// The floating-point control words are not switched: kernels do not change them.
struct Context {
    void* stack_pointer;
};

extern "C" void gpunn_switch(void** from, void* to);  // switch.cpp
extern "C" char gpunn_switch_arrive[];                // within it: the stack pointer is already the new one's

inline void switch_context(Context& from, Context& to) { gpunn_switch(&from.stack_pointer, to.stack_pointer); }

inline void prepare_context(Context& context, char*, char* top, void (*start)()) {
    // On entry to a function the stack pointer is 8 below a multiple of 16, where the return address is.
    uint64_t* slots = reinterpret_cast<uint64_t*>(reinterpret_cast<uint64_t>(top) & ~uint64_t(15)) - 8;
    for (int i = 0; i < 8; ++i) slots[i] = 0;
    slots[6] = reinterpret_cast<uint64_t>(start);  // popped by ret, after the six registers
    context.stack_pointer = slots;
}

inline uint64_t pc_of(const ucontext_t& stopped) { return uint64_t(stopped.uc_mcontext.gregs[REG_RIP]); }
inline uint64_t sp_of(const ucontext_t& stopped) { return uint64_t(stopped.uc_mcontext.gregs[REG_RSP]); }

// What the signal stopped is never gone on with: when the handler returns, `to` goes on.
inline void leave_from_handler(ucontext_t& stopped, Context& to) {
    constexpr greg_t direction_and_alignment = 1 << 10 | 1 << 18;  // flags that compiled code expects to be clear
    stopped.uc_mcontext.gregs[REG_RSP] = greg_t(to.stack_pointer);
    stopped.uc_mcontext.gregs[REG_RIP] = greg_t(gpunn_switch_arrive);
    stopped.uc_mcontext.gregs[REG_EFL] &= ~direction_and_alignment;
}

}  // namespace gpunn

#else

namespace gpunn {

struct Context {
    ucontext_t context;
};

inline void switch_context(Context& from, Context& to) { swapcontext(&from.context, &to.context); }

inline void prepare_context(Context& context, char* low, char* top, void (*start)()) {
    getcontext(&context.context);
    context.context.uc_stack.ss_sp = low;
    context.context.uc_stack.ss_size = size_t(top - low);
    context.context.uc_link = nullptr;
    makecontext(&context.context, start, 0);
}

#if defined(__aarch64__)
inline uint64_t pc_of(const ucontext_t& stopped) { return stopped.uc_mcontext.pc; }
inline uint64_t sp_of(const ucontext_t& stopped) { return stopped.uc_mcontext.sp; }
#else
inline uint64_t pc_of(const ucontext_t&) { return 0; }  // findings then name no line
inline uint64_t sp_of(const ucontext_t&) { return 0; }
#endif

// Does not return; setcontext restores the mask of signals too.
inline void leave_from_handler(ucontext_t&, Context& to) { setcontext(&to.context); }

}  // namespace gpunn

#endif
