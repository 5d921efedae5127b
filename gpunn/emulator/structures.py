"""The structures of runtime.h, as ctypes knows them."""

from __future__ import annotations

import ctypes
import functools

from gpunn.emulator import counts


class Kernel(ctypes.Structure):
    """``gpunn_emulator_kernel``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("count", ctypes.c_int32),
        ("sizes", ctypes.POINTER(ctypes.c_uint32)),
        ("pointers", ctypes.POINTER(ctypes.c_ubyte)),
        ("most_threads", ctypes.c_uint32),
    ]


class ModuleInfo(ctypes.Structure):
    """``gpunn_emulator_module_info``."""

    _fields_ = [
        ("kernels", ctypes.POINTER(Kernel)),
        ("kernel_count", ctypes.c_uint64),
        ("shared_start", ctypes.c_void_p),
        ("shared_stop", ctypes.c_void_p),
        ("arrays_start", ctypes.c_void_p),
        ("arrays_stop", ctypes.c_void_p),
        ("static_shared", ctypes.POINTER(ctypes.c_uint64)),
    ]


class Buffer(ctypes.Structure):
    """``gpunn_emulator_buffer``."""

    _fields_ = [
        ("address", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("item_bytes", ctypes.c_uint32),
        ("access", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
    ]


class Python(ctypes.Structure):
    """``gpunn_emulator_python``."""

    _fields_ = [
        ("save_thread", ctypes.c_void_p),
        ("restore_thread", ctypes.c_void_p),
        ("check_signals", ctypes.c_void_p),
    ]


class Request(ctypes.Structure):
    """``gpunn_emulator_request``."""

    _fields_ = [
        ("module", ctypes.POINTER(ModuleInfo)),
        ("kernel", ctypes.POINTER(Kernel)),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("buffers", ctypes.POINTER(Buffer)),
        ("buffer_count", ctypes.c_uint32),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint32),
        ("order", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
        ("blocks", ctypes.POINTER(ctypes.c_uint32)),
        ("block_count", ctypes.c_uint64),
        ("counting", ctypes.c_uint32),
        ("time_limit", ctypes.c_uint64),
        ("python", Python),
    ]


class Finding(ctypes.Structure):
    """``gpunn_emulator_finding``."""

    _fields_ = [
        ("kind", ctypes.c_char * 32),
        ("detail", ctypes.c_char * 512),
        ("file", ctypes.c_char * 256),
        ("line", ctypes.c_int32),
        ("offset", ctypes.c_uint64),
        ("caller", ctypes.c_uint64),
        ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32 * 3),
    ]


def layout() -> int:
    """What ``gpunn_emulator_layout`` returns, if the structures here are those there."""
    structures = ((Kernel, 0), (ModuleInfo, 8), (Buffer, 16), (Request, 24), (Finding, 40), (counts.Row, 56))
    return sum(ctypes.sizeof(structure) << shift for structure, shift in structures)


@functools.cache
def python() -> Python:
    """The functions of this interpreter that the runtime calls."""
    names = ("PyEval_SaveThread", "PyEval_RestoreThread", "PyErr_CheckSignals")
    return Python(*[ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p) for name in names])
