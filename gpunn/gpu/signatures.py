"""Kernels' parameters, read out of their signatures in the ``.cu`` files."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn.errors import KernelError

_SCALARS = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "unsigned int": np.dtype(np.uint32),
    "unsigned char": np.dtype(np.uint8),
    "unsigned short": np.dtype(np.uint16),  # the bits of float16 and bfloat16
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
    "int64": np.dtype(np.int64),  # numbers.cuh: types that REAL may be
    "uint8": np.dtype(np.uint8),
}
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)', re.DOTALL
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# The most that a kernel may count in an int: adding a tile or a chunk of rows before comparing still fits.
# Offsets of elements are 64 bits wide in all kernels.
INT_MOST = 2**31 - 2**22


@dataclass(frozen=True)
class Parameter:
    """One kernel parameter as its signature declares it. ``dtype`` None means a struct, any bytes."""

    name: str
    dtype: np.dtype | None
    pointer: bool
    access: str  # "in", "out" or "inout"

    @functools.cached_property
    def limits(self) -> tuple[int, int] | None:
        """The least and the largest integer that may be passed; None for other parameters."""
        if self.pointer or self.dtype is None or self.dtype.kind not in "iu":
            return None
        info = np.iinfo(self.dtype)
        return int(info.min), INT_MOST if self.dtype == np.int32 else int(info.max)


def parse_signatures(source: str, macros: Mapping[str, str]) -> dict[str, tuple[Parameter, ...]]:
    """Read the kernels' names and parameters out of a (flattened) source."""
    types: dict[str, Any] = dict(_SCALARS)
    if "REAL" in macros:
        types["real"] = _SCALARS[macros["REAL"]]
        types["stored"] = types["real"] if macros.get("STORED", "0") == "0" else np.dtype(np.uint16)  # stored.cuh
        types["parameter"] = types["stored" if macros.get("PARAMETERS") == "1" else "real"]
        types["word"] = np.dtype(f"u{types['real'].itemsize}")  # as many bits of no meaning
    if "LABEL" in macros:  # of class indices, by NumPy's name: int32 or int64
        types["label"] = np.dtype(macros["LABEL"])
    if "CODE" in macros:  # of offsets in a window, by NumPy's name: uint8, uint16 or uint32
        types["code"] = np.dtype(macros["CODE"])
    kernels = {}
    for name, text in _KERNEL.findall(_COMMENT.sub(" ", source)):
        parameters = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            words = part.replace("__restrict__", " ").replace("*", " * ").split()
            kind = " ".join(w for w in words[:-1] if w not in ("const", "*", "INOUT"))
            pointer = "*" in words
            if pointer and kind not in types:
                raise KernelError(f"{name}: pointer parameter '{part}' has a type the launcher does not know")
            access = "inout" if "INOUT" in words else "in" if "const" in words or not pointer else "out"
            parameters.append(Parameter(words[-1], types.get(kind), pointer, access))
        kernels[name] = tuple(parameters)
    return kernels
