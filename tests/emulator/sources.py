"""The kernel files of these tests as text that compiles on its own."""

from __future__ import annotations

import re
from pathlib import Path

from gpunn.gpu.launcher import kernel_folder

DYNAMIC_SHARED = (
    "#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(gpunn_emulator_dynamic_shared())"
)
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


def with_headers(text: str, name: str) -> str:
    """Return ``text`` with the product's headers in place of their ``#include``, as the launcher does it."""

    def header(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 2
        body = with_headers((kernel_folder() / match[1]).read_text(encoding="utf-8"), match[1])
        return f'{body}\n#line {line} "{name}"'

    return f'#line 1 "{name}"\n' + _INCLUDE.sub(header, text)


def read_kernels(path: Path) -> str:
    """Return a file of kernels for the emulator."""
    return f"{DYNAMIC_SHARED}\n" + with_headers(path.read_text(encoding="utf-8"), path.name)
