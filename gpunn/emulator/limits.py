"""How long a launch and a compilation may take, and how much memory a compilation: environment variables."""

from __future__ import annotations

import math
import os

from gpunn.errors import KernelError


def launch_seconds() -> float:
    """Processor time that a launch may take without getting on (faults.h says what that is); 0: no limit."""
    return _number("GPUNN_EMULATOR_SECONDS", 5.0)


def compile_seconds() -> int:
    """Processor time of g++ for one step of one file, in whole seconds; 0: no limit."""
    return math.ceil(_number("GPUNN_EMULATOR_COMPILE_SECONDS", 9.0))  # our largest file takes 2.4


def compile_megabytes() -> int:
    """Address space of g++; 0: no limit."""
    return math.ceil(_number("GPUNN_EMULATOR_COMPILE_MB", 4096.0))


def _number(name: str, default: float) -> float:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < 1e9:
        raise KernelError(f"{name}: expected a number from 0 (no limit) to 1e9; got {text!r}")
    return number
