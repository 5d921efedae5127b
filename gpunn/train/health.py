"""Layer health: which layers' gradients vanish or explode, which units are dead, which activations are saturated.

One or more batches go forward and backward with hooks on every layer, and the hooks are removed again: a model that
nobody examines pays nothing. Hooks also undo the fusing of neighbours (``nn/fusion.py``), so every layer is seen by
itself.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._interop import is_array
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.activation import Hardtanh, ReLU
from gpunn.nn.dropout import Dropout
from gpunn.nn.layernorm import LayerNorm
from gpunn.nn.linear import Linear
from gpunn.nn.loss import CrossEntropyLoss
from gpunn.nn.module import Module
from gpunn.nn.smooth_activation import Sigmoid, Tanh
from gpunn.random import default_generator
from gpunn.tape import enable_grad, no_grad
from gpunn.train._forward import check_tensors
from gpunn.train.evaluation import labelled_batch, running
from gpunn.train.health_report import HealthReport, LayerHealth

# All layers get the same learning rate. One whose gradient is a thousandth of the last layer's is still close to its
# initial values when the last one has settled; one whose gradient is a thousand times larger diverges at a rate that
# suits the last. Depth alone does not do that: with Kaiming's or Xavier's initial values the norm is kept within a
# factor of some ten.
VANISHING, EXPLODING = 1e-3, 1e3
# An output is saturated where the activation's slope is below a twentieth of its largest: |tanh| above 0.975, a
# sigmoid below 0.0127 or above 0.9873. Where that is more than half of the outputs, most of the gradient stops there.
SATURATED_SLOPE, SATURATED_SHARE = 0.05, 0.5
# A unit may rest through a batch: of a trained LeNet's 500 hidden units a quarter does for 100 digits, a fifth for 500.
# Where half of a layer never does anything, most of its width is wasted.
DEAD_SHARE = 0.5


def layer_health(
    model: Module,
    data: Any,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    max_batches: int = 1,
) -> HealthReport:
    """Run batches forward and backward, and report on every layer.

    Nothing of the model changes: parameters, gradients, running statistics and modes are as before. It runs in
    training mode (batch norm normalises by the batch, and frozen layers stay frozen) but without dropout, whose zeros
    would say nothing.

    Parameters
    ----------
    model : Module
        Returns scores (N, classes), or whatever ``loss`` takes; run where its first parameter is.
    data : (images, labels), or iterable of such pairs
        One batch of at least one image as tensors or arrays, or a loader.
    loss : callable, optional
        ``loss(scores, labels)``, the mean over the batch. :class:`~gpunn.nn.CrossEntropyLoss` if not given.
    max_batches : int
        How many batches of a loader to use. Dead units are those that are so in all of them: one batch of
        100 to 500 images says enough of the rest.

    Returns
    -------
    HealthReport
        ``layers``, a tuple of :class:`~gpunn.train.LayerHealth`; as text a table with a verdict for each layer.

    Raises
    ------
    UsageError
        If there is no batch, no parameter, or the loss depends on no parameter.
    CaptureError
        Inside a captured step.

    Notes
    -----
    The thresholds. Vanishing and exploding, of layers with parameters: the gradient's norm at the output is below
    1/1000 or above 1000 times that at the last layer's, since all get the same learning rate. Saturated: at more than
    half of the outputs, the slope is below a twentieth of its largest (absolute tanh > 0.975, sigmoid < 0.0127 or
    > 0.9873); an activation whose output is the model's is not judged, as it should be sure in the end. Dead: at least
    half of the units.

    References
    ----------
    Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"; lecture topics
    T8 and T9.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> from gpunn.train import layer_health
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> with gpunn.no_grad():
    ...     _ = model[0].bias.fill_(-100)
    >>> report = layer_health(model, (gpunn.ones(3, 4), gpunn.tensor([0, 1, 0])))
    >>> [(layer.name, layer.dead, layer.verdicts) for layer in report.layers][:2]
    [('0', 1.0, ('vanishing', 'dead')), ('1', 1.0, ('dead',))]
    """
    refuse_in_capture("layer_health")
    if not isinstance(max_batches, int) or isinstance(max_batches, bool) or max_batches < 1:
        raise UsageError(f"layer_health: max_batches: expected a whole number of at least 1; got {max_batches!r}.")
    parameters = list(model.parameters())
    if not parameters:
        raise UsageError("layer_health: the model has no parameters, so nothing says where it is.")
    home = parameters[0].device
    loss = CrossEntropyLoss() if loss is None else loss
    probes: dict[int, _Probe] = {}
    for name, module in model.named_modules():
        # A module with inner modules is represented by them, unless it also has parameters of its own.
        if not module._modules or module._parameters:
            probes[id(module)] = _Probe(name or type(module).__name__, module)
    order: list[_Probe] = []
    losses, images = [], 0
    with running(home), contextlib.ExitStack() as ending, enable_grad():
        ending.enter_context(_unchanged(model))
        watch = _Watch(order)
        for probe in probes.values():
            ending.enter_context(probe.layer.register_forward_hook(watch.hook(probe)))
        for batch, _ in zip(_batches(data, home), range(max_batches), strict=False):
            x, labels = labelled_batch(batch, home)
            if x.dtype.kind in FLOATING:  # so that a gradient goes through frozen layers too
                x = x.detach()
                x.requires_grad = True
            scores = model(x)
            mean = loss(scores, labels)
            check_tensors(scores, mean)
            if not mean.requires_grad:
                raise UsageError(
                    "layer_health: the loss depends on no parameter: expected a model that can be trained."
                )
            mean.backward()
            watch.end_batch(scores)
            losses.append(mean.item())
            images += x.shape[0]
        weights = {id(probe): _weights(probe.layer, len(losses)) for probe in order}
    if not losses:
        raise UsageError("layer_health: the loader gave no batch.")
    reference = next((p.gradient_norm(len(losses)) for p in reversed(order) if p.felt), None)
    rows = tuple(p.result(len(losses), reference, weights[id(p)]) for p in order if p.count)
    return HealthReport(rows, float(np.mean(losses)), images)


def _batches(data: Any, home: Device) -> Iterator[Any]:
    """The pairs in ``data``, arrays as tensors."""

    def is_field(value: Any) -> bool:
        return isinstance(value, Tensor) or is_array(value)

    def tensors(batch: Any) -> Any:
        if isinstance(batch, tuple | list):
            return tuple(tensor(v, device=home) if is_array(v) and not isinstance(v, Tensor) else v for v in batch)
        return batch

    if isinstance(data, tuple | list) and len(data) == 2 and all(is_field(value) for value in data):
        yield tensors(data)
        return
    if is_field(data) or not isinstance(data, Iterable):
        raise UsageError(f"layer_health: data: expected (images, labels) or a loader; got {type(data).__name__}.")
    yield from map(tensors, data)


@contextlib.contextmanager
def _unchanged(model: Module) -> Iterator[None]:
    """Training mode without dropout and without gradients; afterwards everything is as it was before."""
    modules = list(model.modules())
    modes = [(module, module.training) for module in modules]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    generators = [default_generator(), *(m.generator for m in modules if isinstance(m, Dropout))]
    masks = [(generator, generator.calls) for generator in {id(g): g for g in generators}.values()]
    try:
        if not model.training:  # otherwise inner modules that were frozen by .eval() stay frozen
            model.train()
        for module in modules:
            if isinstance(module, Dropout):
                module.training = False
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with no_grad():
            for buffer, values in buffers:
                buffer.copy_(values)  # into the same memory, which a captured step is bound to
        for generator, calls in masks:
            generator._calls = calls


@dataclass
class _Probe:
    """What is seen of one layer."""

    name: str
    layer: Module
    count: int = 0  # of output elements
    mean: float = 0.0
    squares: float = 0.0  # of the differences from the mean
    zeros: int = 0
    saturated: int = 0
    finite: bool = True
    is_output: bool = False
    felt: bool = False
    gradient_squares: float = 0.0
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # units with an output that is not 0
    fed: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # units that a gradient reached

    def see(self, y: np.ndarray, axis: int) -> None:
        y64 = y.astype(np.float64)
        # Merges the batch's mean and squares into those of all before, which does not cancel.
        count, mean = self.count + y.size, float(y64.mean())
        apart = mean - self.mean
        self.squares += float(np.square(y64 - mean).sum()) + apart**2 * self.count * y.size / count
        self.mean += apart * y.size / count
        self.count = count
        self.zeros += int(y.size - np.count_nonzero(y))
        self.finite = self.finite and bool(np.isfinite(y).all())
        slope = _slope(self.layer, y64)
        if slope is not None:
            self.saturated += int(np.count_nonzero(slope < SATURATED_SLOPE))
        self.seen = _either(self.seen, y != 0, axis)

    def feel(self, dy: np.ndarray, axis: int) -> None:
        self.felt = True
        self.gradient_squares += float(np.square(dy, dtype=np.float64).sum())
        self.finite = self.finite and bool(np.isfinite(dy).all())
        self.fed = _either(self.fed, dy != 0, axis)

    def gradient_norm(self, batches: int) -> float:
        return math.sqrt(self.gradient_squares / batches)

    def result(self, batches: int, reference: float | None, weights: tuple[float | None, float | None]) -> LayerHealth:
        norm = self.gradient_norm(batches) if self.felt else None
        share = None if norm is None or not reference else norm / reference
        dead = None
        if isinstance(self.layer, ReLU) or (isinstance(self.layer, Hardtanh) and self.layer.min_val == 0):
            dead = float(np.mean(~self.seen))
        elif weights[0] is not None and self.felt and reference:  # no gradient anywhere says nothing of units
            dead = float(np.mean(~self.fed))
        saturated = None if _slope(self.layer, np.zeros(1)) is None else self.saturated / self.count
        verdicts = []
        if not self.finite:
            verdicts.append("not finite")
        if share is not None and weights[1] is not None:  # where nothing is trained, a small gradient does no harm
            verdicts += ["vanishing"] * (share < VANISHING) + ["exploding"] * (share > EXPLODING)
        if dead is not None and dead >= DEAD_SHARE:
            verdicts.append("dead")
        if saturated is not None and saturated > SATURATED_SHARE and not self.is_output:
            verdicts.append("saturated")
        return LayerHealth(
            name=self.name,
            kind=type(self.layer).__name__,
            output_mean=self.mean,
            output_std=math.sqrt(self.squares / self.count),
            zeros=self.zeros / self.count,
            dead=dead,
            saturated=saturated,
            gradient_norm=norm,
            gradient_of_last=share,
            weight_norm=weights[0],
            weight_gradient_norm=weights[1],
            verdicts=tuple(verdicts),
        )


class _Watch:
    """The hooks of one examination."""

    def __init__(self, order: list[_Probe]) -> None:
        self.order = order
        self._before: tuple[tuple[int, ...], int] = ((), 1)  # shape and axis of units of the output before
        self._last: tuple[_Probe, Any] | None = None

    def hook(self, probe: _Probe) -> Callable[..., None]:
        def note(layer: Module, args: tuple[Any, ...], output: Any) -> None:
            y = next((t for t in (output if isinstance(output, tuple) else (output,)) if isinstance(t, Tensor)), None)
            if y is None or y.dtype.kind not in FLOATING or not y.ndim or not y.numel():
                return
            if not any(known is probe for known in self.order):
                self.order.append(probe)
            shape, axis = self._before
            if isinstance(layer, Linear | LayerNorm):
                axis = y.ndim - 1
            elif y.shape != shape:  # an activation of many features at many places keeps the axis of the layer before
                axis = min(1, y.ndim - 1)
            self._before = y.shape, axis
            probe.see(y.detach().numpy(), axis)
            self._last = probe, y
            if y.requires_grad:
                y.register_hook(lambda dy: probe.feel(dy.detach().numpy(), axis))

        return note

    def end_batch(self, scores: Tensor) -> None:
        """The model has returned ``scores``."""
        if self._last is not None and self._last[1] is scores:
            self._last[0].is_output = True
        self._last = None


def _either(known: np.ndarray, found: np.ndarray, axis: int) -> np.ndarray:
    """For each unit whether anything was found, now or before."""
    now = np.asarray(found.any(axis=tuple(a for a in range(found.ndim) if a != axis)))
    return now if known.shape != now.shape else known | now


def _slope(layer: Module, y: np.ndarray) -> np.ndarray | None:
    """An activation's slope where its output is ``y``, as a share of its largest; None where it does not saturate."""
    if isinstance(layer, Sigmoid):
        return 4 * y * (1 - y)
    if isinstance(layer, Tanh):
        return 1 - y * y
    if isinstance(layer, Hardtanh) and layer.min_val != 0:  # ReLU6 and the like can die instead
        return ((y > layer.min_val) & (y < layer.max_val)).astype(np.float64)
    return None


def _weights(layer: Module, batches: int) -> tuple[float | None, float | None]:
    """L2 norms of a layer's own parameters and of the mean of their gradients."""
    own = list(layer.parameters(recurse=False))
    if not own:
        return None, None
    grads = [p.grad for p in own if p.grad is not None]
    return _norm(own), _norm(grads) / batches if grads else None


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(np.square(t.detach().numpy(), dtype=np.float64).sum()) for t in tensors))
