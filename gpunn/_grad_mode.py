"""Whether ops are recorded: ``no_grad`` and its relatives, as blocks and as decorators, each thread for itself."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from gpunn.errors import UsageError


class _Mode(threading.local):
    def __init__(self) -> None:
        self.enabled = True
        self.observer: Any = None  # of ``tape.observe_backward``
        self.walk: Any = None  # the backward pass that runs now
        self.reducers: tuple[Any, ...] = ()  # what averages the next backward pass's gradients over processes


grad_mode = _Mode()


class _GradMode:
    """A block, or decorated function, in which recording is on or off."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        # By thread, as several may be in blocks of one object at once; in each the mode outside, innermost last.
        self._outer: dict[int, list[bool]] = {}

    def __enter__(self) -> None:
        self._outer.setdefault(threading.get_ident(), []).append(grad_mode.enabled)
        grad_mode.enabled = self._enabled

    def __exit__(self, *exc: object) -> None:
        thread = threading.get_ident()
        outer = self._outer.get(thread)
        if outer is None:  # entered in another thread, by a generator that this one finishes; nothing changed here
            return
        grad_mode.enabled = outer.pop()
        if not outer:
            del self._outer[thread]

    def __call__(self, function: Any) -> Any:
        """Decorate ``function``: ops are recorded, or not, while it runs.

        Between the yields of a generator, and while a coroutine waits, the mode is that of whoever runs then.

        Raises
        ------
        UsageError
            If it is a class, of which it is not clear what should be decorated.
        """
        from gpunn._decorated import decorated

        return decorated(function, functools.partial(_GradMode, self._enabled), type(self).__name__)


class _PlainGradMode(_GradMode):
    """A mode that also decorates without parentheses."""

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class no_grad(_PlainGradMode):
    """Within this block (or decorated function) nothing is recorded; thread-local, nestable.

    Parameters
    ----------
    function : callable, optional
        What to decorate, by ``@gpunn.no_grad`` as by ``@gpunn.no_grad()``. Generators and coroutines too.
    """

    def __init__(self, function: Any = None) -> None:
        super().__init__(False)


class enable_grad(_PlainGradMode):
    """Within this block (or decorated function) ops are recorded, also inside :class:`no_grad`.

    Parameters
    ----------
    function : callable, optional
        What to decorate, by ``@gpunn.enable_grad`` as by ``@gpunn.enable_grad()``. Generators and coroutines too.
    """

    def __init__(self, function: Any = None) -> None:
        super().__init__(True)


class inference_mode(_GradMode):
    """Within this block (or decorated function) nothing is recorded, as within :class:`no_grad`.

    PyTorch marks tensors that are made in it, which then may not be used in recorded ops. Here they may.

    Parameters
    ----------
    mode : bool
        Whether to record nothing; with False ops are recorded. Or a function to decorate, without parentheses.

    Raises
    ------
    UsageError
        If ``mode`` is neither a bool nor a function.
    """

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool | np.bool_) or not callable(mode) else cls()(mode)

    def __init__(self, mode: Any = True) -> None:
        if not isinstance(mode, bool | np.bool_):
            raise UsageError(f"inference_mode: mode: expected True or False; got {mode!r}.")
        super().__init__(not mode)


class set_grad_enabled(_GradMode):
    """Record ops or not, from now on, or for a block when used with ``with``.

    Parameters
    ----------
    mode : bool
        Whether to record.

    Raises
    ------
    UsageError
        If ``mode`` is not a bool.
    """

    def __init__(self, mode: bool | np.bool_) -> None:
        if not isinstance(mode, bool | np.bool_):
            raise UsageError(
                f"set_grad_enabled: mode: expected True or False; got {mode!r}. Decorate by @set_grad_enabled(False)."
            )
        super().__init__(bool(mode))
        super().__enter__()
        self._entered_in: int | None = threading.get_ident()  # the thread in which the constructor began the block

    def __enter__(self) -> None:
        if self._entered_in == threading.get_ident():  # the end of the block restores the mode from before it
            self._entered_in = None
        else:
            super().__enter__()

    def __call__(self, function: Any) -> Any:
        """Decorate ``function``: ops are recorded, or not, while it runs."""
        if self._entered_in == threading.get_ident():  # decorating a function leaves the mode outside it alone
            self._entered_in = None
            self.__exit__()
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return grad_mode.enabled
