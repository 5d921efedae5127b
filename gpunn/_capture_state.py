"""The step that this thread captures as a graph, or watches just before that: the one flag that all layers ask.

This stands by itself, so that devices, tensors, primitives and launches can all look here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gpunn.errors import CaptureError


class StepWatch:
    """What a step makes use of, noted while it runs for the first time and again while it is captured.

    Attributes
    ----------
    device : Device
    modules : list of Module
        The outermost modules called, in order.
    frozen : bool
        Whether it is being captured: nothing runs now, and arguments are frozen. False in the first run, where
        everything really happens.
    before_replay : dict
        What has to be done before each replay, by its owner.
    calls : dict
        Dropout masks drawn from each generator.
    gradients : dict
        By a leaf's id: the leaf, and the gradient array that the step leaves behind.
    accumulated : list
        Leaves with the gradient array, from before the step, that it adds to.
    postponed : list
        Launches that wait for the replay, where the loader has to keep them itself (the emulator's).
    """

    def __init__(self, device: Any, modules: list[Any], *, frozen: bool) -> None:
        self.device = device
        self.modules = modules
        self.frozen = frozen
        self.before_replay: dict[Any, Callable[[], None]] = {}
        self.calls: dict[Any, int] = {}
        self.gradients: dict[int, tuple[Any, Any]] = {}
        self.accumulated: list[tuple[Any, Any]] = []
        self.postponed: list[Any] = []

    def note_module(self, module: Any) -> None:
        """Note an outermost module when it is called."""
        if not any(module is known for known in self.modules):
            self.modules.append(module)


class _State(threading.local):
    def __init__(self) -> None:
        self.watch: StepWatch | None = None


_state = _State()


def watching() -> StepWatch | None:
    """The step of this thread that is watched or captured, if any."""
    return _state.watch


def capturing() -> StepWatch | None:
    """The step of this thread that is being captured, if any: launches do not run now."""
    watch = _state.watch
    return watch if watch is not None and watch.frozen else None


@contextlib.contextmanager
def watched_by(watch: StepWatch) -> Iterator[None]:
    """Let ``watch`` note what this thread's computation makes use of."""
    outer, _state.watch = _state.watch, watch
    try:
        yield
    finally:
        _state.watch = outer


def refuse_in_capture(what: str) -> None:
    """Raise CaptureError if a step is being captured; ``what`` says what a graph cannot repeat."""
    if capturing() is not None:
        raise CaptureError(
            f"{what} inside a captured step: its result would be frozen at the capture. "
            "Return the tensor from the step and read it outside."
        )
