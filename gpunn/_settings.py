"""Switches of PyTorch's that programs set at their beginning, each with one position here; and ``torch._assert``."""

from __future__ import annotations

import warnings

from gpunn._tensor import Tensor
from gpunn.errors import UsageError

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_num_interop_threads",
    "set_num_interop_threads",
    "use_deterministic_algorithms",
]

_chosen = {"interop": 1}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing: the same bits come every time in any case.

    Parameters
    ----------
    mode : bool
        False warns that nothing else is faster either.
    warn_only : bool
        Changes nothing.
    """
    if not mode:
        warnings.warn(
            "gpunn.use_deterministic_algorithms(False) changes nothing: the same bits come every time.",
            UserWarning,
            stacklevel=2,
        )


def are_deterministic_algorithms_enabled() -> bool:
    """True: the same bits come every time.

    Returns
    -------
    bool
    """
    return True


def set_num_interop_threads(num: int) -> None:
    """Nothing but keep the number: ops run one after another. ``gpunn.set_num_threads`` sets the threads of an op.

    Parameters
    ----------
    num : int

    Raises
    ------
    UsageError
        If it is no whole number of at least 1.
    """
    if not isinstance(num, int) or isinstance(num, bool) or num < 1:
        raise UsageError(f"set_num_interop_threads: num: expected a whole number of at least 1; got {num!r}.")
    _chosen["interop"] = num


def get_num_interop_threads() -> int:
    """What :func:`set_num_interop_threads` was given last; 1 at first.

    Returns
    -------
    int
    """
    return _chosen["interop"]


def _assert(condition: bool | Tensor, message: str) -> None:
    """Raise AssertionError with ``message`` unless ``condition`` holds; programs call it in forward.

    Parameters
    ----------
    condition : bool or Tensor
        A tensor of one element is read.
    message : str
    """
    if not condition:
        raise AssertionError(message)
