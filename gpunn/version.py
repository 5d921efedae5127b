"""The version, and that of CUDA, under the names of ``torch.version``."""

from __future__ import annotations

from typing import Any

from gpunn._version import __version__

__all__ = ["__version__", "debug", "git_version", "hip"]

debug = False
git_version = "unknown"  # a release does not record its commit
hip = None


def __getattr__(name: str) -> Any:
    """``cuda``: the version of the CUDA runtime that CuPy uses, such as "12.9"; None without CuPy or a GPU."""
    if name != "cuda":
        raise AttributeError(f"module 'gpunn.version' has no attribute {name!r}")
    from gpunn.cuda import is_available

    if not is_available():
        return None
    from gpunn._device import device

    number = device("cuda").xp.cuda.runtime.runtimeGetVersion()
    return f"{number // 1000}.{number % 1000 // 10}"
