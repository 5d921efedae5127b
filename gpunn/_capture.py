"""A whole step recorded once and replayed: one CUDA-graph launch instead of dozens of kernels.

``step = gpunn.capture(fn)`` runs ``fn`` on devices without kernels. On the others the first call
with given shapes runs as it is (a real training step, which compiles kernels and creates optimiser
buffers), the second is recorded and from then on replayed. A replay repeats *launches*, and
nothing else that ``fn`` did; so

- numbers that change from step to step (learning rate, the place in the random stream) lie in
  :class:`StepScalars` on the device, rewritten before each replay;
- array-library code inside a recorded step raises (``primitive.forbid_plain_bodies``), and so
  does reading a value back;
- a graph belongs to shapes, dtypes, training flags, ``requires_grad`` and the storage of every
  parameter and buffer: change one of them and another graph is recorded.

On the emulator recording and replay work the same way (``loaders``), which is how all this is
tested without a GPU.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunn._device import Device, address_of
from gpunn.errors import CaptureError, UsageError


class Recording:
    """What a step that is being recorded, or watched before that, makes use of."""

    def __init__(self, device: Device, modules: list[Any], *, frozen: bool) -> None:
        self.device = device
        self.modules = modules  # outermost modules called, in order
        self.frozen = frozen  # False in the watched first run, where everything really happens
        self.before_replay: dict[Any, Callable[[], None]] = {}
        self.calls: dict[Any, int] = {}  # masks drawn from each generator
        self.gradients: dict[int, tuple[Any, Any]] = {}  # id: (leaf, gradient array the step leaves behind)
        self.accumulated: list[tuple[Any, Any]] = []  # (leaf, gradient array from before that the step adds to)

    def made(self, leaf: Any) -> bool:
        """Whether the gradient that ``leaf`` has now was made within the step."""
        return id(leaf) in self.gradients and _same(leaf.grad, self.gradients[id(leaf)][1])

    def note_module(self, module: Any) -> None:
        if not any(module is known for known in self.modules):
            self.modules.append(module)


class _Active(threading.local):
    def __init__(self) -> None:
        self.watching: Recording | None = None


_active = _Active()


def watching() -> Recording | None:
    """The step of this thread that is watched or recorded, if any."""
    return _active.watching


def recording() -> Recording | None:
    """The step of this thread that is being recorded, if any: launches do not run now."""
    watched = _active.watching
    return watched if watched is not None and watched.frozen else None


@contextlib.contextmanager
def watched_by(watcher: Recording) -> Iterator[None]:
    """Let ``watcher`` note what this thread's computation makes use of."""
    outer, _active.watching = _active.watching, watcher
    try:
        yield
    finally:
        _active.watching = outer


def refuse_while_recording(what: str) -> None:
    """Raise CaptureError if a step is being recorded; ``what`` says what cannot be recorded."""
    if recording() is not None:
        raise CaptureError(
            f"{what} inside a captured step: its result would be frozen at the recording. "
            "Return the tensor from the step and read it outside."
        )


class StepScalars:
    """A few numbers on a device that change between steps: a device array and its host copy.

    Parameters
    ----------
    device : Device
    dtype : numpy dtype
        float32, float64 or uint64.
    size : int
        How many, at most 8.
    """

    def __init__(self, device: Device, dtype: Any, size: int) -> None:
        refuse_while_recording("making an optimiser's or generator's device words for the first time")
        self.device = device
        self.array = device.zeros((size,), dtype)
        self._current: tuple[Any, ...] = (0,) * size

    def write(self, *values: Any) -> None:
        """Set the numbers, by one launch that carries them by value; nothing if they are the same."""
        if values == self._current:
            return
        from gpunn.ops.scalars import write_scalars

        write_scalars(self.device, self.array, np.array(values, self.array.dtype))
        self._current = values


def capture(fn: Callable[..., Any]) -> CapturedStep:
    """Record ``fn`` on its second call with given shapes and replay it as one launch afterwards.

    Parameters
    ----------
    fn : callable
        Takes tensors (all on one device), may run forward, backward and an optimiser step, and
        returns a Tensor, a tuple of Tensors, or None. It must do the same work every time;
        Python code in it runs only on the first two calls.

    Returns
    -------
    CapturedStep
        Called like ``fn``. On devices without kernels it simply calls ``fn``. A returned tensor
        is overwritten by the next call: read or copy it before.

    Raises
    ------
    CaptureError
        At the recording, if the step reads a value back, or runs an op that has no kernel.
    """
    return CapturedStep(fn)


class CapturedStep:
    """A step made by :func:`capture`; one graph for each combination of shapes, flags and storage."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._modules: list[Any] = []
        self._warm: set[Any] = set()
        self._graphs: dict[Any, _Graph] = {}

    @property
    def graphs(self) -> int:
        """How many graphs have been recorded."""
        return len(self._graphs)

    def __call__(self, *inputs: Any) -> Any:
        from gpunn._tensor import Tensor

        if not inputs or not all(isinstance(t, Tensor) for t in inputs):
            raise UsageError(
                "capture: expected a step that is called with tensors, at least one (they say where it runs, and are "
                f"what changes between replays); got {[type(t).__name__ for t in inputs]}."
            )
        device = inputs[0].device
        if device.loader is None:
            return self._fn(*inputs)
        shapes = (device, *((t.shape, t.dtype.str, t.requires_grad) for t in inputs))
        # What is made once (kernels, constants, a layer's place in the random stream) depends on the modes too.
        if (shapes, _modes_of(self._modules)) not in self._warm:
            with watched_by(Recording(device, self._modules, frozen=False)):
                result = self._fn(*inputs)
            self._warm.add((shapes, _modes_of(self._modules)))  # the first run has made the modules known
            return result
        key = (shapes, *_state_of(self._modules))
        graph = self._graphs.get(key)
        if graph is None or not graph.still_accumulates_into_the_same_storage():
            graph = self._graphs[key] = _Graph(self._fn, inputs, self._modules, device)
        return graph.replay(inputs)


def _modes_of(modules: list[Any]) -> tuple[bool, ...]:
    """Training flags, and which parameters want gradients."""
    inner = [part for module in modules for part in module.modules()]
    wanted = [parameter.requires_grad for module in modules for parameter in module.parameters()]
    return (*(part.training for part in inner), *wanted)


def _state_of(modules: list[Any]) -> tuple[Any, ...]:
    """What a graph depends on besides its inputs: flags, and where parameters and buffers lie."""
    state: list[Any] = []
    for module in modules:
        state += [inner.training for inner in module.modules()]
        for tensor in (*module.parameters(), *module.buffers()):
            wants = tensor.requires_grad
            state.append((address_of(tensor.array), wants, wants and tensor.grad is None))
    return tuple(state)


class _Graph:
    """One recorded step with its input buffers."""

    def __init__(self, fn: Callable[..., Any], inputs: tuple[Any, ...], modules: list[Any], device: Device) -> None:
        from gpunn._tensor import Tensor
        from gpunn.primitive import forbid_plain_bodies

        self._device = device
        # The step reads its batch from these for ever; every replay copies the new batch in.
        self._inputs = [
            Tensor(device.array(np.empty(t.shape, t.dtype)), device, requires_grad=t.requires_grad) for t in inputs
        ]
        self._recording = Recording(device, modules, frozen=True)
        with watched_by(self._recording), forbid_plain_bodies(), device.active():
            self._graph, self._result = device.loader.record(lambda: fn(*self._inputs))

    @property
    def launches(self) -> Any:
        """The recorded launches (emulator only)."""
        return self._graph.launches

    def still_accumulates_into_the_same_storage(self) -> bool:
        """False once a gradient that the step adds to was replaced by another array."""
        return all(_same(leaf.grad, array) for leaf, array in self._recording.accumulated)

    def replay(self, inputs: tuple[Any, ...]) -> Any:
        with self._device.active():
            for static, given in zip(self._inputs, inputs, strict=True):
                static.array[...] = given.array
            for prepare in self._recording.before_replay.values():
                prepare()
            self._graph.replay()
        for leaf, gradient in self._recording.gradients.values():
            leaf._set_grad_array(gradient)
        return self._result


def _same(grad: Any, array: Any) -> bool:
    return grad is not None and address_of(grad.array) == address_of(array)
