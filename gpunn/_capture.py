"""A whole step captured once and replayed: one CUDA-graph launch instead of dozens of kernels.

``step = gpunn.capture(fn)`` runs ``fn`` on devices without kernels. On the others the first call
with given shapes runs as it is (a real training step, which compiles kernels and creates optimiser
buffers), the second is captured, and later ones replay it. A replay repeats *launches*, and
nothing else that ``fn`` did; so

- numbers that change from step to step (learning rate, the place in the random stream) are stored in
  :class:`StepScalars` on the device, rewritten before each replay;
- array-library code inside a captured step raises (``primitive``), and so does reading a value back;
- a graph belongs to shapes, dtypes, training flags, ``requires_grad`` and the storage of every
  parameter and buffer: change one of them and another graph is captured.

On the emulator capture and replay work the same way (``gpu/loaders.py``), which is how all this is
tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._capture_state import StepWatch, watched_by
from gpunn._device import Device
from gpunn._layout import address_of
from gpunn.errors import UsageError


def capture(fn: Callable[..., Any]) -> CapturedStep:
    """Capture ``fn`` on its second call with given shapes and replay it as one launch afterwards.

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
        At the capture, if the step reads a value back, or runs an op that has no kernel.
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
        """How many graphs have been captured."""
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
        # What the first run makes (kernels, constants, a layer's place in the random stream) depends on the modes too.
        if (shapes, _modes_of(self._modules)) not in self._warm:
            with watched_by(StepWatch(device, self._modules, frozen=False)):
                result = self._fn(*inputs)
            self._warm.add((shapes, _modes_of(self._modules)))  # the first run has registered the modules
            return result
        key = (shapes, *_state_of(self._modules))
        graph = self._graphs.get(key)
        if graph is None or not graph.still_accumulates_into_the_same_storage():
            graph = self._graphs[key] = _Graph(self._fn, inputs, self._modules, device)
        return graph.replay(inputs)


def capture_graph(step: StepWatch, body: Callable[[], Any]) -> tuple[Any, Any]:
    """Run ``body`` with every launch captured and none executed: (the graph, what ``body`` returned)."""
    with watched_by(step), step.device.active():
        graph, result = step.device.loader.capture(body)
    return graph, result


def _modes_of(modules: list[Any]) -> tuple[bool, ...]:
    """Training flags, and which parameters want gradients."""
    inner = [part for module in modules for part in module.modules()]
    wanted = [parameter.requires_grad for module in modules for parameter in module.parameters()]
    return (*(part.training for part in inner), *wanted)


def _state_of(modules: list[Any]) -> tuple[Any, ...]:
    """What a graph depends on besides its inputs: flags, and where parameters and buffers are stored."""
    state: list[Any] = []
    for module in modules:
        state += [inner.training for inner in module.modules()]
        for tensor in (*module.parameters(), *module.buffers()):
            wants = tensor.requires_grad
            state.append((address_of(tensor.array), wants, wants and tensor.grad is None))
    return tuple(state)


class _Graph:
    """One captured step with its input buffers."""

    def __init__(self, fn: Callable[..., Any], inputs: tuple[Any, ...], modules: list[Any], device: Device) -> None:
        from gpunn._tensor import Tensor

        self._device = device
        # The step always reads its batch from these; every replay copies the new batch in.
        self._inputs = [
            Tensor(device.array(np.empty(t.shape, t.dtype)), device, requires_grad=t.requires_grad) for t in inputs
        ]
        self._step = StepWatch(device, modules, frozen=True)
        self._graph, self._result = capture_graph(self._step, lambda: fn(*self._inputs))

    @property
    def launches(self) -> Any:
        """The captured launches (emulator only)."""
        return self._graph.launches

    def still_accumulates_into_the_same_storage(self) -> bool:
        """False once another array has replaced a gradient that the step adds to."""
        return all(_same(leaf.grad, array) for leaf, array in self._step.accumulated)

    def replay(self, inputs: tuple[Any, ...]) -> Any:
        with self._device.active():
            for static, given in zip(self._inputs, inputs, strict=True):
                static.array[...] = given.array
            for prepare in self._step.before_replay.values():
                prepare()
            self._graph.replay()
        for leaf, gradient in self._step.gradients.values():
            leaf._set_grad_array(gradient)
        return self._result


def _same(grad: Any, array: Any) -> bool:
    return grad is not None and address_of(grad.array) == address_of(array)
