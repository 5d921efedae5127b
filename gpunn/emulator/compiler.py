"""Runs g++, with limits of time, memory and output, and leaves none of its processes behind."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from gpunn.emulator.limits import compile_megabytes, compile_seconds
from gpunn.errors import KernelError

_MESSAGE_LENGTH = 4000  # of g++'s output: what comes later mostly follows from what came first
_WALL = 5  # times the limit of processor time: for a compiler that waits instead of working
_MOST_OUTPUT = 1 << 20  # blocks of 512 bytes that any file may have
# The limits are set by a shell, because Python may not run code of its own between fork and exec where it has threads.
# Soft ones, and none where the user's are lower already.
_LIMITED = 'for limit in "-t $1" "-v $2" "-f $3"; do ulimit -S $limit 2>/dev/null; done; shift 3; exec g++ "$@"'
_OUT_OF_MEMORY = ("out of memory", "virtual memory exhausted", "annot allocate memory", "memory exhausted", "bad_alloc")


class CompilerStopped(KernelError):
    """g++ reached a limit. Trying again would reach it again."""


def run_compiler(arguments: list[str], folder: Path, what: str) -> None:
    """Run g++ in ``folder``. Its output becomes the error's message and never reaches the console.

    Raises
    ------
    CompilerStopped
        If it took too much time, memory or room for files.
    KernelError
        If it refused.
    """
    seconds, megabytes = compile_seconds(), compile_megabytes()
    limits = [str(seconds or "unlimited"), str(megabytes * 1024 or "unlimited"), str(_MOST_OUTPUT)]
    output = folder / "messages"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["sh", "-c", _LIMITED, "sh", *limits, *arguments],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            # A group of its own: g++ is ended with the compilers that it runs, and Ctrl-C comes to Python alone.
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(_WALL * seconds if seconds else None)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if status == 0:
        return
    with output.open("rb") as file:
        message = file.read(_MESSAGE_LENGTH).decode(errors="replace").strip()
    if status is None or "CPU time limit exceeded" in message:
        raise CompilerStopped(
            f"{what}: g++ did not end within {seconds} s of processor time: templates or constant expressions without "
            "end? GPUNN_EMULATOR_COMPILE_SECONDS sets the limit; 0 is none."
        )
    if any(words in message for words in _OUT_OF_MEMORY):
        raise CompilerStopped(
            f"{what}: g++ needs more than {megabytes} MB of memory: arrays, macros or templates of exponential size? "
            "GPUNN_EMULATOR_COMPILE_MB sets the limit; 0 is none."
        )
    if "File size limit exceeded" in message or status == -signal.SIGXFSZ:
        raise CompilerStopped(f"{what}: g++ wrote a file of more than {_MOST_OUTPUT >> 11} MB, and was stopped.")
    raise KernelError(f"{what} does not compile for the emulator:\n{message}")
