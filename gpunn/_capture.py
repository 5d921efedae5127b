"""A whole step captured once and replayed: one CUDA-graph launch instead of dozens of kernels.

``step = gpunn.capture(fn)`` runs ``fn`` on devices without kernels. On the others the first call
with given shapes runs as it is (a real training step, which compiles kernels and creates optimiser
buffers), the second is captured, and later ones replay it. A replay repeats *launches*, and
nothing else that ``fn`` did; so

- numbers that change from step to step (learning rate, the place in the random stream) are stored in
  :class:`StepScalars` on the device, rewritten before each replay;
- array-library code inside a captured step raises (``primitive``), and so does reading a value back;
- a graph belongs to shapes, dtypes, what ``autocast`` is around, the precision of products and convolutions, training
  flags, ``requires_grad`` and the storage of every parameter and buffer: change one and another graph is captured.

On the emulator capture and replay work the same way (``gpu/emulated.py``), which is how all this is
tested without a GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpunn._autocast import casting
from gpunn._capture_state import StepWatch, changes, watched_by
from gpunn._device import Device
from gpunn._layout import address_of
from gpunn._precision import chosen
from gpunn._storage import forget_copies
from gpunn._winograd import is_winograd_enabled
from gpunn.errors import ArgumentError, UsageError
from gpunn.gpu.tickets import new_tickets
from gpunn.tape import is_grad_enabled


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
    if not callable(fn) or isinstance(fn, type):
        raise ArgumentError(f"capture: fn: expected a function; got {type(fn).__name__}.")
    return CapturedStep(fn)


_MOST_GRAPHS = 32  # of a step: each has memory of its own, and shapes or storage may change without end


class CapturedStep:
    """A step made by :func:`capture`; one graph for each combination of shapes, flags and storage."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._modules: list[Any] = []
        self._leaves: list[Any] = []
        self._rooms: dict[Any, list[Any]] = {}
        self._warm: set[Any] = set()
        self._graphs: dict[Any, _Graph] = {}
        # By shapes: the graph that the last call with them replayed, while nothing has changed since.
        self._last: dict[Any, _Graph] = {}
        self._unchanged_since = -1

    @property
    def graphs(self) -> int:
        """How many graphs there are, at most 32: the least recently replayed goes when there would be more."""
        return len(self._graphs)

    def __call__(self, *inputs: Any) -> Any:
        called = [(t._physical.shape, t.dtype, t.requires_grad, t.device) for t in self._checked(inputs)]
        products = chosen.name, chosen.convolutions, is_winograd_enabled()  # how they are made
        shapes = (is_grad_enabled(), casting.key, *products, *called)
        if changes.count == self._unchanged_since:
            graph = self._last.get(shapes)
            if graph is not None and graph.leaves_are_unchanged():
                return graph.replay(inputs)
        device = inputs[0].device
        if device.loader is None:
            return self._fn(*inputs)
        # What the first run makes (kernels, constants, a layer's place in the random stream) depends on the modes too.
        if (shapes, _modes_of(self._modules)) not in self._warm:
            with watched_by(self._watch(device, frozen=False)), casting.own_copies():
                result = self._fn(*inputs)
            self._warm.add((shapes, _modes_of(self._modules)))  # the first run has registered the modules
            return result
        key = (shapes, *_state_of(self._modules, self._leaves))
        graph = self._graphs.pop(key, None)
        if graph is None or not graph.still_accumulates_into_the_same_storage():
            graph = _Graph(self._fn, inputs, self._watch(device, frozen=True))
        self._graphs[key] = graph  # the latest; of those in front, the earliest was not needed for longest
        if len(self._graphs) > _MOST_GRAPHS:
            self._last.clear()
            del self._graphs[next(iter(self._graphs))]
        result = graph.replay(inputs)
        graph.set_gradients()
        if changes.count != self._unchanged_since:
            self._last.clear()
            self._unchanged_since = changes.count
        # The next call is the same if this one left the modules in the state in which it found them.
        if (shapes, *_state_of(self._modules, self._leaves)) == key:
            self._last[shapes] = graph
        return result

    def _watch(self, device: Device, *, frozen: bool) -> StepWatch:
        return StepWatch(device, self._modules, self._leaves, frozen=frozen, rooms=self._rooms)

    @staticmethod
    def _checked(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        from gpunn._tensor import Tensor

        if not inputs or not all(isinstance(t, Tensor) for t in inputs):
            raise UsageError(
                "capture: expected a step that is called with tensors, at least one (they say where it runs, and are "
                f"what changes between replays); got {[type(t).__name__ for t in inputs]}."
            )
        return inputs


def capture_graph(step: StepWatch, body: Callable[[], Any]) -> tuple[Any, Any]:
    """Run ``body`` with every launch captured and none executed: (the graph, what ``body`` returned)."""
    with watched_by(step), casting.own_copies(), step.device.active():
        graph, result = step.device.loader.capture(body)
    return graph, result


def _modes_of(modules: list[Any]) -> tuple[bool, ...]:
    """Training flags, and which parameters want gradients."""
    inner = [part for module in modules for part in module.modules()]
    wanted = [parameter.requires_grad for module in modules for parameter in module.parameters()]
    return (*(part.training for part in inner), *wanted)


def _state_of(modules: list[Any], leaves: list[Any]) -> tuple[Any, ...]:
    """What a graph depends on besides its inputs: flags, and where parameters, buffers and leaves are stored."""
    state: list[Any] = []
    tensors = list(leaves)
    for module in modules:
        state += [inner.training for inner in module.modules()]
        tensors += (*module.parameters(), *module.buffers())
    for tensor in tensors:
        wants = tensor.requires_grad
        state.append((address_of(tensor._physical), wants, wants and tensor.grad is None))
    return tuple(state)


class _Graph:
    """One captured step with its input buffers."""

    def __init__(self, fn: Callable[..., Any], inputs: tuple[Any, ...], step: StepWatch) -> None:
        from gpunn._tensor import Tensor
        from gpunn.ops.copy_arrays import copy_arrays

        device: Device = step.device
        self._device, self._step = device, step
        self._copy = functools.partial(copy_arrays, device)
        # The step always reads its batch from these; every replay copies the new batch in.
        self._inputs = [
            Tensor._of_physical(device.zeros(t._physical.shape, t.dtype), device).requires_grad_(t.requires_grad)
            for t in inputs
        ]
        self._buffers = [t._physical for t in self._inputs]
        step.tickets = new_tickets(device)
        self._graph, self._result = capture_graph(step, lambda: fn(*self._inputs))
        self._prepare = list(step.before_replay.values())
        self._gradients = [(leaf, Tensor._of_physical(made, device)) for leaf, made in step.gradients.values()]
        # Parameters count such changes themselves.
        self._watched = [(leaf, gradient) for leaf, gradient in self._gradients if not leaf._counts_changes]

    @property
    def launches(self) -> Any:
        """The captured launches (emulator only)."""
        return self._graph.launches

    def still_accumulates_into_the_same_storage(self) -> bool:
        """False once another array has replaced a gradient that the step adds to."""
        return all(_same(leaf.grad, array) for leaf, array in self._step.accumulated)

    def leaves_are_unchanged(self) -> bool:
        """Whether all leaves that do not count their changes still want and hold the gradients of the last replay."""
        return all(leaf.grad is gradient and leaf.requires_grad for leaf, gradient in self._watched)

    def replay(self, inputs: tuple[Any, ...]) -> Any:
        """Run the step on these inputs; :meth:`set_gradients` has to follow unless the gradients are there."""
        device = self._device
        if not device.is_current:
            with device.active():
                return self.replay(inputs)
        self._copy(self._buffers, [given._physical for given in inputs])
        for prepare in self._prepare:
            prepare()
        self._graph.replay()
        forget_copies()
        return self._result

    def set_gradients(self) -> None:
        """Let the leaves have the gradients that the step leaves behind."""
        for leaf, gradient in self._gradients:
            if leaf.grad is not gradient:
                leaf.grad = gradient


def _same(grad: Any, array: Any) -> bool:
    return grad is not None and address_of(grad._physical) == address_of(array)
