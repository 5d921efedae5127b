"""Where a training step's time goes: forward and backward of every layer, beside its work and the machine's ceilings.

It uses two seams that cost nothing while not in use: the stack of running modules (``errors.module_stack``) shows when
a layer begins and ends, and ``tape.observe_backward`` is given each node to run. So layers stay fused as in training,
which hooks on them would prevent.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.bench.machine import Ceilings
from gpunn.errors import module_stack
from gpunn.tape import Node, no_grad, observe_backward

REST = "everything else"
_WORTH_A_ROW = 0.01  # of the step


@dataclass
class LayerTimes:
    """One layer of a step, a row of the table.

    Attributes
    ----------
    name, kind : str
        Dotted name and class; for the loss, the optimiser and the like, what it is called.
    forward_ms, backward_ms : float
        Median over the steps, excluding inner layers.
    flop, traffic : float
        Of forward and backward together.
    note : str
    """

    name: str
    kind: str
    forward_ms: float = 0.0
    backward_ms: float = 0.0
    flop: float = 0.0
    traffic: float = 0.0
    note: str = ""

    @property
    def ms(self) -> float:
        """Forward and backward together."""
        return self.forward_ms + self.backward_ms


@dataclass(frozen=True)
class Profile:
    """All layers in the order they run, the loss, the optimiser's update and the rest: together ``step_ms``."""

    layers: tuple[LayerTimes, ...]
    step_ms: float
    batch: int
    loss: float

    def share_of_ceiling(self, layer: LayerTimes, ceilings: Ceilings) -> float | None:
        """The fraction of a layer's time its work would take at the ceilings; None where nothing was counted."""
        counted = (layer.flop or layer.traffic) and layer.ms > 0
        return ceilings.share(layer.flop, layer.traffic, layer.ms) if counted else None


class _Marks:
    """Points in time, on the host or on a GPU's stream, and the milliseconds between them once a step has finished."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._gpu = device.ordinal is not None

    def now(self) -> Any:
        if not self._gpu:
            return time.perf_counter()
        event = self._device.xp.cuda.Event()
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        if not self._gpu:
            return float(1e3 * (end - start))
        return float(self._device.xp.cuda.get_elapsed_time(start, end))


@dataclass
class _Step:
    """What one step did: intervals (key, start, end); time in an inner interval belongs to that one alone."""

    forward: list[tuple[Any, Any, Any, int]] = field(default_factory=list)  # module, start, end, depth
    backward: list[tuple[str, Any, Any]] = field(default_factory=list)
    update: tuple[Any, Any] | None = None
    whole: tuple[Any, Any] | None = None


class _TimedStack(list[Any]):
    """The stack of running modules, noting when each is pushed and popped."""

    def __init__(self, marks: _Marks, step: _Step) -> None:
        super().__init__()
        self._marks, self._step = marks, step
        self._starts: list[Any] = []

    def append(self, module: Any) -> None:
        super().append(module)
        self._starts.append(self._marks.now())

    def pop(self, index: Any = -1) -> Any:
        module = super().pop(index)
        self._step.forward.append((module, self._starts.pop(), self._marks.now(), len(self)))
        return module


@contextlib.contextmanager
def _watching(marks: _Marks, step: _Step) -> Iterator[None]:
    def observer(node: Node, run: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        start = marks.now()
        try:
            return run()
        finally:
            step.backward.append((node.op, start, marks.now()))

    outer, module_stack.modules = module_stack.modules, _TimedStack(marks, step)
    try:
        with observe_backward(observer):
            yield
    finally:
        module_stack.modules = outer


def profile(
    model: Any,
    x: Tensor,
    labels: Tensor | None = None,
    *,
    steps: int = 10,
    warm_up: int = 2,
    lr: float = 0.01,
) -> Profile:
    """Train ``model`` for a few steps on one batch and time its layers.

    Parameters
    ----------
    model : Module
        On the device of ``x``; it is trained, so pass a copy if its weights matter.
    x : Tensor
        (N, ...), one batch.
    labels : Tensor, optional
        (N,) class indices for the mean cross-entropy. Without them the loss is the sum of all outputs.
    steps, warm_up : int
        How many steps are timed, and how many untimed ones come before.
    lr : float
        Of SGD with momentum 0.9.

    Returns
    -------
    Profile
        Steps run kernel by kernel, not captured: a replayed graph has no layers.
    """
    from gpunn.nn.loss import CrossEntropyLoss
    from gpunn.optim import SGD

    device = x.device
    marks = _Marks(device)
    names = {id(module): name for name, module in model.named_modules()}
    parameters = list(model.parameters())
    optimizer = SGD(parameters, lr=lr, momentum=0.9) if parameters else None
    criterion = CrossEntropyLoss() if labels is not None else None
    seen: list[_Step] = []
    loss = x
    for number in range(warm_up + steps):
        step = _Step()
        with device.active():
            start = marks.now()
            with _watching(marks, step):
                if optimizer is not None:
                    optimizer.zero_grad()
                y = model(x)
                loss = y.sum() if criterion is None else criterion(y, labels)
                if loss.requires_grad:
                    loss.backward()
            update = marks.now()
            if optimizer is not None:
                optimizer.step()
            end = marks.now()
        device.synchronize()
        step.update, step.whole = (update, end), (start, end)
        if number >= warm_up:
            seen.append(step)
    return _summary(model, x, names, marks, seen, float(loss.item()))


def _summary(model: Any, x: Tensor, names: dict[int, str], marks: _Marks, seen: list[_Step], loss: float) -> Profile:
    """Medians over the steps, with a row for each layer that does work itself."""
    rows = _counted(model, x)
    counted = set(rows)
    totals: list[dict[str, list[float]]] = [_times(step, names, marks) for step in seen]
    for key in dict.fromkeys(key for times in totals for key in times):
        name, _, kind = key.partition("\0")
        row = rows.setdefault(name, LayerTimes(name, kind))
        row.forward_ms = statistics.median(times.get(key, [0.0, 0.0])[0] for times in totals)
        row.backward_ms = statistics.median(times.get(key, [0.0, 0.0])[1] for times in totals)
    whole = statistics.median(marks.between(*step.whole) for step in seen if step.whole)
    # A container's own time is mostly calling; it gets a row only where that is worth one.
    inside = {name for name in names.values() if name not in counted} | {type(model).__name__}
    kept = [row for row in rows.values() if row.name not in inside or row.ms > _WORTH_A_ROW * whole]
    kept = [row for row in kept if row.ms or row.flop or row.note]
    rest = LayerTimes(REST, "", forward_ms=max(0.0, whole - sum(row.ms for row in kept)))
    return Profile((*kept, rest), whole, x.shape[0], loss)


def _times(step: _Step, names: dict[int, str], marks: _Marks) -> dict[str, list[float]]:
    """{name and kind: [forward, backward]} of one step; a module's time excludes the modules inside."""
    found: dict[str, list[float]] = {}
    inner: dict[int, float] = {}  # depth: time of the modules that ended below it
    for module, start, end, depth in step.forward:
        spent = marks.between(start, end)
        own = spent - inner.pop(depth + 1, 0.0)
        inner[depth] = inner.get(depth, 0.0) + spent
        found.setdefault(_key(names.get(id(module)), type(module).__name__), [0.0, 0.0])[0] += own
    for op, start, end in step.backward:
        place, _, kind = op.partition(" (")
        key = _key(place, kind.rstrip(")")) if kind else _key("", place)
        found.setdefault(key, [0.0, 0.0])[1] += marks.between(start, end)
    assert step.update is not None
    found["update\0SGD"] = [marks.between(*step.update), 0.0]
    return found


def _key(name: str | None, kind: str) -> str:
    return f"{name or kind}\0{kind if name else ''}"


def _counted(model: Any, x: Tensor) -> dict[str, LayerTimes]:
    """A row for each layer with its work for the batch; bytes assume that each array is moved once."""
    from gpunn.nn.summary import summarize

    rows: dict[str, LayerTimes] = {}
    batch = x.shape[0]
    sizes = _sizes(model, x)
    with no_grad():
        summary = summarize(model, x.shape[1:], x.dtype)
    trained = False  # whether anything so far has parameters: only then is there a gradient to pass on
    for layer in summary.layers:
        row = rows.setdefault(layer.name or layer.kind, LayerTimes(layer.name or layer.kind, layer.kind))
        row.note = next((note for note in layer.notes if note.startswith("fused")), "")
        inputs, outputs, weights = sizes.get(layer.name, (0, 0, 0))
        if row.note or not layer.activation_bytes:  # runs within another, or returns its input
            continue
        # Batch norm's count is one per element, with no matrix product.
        forward = 0.0 if "Norm" in layer.kind else 2.0 * batch * layer.multiply_adds
        row.flop += forward * (1 + bool(weights) + trained)
        row.traffic = float(inputs + outputs + weights)
        if weights:  # dy and input for dweight
            row.traffic += outputs + inputs + weights
        if trained:  # dy (once), weights, dx
            row.traffic += (0 if weights else outputs) + weights + inputs
        trained = trained or bool(weights)
    return rows


def _sizes(model: Any, x: Tensor) -> dict[str, tuple[int, int, int]]:
    """{layer: bytes of its inputs, outputs and parameters} for this batch, over all its calls."""
    found: dict[str, tuple[int, int, int]] = {}
    one = x[:1]

    def note(name: str) -> Callable[..., None]:
        def hook(layer: Any, args: tuple[Any, ...], output: Any) -> None:
            inputs = sum(a.array.nbytes for a in args if isinstance(a, Tensor)) * x.shape[0]
            outputs = output.array.nbytes * x.shape[0] if isinstance(output, Tensor) else 0
            weights = sum(p.array.nbytes for p in layer.parameters(recurse=False))
            before = found.get(name, (0, 0, 0))
            found[name] = before[0] + inputs, before[1] + outputs, weights

        return hook

    from gpunn.nn._modes import evaluating

    with contextlib.ExitStack() as hooks, no_grad(), evaluating(model):
        for name, layer in [*model.named_modules()]:
            if not layer._modules or layer._parameters:
                hooks.enter_context(layer.register_forward_hook(note(name)))
        model(one)
    return found


def random_batch(shape: Sequence[int], classes: int, device: Device, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal numbers of ``shape`` and labels below ``classes``, for :func:`profile`."""
    import gpunn

    rng = np.random.default_rng(seed)
    x = gpunn.tensor(rng.standard_normal(tuple(shape), np.float32), device=device)
    return x, gpunn.tensor(rng.integers(0, classes, shape[0], dtype=np.int64), device=device)
