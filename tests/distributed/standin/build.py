"""Compile the stand-in for NCCL (``nccl.cpp``), and what a program needs in its environment to use it.

python -m tests.distributed.standin.build     prints that, for a shell
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("nccl.cpp")
_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-pthread")


def missing() -> str | None:
    """Why it cannot be compiled here, or None."""
    return None if shutil.which("g++") else "the stand-in for NCCL needs g++"


def library() -> Path:
    """``libnccl.so.2``, compiled when it or its source is new."""
    key = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpunn" / "nccl"
    made = cache / key / "libnccl.so.2"
    if not made.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            target = Path(folder) / made.name
            command = ["g++", *_FLAGS, "-Wl,-soname,libnccl.so.2", str(_SOURCE), "-o", str(target), "-ldl", "-lrt"]
            subprocess.run(command, check=True)
            made.parent.mkdir(exist_ok=True)
            target.replace(made)  # at once: another process may compile it too
    return made


def environment() -> dict[str, str]:
    """What has to be set, with what is set there now.

    The library is loaded before all others, since CuPy prefers NVIDIA's where that is installed as a package.
    """
    return {"LD_PRELOAD": ":".join(filter(None, [str(library()), os.environ.get("LD_PRELOAD")]))}


if __name__ == "__main__":
    for name, value in environment().items():
        print(f"export {name}={value!r}")
