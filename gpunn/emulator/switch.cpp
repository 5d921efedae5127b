// switch.cpp: the few instructions that no compiler would write.
#if defined(__x86_64__)

// Saves what a function must preserve, swaps the stacks, restores what the other side had saved.
__asm__(R"(
    .text
    .globl gpunn_switch
    .hidden gpunn_switch
    .type gpunn_switch, @function
    .globl gpunn_switch_arrive
    .hidden gpunn_switch_arrive
gpunn_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
gpunn_switch_arrive:
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size gpunn_switch, .-gpunn_switch
)");

#endif
