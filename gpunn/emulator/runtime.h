// runtime.h: the emulator's C interface, seen from both sides.
//
// Kernels (through cuda.h) call the functions of the first part; Python (through ctypes, launch.py)
// fills in the structures of the second part and calls gpunn_emulator_launch. Besides these, kernels
// call the `__tsan_*` and `__ubsan_*` hooks that g++ puts before every memory access (hooks.cpp).
#pragma once

#include <stdint.h>

extern "C" {

// ---- called by kernels --------------------------------------------------------------------------------

// Positions: `line` and `file` are those of the call in the kernel's source, for messages.

enum {
    gpunn_emulator_sync,
    gpunn_emulator_sync_or,
    gpunn_emulator_sync_and,
    gpunn_emulator_sync_count,
};
// __syncthreads and its kin: waits for all threads of the block, returns the combined predicate.
int gpunn_emulator_barrier(int operation, int predicate, int line, const char* file);
// Waits for the lanes of `mask`; orders the memory accesses of those lanes.
void gpunn_emulator_sync_warp(unsigned mask, int line, const char* file);
// Waits for the lanes of `mask`; returns their operands, `bytes` apart, indexed by lane. Orders nothing.
const void* gpunn_emulator_exchange_bytes(unsigned operation, unsigned mask, const void* operand,
                                          unsigned bytes, int line, const char* file);
// Stops the launch unless `lane` is one of those that took part in the exchange.
void gpunn_emulator_require_lane(unsigned mask, int lane, int line, const char* file);
int gpunn_emulator_lane(void);
unsigned gpunn_emulator_lanes(void);        // the lanes that this warp has (a bit each)
unsigned gpunn_emulator_active_mask(void);  // those of them that have not returned
void gpunn_emulator_fence(int line, const char* file);
// Announces an atomic read-modify-write of `bytes` at `address`, which the caller then does.
void gpunn_emulator_atomic(const void* address, unsigned bytes, int line, const char* file);
// cp.async: the first `valid` of `bytes` bytes are copied, the others become zero. The copy joins the thread's
// open group, which commit closes; what it brings is there when the thread has waited until at most
// `groups` of its closed groups, the latest, are on their way.
void gpunn_emulator_copy(void* shared, const void* global, unsigned bytes, int valid, int line, const char* file);
void gpunn_emulator_copy_commit(void);
void gpunn_emulator_copy_wait(unsigned groups, int line, const char* file);
// Announces the load of a 16-byte row for ldmatrix: stops the launch unless it lies in shared memory. `read` is 0
// for a lane whose row nobody asks for.
void gpunn_emulator_matrix_row(const void* row, int read, int line, const char* file);
// Announces that the lane receives these four bytes of another lane's row.
void gpunn_emulator_matrix_part(const void* part, int line, const char* file);
// 16-byte aligned (in fact 128), as many bytes as the launch asked for.
void* gpunn_emulator_dynamic_shared(void);
[[noreturn]] void gpunn_emulator_stop(const char* kind, const char* detail, int line, const char* file);

// ---- what a compiled module exports, as `gpunn_emulator_module` ---------------------------------------

struct gpunn_emulator_kernel {
    const char* name;
    void (*call)(void** arguments);
    int32_t count;                  // of parameters
    const uint32_t* sizes;          // sizeof each
    const unsigned char* pointers;  // 1 where the parameter is a pointer
    uint32_t most_threads;          // in a block, as its __launch_bounds__ say; 0 without
};
struct gpunn_emulator_array {  // one __shared__ array, from the table that build.py appends
    char* address;
    uint64_t bytes;
    const char* name;  // mangled
};
struct gpunn_emulator_module_info {
    const gpunn_emulator_kernel* kernels;
    uint64_t kernel_count;
    char *shared_start, *shared_stop;  // the section with all __shared__ arrays and their guard zones
    const gpunn_emulator_array *arrays_start, *arrays_stop;
    const uint64_t* static_shared;  // bytes of each kernel's __shared__ variables, counted by build.py
};

// ---- called by Python ---------------------------------------------------------------------------------

enum { gpunn_emulator_in, gpunn_emulator_out, gpunn_emulator_inout };
enum { gpunn_emulator_forward, gpunn_emulator_reverse, gpunn_emulator_shuffled };

struct gpunn_emulator_buffer {  // memory that the launch may reach; no two overlap
    uint64_t address, bytes;
    uint32_t item_bytes;  // to count elements in messages
    uint32_t access;      // gpunn_emulator_in, _out, _inout
    const char* name;
};
struct gpunn_emulator_python {  // of the interpreter that launches; it holds the interpreter's lock then
    void* (*save_thread)(void);        // PyEval_SaveThread
    void (*restore_thread)(void*);     // PyEval_RestoreThread
    int (*check_signals)(void);        // PyErr_CheckSignals: not 0 if a handler raised
};
struct gpunn_emulator_request {
    const gpunn_emulator_module_info* module;
    const gpunn_emulator_kernel* kernel;
    void** arguments;
    const gpunn_emulator_buffer* buffers;
    uint32_t buffer_count;
    uint32_t grid[3], block[3];
    uint32_t shared_bytes;
    uint32_t order;
    uint64_t seed;
    const uint32_t* blocks;  // those to run, by their linear numbers, on outputs as they are; null: all
    uint64_t block_count;
    uint32_t counting;  // of a module that was compiled for it: gpunn_emulator_counts tells what came out
    uint64_t time_limit;  // nanoseconds of processor time without progress (faults.h); 0: none
    gpunn_emulator_python python;
};
struct gpunn_emulator_finding {
    char kind[32];
    char detail[512];
    char file[256];  // empty where only `offset` tells the place
    int32_t line;
    uint64_t offset;  // of the instruction, from the start of the module; 0 if `line` is set
    uint64_t caller;  // likewise, where nothing is known of `offset`
    uint32_t block[3], thread[3];
};

// In the order of Operation (state.h), the first six.
enum {
    gpunn_emulator_global_load, gpunn_emulator_global_store, gpunn_emulator_global_atomic,
    gpunn_emulator_shared_load, gpunn_emulator_shared_store, gpunn_emulator_shared_atomic,
    gpunn_emulator_branch, gpunn_emulator_barrier_wait, gpunn_emulator_collective,
};
struct gpunn_emulator_count {  // one place in the source, over a launch (counts.cpp)
    uint64_t offset;           // of the instruction, from the start of the module; 0 if `line` is set
    const char *file, *array;  // array: the one that is accessed, by its argument's name
    int32_t line;
    uint32_t kind;
    uint64_t executions, lanes;  // by a warp, and the lanes that took part in all of them
    uint64_t asked, least;       // sectors of global memory, passes of shared memory; branch: how many diverged, and 0
};

// Runs one launch. Returns 0, or 1 with `finding` filled in, unless a handler of signals has raised, which then is
// the interpreter's current exception. Not reentrant: the caller holds a lock, and the interpreter's.
int gpunn_emulator_launch(const gpunn_emulator_request* request, gpunn_emulator_finding* finding);
// To be called in a child process that was forked.
void gpunn_emulator_after_fork(void);
// What the last launch counted, if it did; valid until the next one.
uint64_t gpunn_emulator_counts(const gpunn_emulator_count** rows);
// sizeof the structures above, so that a Python declaration that has drifted is noticed.
uint64_t gpunn_emulator_layout(void);

}  // extern "C"
