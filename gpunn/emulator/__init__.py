"""Runs CUDA kernels on the CPU, one fiber per thread, and finds faults in them.

`compile_module` compiles the text of a ``.cu`` file with g++; `Module.launch` runs one of its kernels on
NumPy arrays. The first fault ends the launch with an `EmulatorFinding` that names the line, the block and
the thread. It finds

- races on shared and global memory, between threads, warps and blocks, whatever the resulting numbers;
- barriers that some threads do not reach, and warp collectives that some lanes do not;
- asynchronous copies (cp.async) whose memory is used before they are waited for: they arrive as late as allowed;
- accesses outside the arrays, reads of unwritten memory, writes to inputs, misaligned accesses,
  integer division by zero, shifts by more bits than there are;
- stacks that overflow and local arrays that are written past their end, calls of no function, endless loops,
  failed asserts, ``abort`` and ``exit``, what printf cannot print, places that were declared unreachable;
- launches that a GPU refuses: too many threads, more shared memory than a block has. Functions of the host
  and static variables that code initialises do not compile.

Python lives through all of these, and through Ctrl-C, which ends a launch as it ends any other work. Limits, in
environment variables (0: none): ``GPUNN_EMULATOR_SECONDS`` (5), the processor time for which a thread may run without
returning or waiting for others; for g++ ``GPUNN_EMULATOR_COMPILE_SECONDS`` (9) of processor time for one step of one
file, and ``GPUNN_EMULATOR_COMPILE_MB`` (4096) of address space.

Not found: an access that leaves one array and lands inside another (``__shared__`` arrays are between
128-byte guard zones, and indices into them are checked against their declared bounds too; arguments
are wherever NumPy put them); reads of uninitialised registers; wrong use of memory ordering beyond
"fence, atomic, fence"; the order in which a GPU adds up within one matrix product; a shuffle that
relies on lanes of a diverged warp running together; what assembly code does. Blocks run one after another, so
waiting for another block is an endless loop here. Registers and speed need a GPU.

Inside `counting()` it also counts what a profiler would: how well accesses are coalesced, bank conflicts, branches
that diverge.
"""

from gpunn.emulator.build import available
from gpunn.emulator.counts import Counts, KernelCount, LineCount, counting
from gpunn.emulator.findings import EmulatorFinding
from gpunn.emulator.launch import Argument, Module, compile_module, only_blocks, schedule

__all__ = [
    "Argument", "Counts", "EmulatorFinding", "KernelCount", "LineCount", "Module", "available", "compile_module",
    "counting", "only_blocks", "schedule",
]  # fmt: skip
