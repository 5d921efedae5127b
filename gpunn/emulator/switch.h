// switch.h: leave one call stack and go on with another.
#pragma once

#if defined(__x86_64__)

#include <stdint.h>

namespace gpunn {

// Everything a function must preserve for its caller is on the stack; only the stack pointer is kept.
// The floating-point control words are not switched: kernels do not change them.
struct Context {
    void* stack_pointer;
};

extern "C" void gpunn_switch(void** from, void* to);  // switch.cpp

inline void switch_context(Context& from, Context& to) { gpunn_switch(&from.stack_pointer, to.stack_pointer); }

inline void prepare_context(Context& context, char*, char* top, void (*start)()) {
    // On entry to a function the stack pointer is 8 below a multiple of 16, where the return address is.
    uint64_t* slots = reinterpret_cast<uint64_t*>(reinterpret_cast<uint64_t>(top) & ~uint64_t(15)) - 8;
    for (int i = 0; i < 8; ++i) slots[i] = 0;
    slots[6] = reinterpret_cast<uint64_t>(start);  // popped by ret, after the six registers
    context.stack_pointer = slots;
}

}  // namespace gpunn

#else

#include <ucontext.h>

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

}  // namespace gpunn

#endif
