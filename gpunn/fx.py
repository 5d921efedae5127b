"""A name of PyTorch's for tracing programs: nothing is traced here, and what is marked for that stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gpunn._calls import explains_all
from gpunn.errors import UsageError

__all__ = ["wrap"]

_Marked = TypeVar("_Marked", bound="str | Callable[..., object]")


def wrap(fn_or_name: _Marked) -> _Marked:
    """What it is given: a mark for PyTorch's symbolic tracing, which there is none of here.

    Parameters
    ----------
    fn_or_name : callable or str
        A function, as under a decorator, or the name of one.

    Returns
    -------
    callable or str
        The same.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if not (callable(fn_or_name) or isinstance(fn_or_name, str)):
        raise UsageError(f"fx.wrap: expected a function or the name of one; got {type(fn_or_name).__name__}.")
    return fn_or_name


explains_all(globals())
