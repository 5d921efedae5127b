"""``torch.compiler``'s names: nothing is compiled, and asking so says no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunn._calls import explains_all
from gpunn.jit import compile_ as compile

__all__ = ["compile", "disable", "is_compiling", "is_dynamo_compiling", "reset"]


def is_compiling() -> bool:
    """False: nothing is compiled."""
    return False


def is_dynamo_compiling() -> bool:
    """False: nothing is compiled."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """``fn`` as it is: a decorator that tells PyTorch's compiler to leave a function out.

    Parameters
    ----------
    fn : function, optional
        If not given, a decorator is returned.
    recursive, reason
        Change nothing.
    """
    return _same if fn is None else fn


def _same(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


def reset() -> None:
    """Nothing: there is nothing to forget."""


explains_all(globals())
