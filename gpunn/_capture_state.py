"""The step that this thread is capturing, or watching just before that: the one flag that everything consults.

This module stands alone, so that devices, tensors, primitives and launches can all import it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from gpunn.errors import CaptureError


class StepWatch:
    """What a step uses, noted while it runs for the first time and again while it is captured.

    Attributes
    ----------
    device : Device
    modules : list of Module
        The outermost modules called, in order.
    leaves : list of Tensor
        Leaves that got a gradient and do not count changes themselves, as parameters do.
    frozen : bool
        Whether the step is being captured: nothing runs now, and arguments are frozen. False in the first run,
        which executes everything.
    before_replay : dict
        By owner: what has to be done before each replay.
    calls : dict
        Dropout masks drawn from each generator.
    gradients : dict
        By a leaf's id: the leaf, and the gradient array that the step leaves behind.
    accumulated : list
        Leaves, each with the gradient array from before the step that the step adds to.
    postponed : list
        Launches that wait for the replay, where the loader has to keep them itself (on the emulator).
    rooms : dict
        The captured function's own arrays for what changes before each replay, by shape and dtype: made in its first
        run, outside of the graph's memory.
    tickets : array or None
        The counters of this graph's split sums (``gpu/tickets.py``): it may be replayed on any stream.
    """

    def __init__(
        self,
        device: Any,
        modules: list[Any],
        leaves: list[Any],
        *,
        frozen: bool,
        rooms: dict[Any, list[Any]] | None = None,
    ) -> None:
        self.device = device
        self.modules = modules
        self.leaves = leaves
        self.frozen = frozen
        self.before_replay: dict[Any, Callable[[], None]] = {}
        self.calls: dict[Any, int] = {}
        self.gradients: dict[int, tuple[Any, Any]] = {}
        self.accumulated: list[tuple[Any, Any]] = []
        self.postponed: list[Any] = []
        self.tickets: Any = None
        self.rooms = {} if rooms is None else rooms
        self._asked: dict[Any, int] = {}

    def room(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """The next array of this physical shape for what changes before each replay."""
        key = self.device, shape, dtype
        number = self._asked.get(key, 0)
        self._asked[key] = number + 1
        rooms = self.rooms.setdefault(key, [])
        if number == len(rooms):
            refuse_in_capture(
                f"more numbers of the host's, of shape {shape}, than the step's first run made",
                "Have the step do the same work every time.",
            )
            rooms.append(self.device.zeros(shape, dtype))
        return rooms[number]

    def note_module(self, module: Any) -> None:
        """Note an outermost module when it is called."""
        if not any(module is known for known in self.modules):
            self.modules.append(module)

    def note_leaf(self, leaf: Any) -> None:
        """Note a leaf when a gradient reaches it."""
        if not leaf._counts_changes and not any(leaf is known for known in self.leaves):
            self.leaves.append(leaf)


class _Changes:
    """Counts what may make a captured graph wrong: changes of modules, of parameters, of what optimisers keep.

    While the count stands still, a graph that was right is right, and nothing has to be looked through.

    Attributes
    ----------
    count : int
        Of all such changes.
    layers : int
        Of changes to the attributes and hooks of modules, on which the fusing of neighbours depends.
    """

    __slots__ = ("count", "layers")

    def __init__(self) -> None:
        self.count = 0
        self.layers = 0


changes = _Changes()


class _State(threading.local):
    def __init__(self) -> None:
        self.watch: StepWatch | None = None


_state = _State()


def watching() -> StepWatch | None:
    """The step that this thread is watching or capturing, if any."""
    return _state.watch


def capturing() -> StepWatch | None:
    """The step that this thread is capturing, if any: launches do not run now."""
    watch = _state.watch
    return watch if watch is not None and watch.frozen else None


@contextlib.contextmanager
def watched_by(watch: StepWatch) -> Iterator[None]:
    """Let ``watch`` note what this thread's computation uses."""
    outer, _state.watch = _state.watch, watch
    try:
        yield
    finally:
        _state.watch = outer


def refuse_in_capture(what: str, instead: str = "Return the tensor from the step and read it outside.") -> None:
    """Raise CaptureError if a step is being captured; ``what`` says what a graph cannot repeat."""
    if capturing() is not None:
        raise CaptureError(f"{what} inside a captured step: its result would be frozen at the capture. {instead}")
