// host_calls.cpp: functions of the C library that kernels may call, or call by mistake.
//
// A kernel is linked against the runtime and the mathematical functions, with --wrap for the names here; any other
// function of the host is refused when it is linked (rules.py). None of these may end the process, nor hold a
// lock of the C library when it faults or is left: printf is formatted here, after its arguments have been checked.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "state.h"

using namespace gpunn;

#define HERE u64(__builtin_return_address(0))

namespace {

Access call(u64 pc) { return Access{0, 0, Operation::read, pc, 0, nullptr}; }

// Every function here begins so, and may then go on to take locks.
void enter(const Access& access) {
    if (watch.attention) pause(access);
    require_stack(access);
}

void check_range(const void* pointer, size_t size, Operation operation, u64 pc) {
    if (!size) return;
    const Access access{u64(pointer), u32(size < ~u32(0) ? size : ~u32(0)), operation, pc, 0, nullptr};
    enter(access);
    check(find(access), access);
}

[[noreturn]] void refuse(u64 pc, const char* name) {
    fail(call(pc), "host-call", "%s calls %s: it would end the whole process", thread_text(~0u, state.thread).data, name);
}

// The text must end within the array that it begins in. Returns its length.
size_t check_text(const char* text, u64 pc) {
    const Access first{u64(text), 1, Operation::read, pc, 0, nullptr};
    Region& region = find(first);
    check(region, first);
    const size_t room = size_t(region.low + region.size - u64(text)), length = strnlen(text, room);
    if (length == room) fail_outside(Access{region.low + region.size, 1, Operation::read, pc, 0, nullptr});
    return length;
}

constexpr long widest = 1024;
char printed[8192];  // one launch at a time

void check_number(u64 pc, long number) {
    if (number > widest || number < -widest)
        fail(call(pc), "printf", "%s: printf with a width or precision of %ld; expected at most %ld",
             thread_text(~0u, state.thread).data, number, widest);
}

// Digits, or the * that stands for an argument.
const char* check_width(const char* at, va_list* arguments, u64 pc) {
    if (*at == '*') {
        check_number(pc, va_arg(*arguments, int));
        return at + 1;
    }
    long number = 0;
    for (; *at >= '0' && *at <= '9'; ++at)
        if (number <= widest) number = number * 10 + (*at - '0');
    check_number(pc, number);
    return at;
}

// Walks through the arguments as printf will.
void check_format(const char* format, va_list* arguments, u64 pc) {
    for (const char* at = format; (at = strchr(at, '%')); ++at) {
        ++at;
        at += strspn(at, "-+ #0");
        at = check_width(at, arguments, pc);
        if (*at == '.') at = check_width(at + 1, arguments, pc);
        const size_t length = strspn(at, "hlqjztL");
        const bool wide = length && *at != 'h', too_wide = length && *at == 'L';
        at += length;
        if (*at == '%') continue;
        if (*at && strchr("diouxXc", *at)) {
            if (wide)
                va_arg(*arguments, long);
            else
                va_arg(*arguments, int);
        } else if (*at && strchr("eEfFgGaA", *at) && !too_wide) {
            va_arg(*arguments, double);
        } else if (*at == 'p') {
            va_arg(*arguments, void*);
        } else if (*at == 's' && !wide) {
            check_text(va_arg(*arguments, const char*), pc);
        } else {
            fail(call(pc), "printf", "%s: printf knows no conversion %%%.*s%c", thread_text(~0u, state.thread).data,
                 int(length < 8 ? length : 8), at - length, *at ? *at : ' ');
        }
    }
}

}  // namespace

// Calls that g++ leaves or makes of larger copies.
EXPORTED void* __wrap_memcpy(void* to, const void* from, size_t size) {
    check_range(from, size, Operation::read, HERE);
    check_range(to, size, Operation::write, HERE);
    return memcpy(to, from, size);
}
EXPORTED void* __wrap_memmove(void* to, const void* from, size_t size) {
    check_range(from, size, Operation::read, HERE);
    check_range(to, size, Operation::write, HERE);
    return memmove(to, from, size);
}
EXPORTED void* __wrap_memset(void* to, int value, size_t size) {
    check_range(to, size, Operation::write, HERE);
    return memset(to, value, size);
}
EXPORTED int __wrap_memcmp(const void* a, const void* b, size_t size) {
    check_range(a, size, Operation::read, HERE);
    check_range(b, size, Operation::read, HERE);
    return memcmp(a, b, size);
}

EXPORTED int __wrap_printf(const char* format, ...) {
    enter(call(HERE));
    check_text(format, HERE);
    va_list arguments;
    va_start(arguments, format);
    check_format(format, &arguments, HERE);
    va_end(arguments);
    va_start(arguments, format);
    const int length = vsnprintf(printed, sizeof printed, format, arguments);
    va_end(arguments);
    if (length > 0) fwrite(printed, 1, size_t(length) < sizeof printed ? size_t(length) : sizeof printed - 1, stdout);
    return length;
}
EXPORTED int __wrap_puts(const char* text) {
    enter(call(HERE));
    const size_t length = check_text(text, HERE);
    fwrite(text, 1, length, stdout);
    return putc('\n', stdout);
}
EXPORTED int __wrap_putchar(int character) {
    enter(call(HERE));
    return putc(character, stdout);
}

EXPORTED [[noreturn]] void __wrap_abort() { refuse(HERE, "abort()"); }
EXPORTED [[noreturn]] void __wrap_exit(int) { refuse(HERE, "exit()"); }
EXPORTED [[noreturn]] void __wrap__exit(int) { refuse(HERE, "_exit()"); }
EXPORTED [[noreturn]] void __wrap__Exit(int) { refuse(HERE, "_Exit()"); }
EXPORTED [[noreturn]] void __wrap_quick_exit(int) { refuse(HERE, "quick_exit()"); }
EXPORTED [[noreturn]] void __wrap___cxa_pure_virtual() {
    fail(call(HERE), "fault", "%s calls a virtual function that has no body", thread_text(~0u, state.thread).data);
}
EXPORTED [[noreturn]] void __wrap___assert_fail(const char* condition, const char* file, unsigned line, const char*) {
    fail(Access{0, 0, Operation::read, 0, int(line), file}, "assert", "assertion failed: %s in %s", condition,
         thread_text(~0u, state.thread).data);
}
EXPORTED [[noreturn]] void __wrap___stack_chk_fail() {
    fail(call(HERE), "stack-smashed", "%s has written past the end of a local array of the function that ends here",
         thread_text(~0u, state.thread).data);
}
