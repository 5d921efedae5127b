"""Two devices run the same model layer by layer, and the first layer that differs is named."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import FLOATING
from gpunn._interop import is_array
from gpunn._lockstep_record import Call, Recorder, host, one_line, shown
from gpunn._lockstep_report import Difference, LayerComparison, LockstepReport
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.containers import Sequential
from gpunn.nn.fusion import fused_groups
from gpunn.nn.loss import CrossEntropyLoss
from gpunn.nn.module import Module
from gpunn.random import default_generator
from gpunn.tape import enable_grad

# A sum of a few thousand terms in another order, or Winograd's algorithm, stays below so many roundings of its size.
_ROUNDINGS = 100


class _Step(Module):
    """A model with the loss behind it, if there is one: what is compared."""

    def __init__(self, model: Module, loss: Any) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, inputs: tuple[Any, ...], target: Any) -> Any:
        output = self.model(*inputs)
        return output if self.loss is None else self.loss(output, target)


def lockstep(
    model: Module,
    batch: Any,
    devices: Sequence[str | Device] = ("cpu", "emulator"),
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
    seed: int = 0,
) -> LockstepReport:
    """Run a model on two devices layer by layer, forward and backward, and name the first layer that diverges.

    Each call of a layer is computed on both devices from the *same* inputs and output gradients, those of the first
    device: what differs then is that layer's own doing. Beside it stands how far the outputs are apart where each
    device goes on with its own numbers.

    Parameters
    ----------
    model : Module
        In training or evaluation mode, on any device. It is copied and not changed.
    batch : Tensor, array, or pair
        The input, or (input, target) as a DataLoader gives them. An input that is a tuple is the model's several
        arguments.
    devices : pair of str or Device
        The reference, and the one in question: "cpu", "cuda", "cuda:1", "cuda-plain", "emulator".
    loss : callable, optional
        ``loss(output, target)``, such as a layer of ``gpunn.nn``; the mean cross-entropy if there is a target and no
        loss. Without a target the gradient of the output is random.
    seed : int
        Of that gradient.

    Returns
    -------
    LockstepReport
        ``first`` (None if all agree), ``layers`` (a row for each call), ``agrees``; its text is a table.

    Raises
    ------
    UsageError
        If the batch or the devices are not of that form, or the model cannot be copied.
    DeviceError
        If a device is not there.

    Notes
    -----
    An array may differ by ``100 eps m + (8 + 2 sqrt(n)) s``. ``m`` is its largest magnitude. ``s`` (root mean square)
    is by how much it changes when every number that goes in is changed by one rounding, which is what the terms of its
    sums weigh, even if they cancel. ``n`` is the number of terms of its longest sum: in any order of adding, its
    rounding errors are about as large as its root times that.

    Dropout draws the same masks on both. Layers have hooks, so a Sequential fuses none; those that it would fuse are
    compared on the second device, fused against one by one. A layer that works in place is given a copy.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> report = gpunn.lockstep(model, gpunn.ones(2, 4), ("cpu", "cpu"))
    >>> report.agrees, [layer.name for layer in report.layers]
    (True, ['0', '1', '0 + 1'])
    """
    if isinstance(devices, str | Device) or len(devices) != 2:
        raise UsageError(f"lockstep: devices: expected two, such as ('cpu', 'emulator'); got {devices!r}.")
    if not isinstance(model, Module):
        raise UsageError(f"lockstep: model: expected a gpunn.nn.Module; got {type(model).__name__}.")
    inputs, target = _parts(batch)
    if target is not None and loss is None:
        loss = CrossEntropyLoss()
    if target is None and loss is not None:
        raise UsageError("lockstep: loss: it needs a target; give the batch as (input, target).")
    first, second = (get_device(d) for d in devices)
    try:
        step = _copied(_Step(model, loss))
    except Exception as error:  # whatever the user's attributes raise
        raise UsageError(f"lockstep: the model cannot be copied ({type(error).__name__}: {error}).") from error
    runs = _Runs(step, inputs, target, seed)
    with enable_grad():
        free = runs.run(first)
        if free.error is not None:
            raise free.error
        own = runs.run(second)
        expected = runs.run(first, free.calls)
        if expected.error is not None:
            raise expected.error
        swayed = runs.run(first, free.calls, np.random.Generator(np.random.Philox(seed)))
        found = runs.run(second, free.calls)
        rows = [_row(*calls) for calls in _together(free, own, expected, swayed, found)]
        rows += _fused_rows(runs, second, free.calls)
    kept = [row for row, holds in rows if row.diverges or not holds]
    return LockstepReport((str(first), str(second)), tuple(kept), "" if own.error is None else one_line(own.error))


def _copied(step: _Step) -> _Step:
    """A copy, with results of an earlier call that modules keep as attributes detached: nothing else copies those."""
    kept = [value for module in step.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return copy.deepcopy(step, {id(t): t.detach().clone() for t in kept if not t.is_leaf})


def _parts(batch: Any) -> tuple[tuple[Any, ...], Any]:
    """The model's arguments and the target."""
    target = None
    if isinstance(batch, list | tuple):
        if len(batch) != 2:
            raise UsageError(
                f"lockstep: batch: expected an input or (input, target); got {len(batch)} parts. Several inputs are a "
                "tuple within: ((a, b, c), None)."
            )
        batch, target = batch
    inputs = tuple(batch) if isinstance(batch, list | tuple) else (batch,)
    for value in (*inputs, *(() if target is None else (target,))):
        if not isinstance(value, Tensor) and not is_array(value):
            raise UsageError(f"lockstep: batch: expected tensors or arrays; got {type(value).__name__}.")
    return inputs, target


class _Runs:
    """Runs of copies of one model, all from the same state and on the same batch."""

    def __init__(self, step: _Step, inputs: tuple[Any, ...], target: Any, seed: int) -> None:
        self._step = step
        self._inputs = tuple(_values(value) for value in inputs)
        self._target = None if target is None else _values(target)
        self._seed = seed

    def copy(self, device: Device) -> _Step:
        return copy.deepcopy(self._step).to(device)

    def run(
        self, device: Device, forced: list[Call] | None = None, sway: np.random.Generator | None = None
    ) -> Recorder:
        generator = default_generator()
        state = generator.get_state()
        recorder = Recorder(self.copy(device), device, forced, sway)
        inputs = tuple(tensor(value, device=device) for value in self._inputs)
        for x in inputs:
            x.requires_grad = x.dtype.kind in FLOATING
        target = None if self._target is None else tensor(self._target, device=device)
        try:
            recorder.run((inputs, target), self._seeds)
        finally:
            generator.set_state(state)
        return recorder

    def _seeds(self, roots: list[Tensor]) -> list[np.ndarray]:
        rng = np.random.Generator(np.random.Philox(self._seed))
        return [
            np.asarray(1 if t.numel() == 1 else rng.standard_normal(t.shape), t.dtype).reshape(t.shape) for t in roots
        ]


def _values(value: Any) -> np.ndarray:
    return host(value if isinstance(value, Tensor) else tensor(value))


def _together(*runs: Recorder) -> Any:
    """The same call of all runs, None where a run did not get so far."""
    first = runs[0].calls
    return [tuple(run.calls[i] if i < len(run.calls) else None for run in runs) for i in range(len(first))]


def _row(
    free: Call, own: Call | None, expected: Call, swayed: Call, found: Call | None
) -> tuple[LayerComparison, bool]:
    """A call's comparison, and whether it only holds other modules."""
    name = shown(free.name)
    kind = type(free.module).__name__
    if isinstance(free.module, _Step):
        name, kind = ("loss", "function") if callable(free.module.loss) else ("", kind)
    accumulated = None
    if own is not None and own.finished:
        shifts = [
            _compare(key, values, own.arrays.get(key), None, 1).relative
            for key, values in free.arrays.items()
            if key[0].startswith("output")
        ]
        accumulated = max(shifts, default=None)
    differences: tuple[Difference, ...] = ()
    if found is not None and (found.finished or found.arrays):
        sizes = [values.size for values, _ in free.inputs] + [g.size for g in free.output_gradients.values()]
        keys = [key for key in expected.arrays if found.finished or key in found.arrays]
        differences = tuple(
            _compare(key, expected.arrays[key], found.arrays.get(key), swayed.arrays.get(key), max(sizes, default=1))
            for key in keys
            if not (key[1] and found.error)
        )
    error = "" if found is None else found.error
    return LayerComparison(name, kind, free.number, differences, accumulated, error), free.calls_others


def _compare(
    key: tuple[str, bool], expected: np.ndarray, found: np.ndarray | None, swayed: np.ndarray | None, source: int
) -> Difference:
    """One array of both devices. ``source``: of how many numbers it was computed, at most."""
    what, backward = key
    finite = np.isfinite(expected) if expected.dtype.kind in FLOATING else np.ones(expected.shape, bool)
    scale = float(np.max(np.abs(expected), where=finite, initial=0))
    wrong = ""
    if found is None:
        wrong = "missing"
    elif found.shape != expected.shape:
        wrong = f"shape {found.shape} instead of {expected.shape}"
    elif found.dtype != expected.dtype:
        wrong = f"dtype {found.dtype} instead of {expected.dtype}"
    if wrong or found is None:
        return Difference(what, backward, np.inf, scale, 0.0, wrong)
    if expected.dtype.kind not in FLOATING:
        return Difference(what, backward, float(np.max(np.abs(found.astype(float) - expected), initial=0)), scale, 0.0)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(found.astype(np.float64) - expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    gaps = np.where(same, 0, np.where(np.isnan(gaps), np.inf, gaps))
    tolerance = _ROUNDINGS * float(np.finfo(expected.dtype).eps) * scale
    if swayed is not None and swayed.shape == expected.shape:
        with np.errstate(invalid="ignore"):
            shifts = (swayed.astype(np.float64) - expected)[np.isfinite(swayed) & finite]
        rms = float(np.sqrt(np.mean(shifts**2))) if shifts.size else 0.0
        terms = source / max(1, expected.shape[0] if expected.ndim else 1)
        tolerance += (8 + 2 * terms**0.5) * rms
    number = int(np.argmax(gaps)) if gaps.size else 0
    largest = float(gaps.flat[number]) if gaps.size else 0.0
    note = ""
    if not np.isfinite(largest):
        place = tuple(int(i) for i in np.unravel_index(number, gaps.shape))
        note = f"{found[place]} instead of {expected[place]:.6g} at {place}"
    return Difference(what, backward, largest, scale, tolerance, note)


def _fused_rows(runs: _Runs, device: Device, calls: list[Call]) -> list[tuple[LayerComparison, bool]]:
    """Layers that a Sequential runs as one op, against the same layers one by one, both on this device."""
    together, apart = runs.copy(device), runs.copy(device)
    names = dict(together.named_modules())
    alone = dict(apart.named_modules())
    rows = []
    for outer, sequential in names.items():
        if not isinstance(sequential, Sequential):
            continue
        inner = [f"{outer}.{name}" for name in sequential._modules]
        for host_module, keywords, numbers in fused_groups(list(sequential)):
            group = [inner[i] for i in numbers]
            called = inner[next(i for i in numbers if names[inner[i]] is host_module)]
            noted = [next((call for call in calls if call.name == name), None) for name in group]
            first, last = noted[0], noted[-1]
            if first is None or last is None or not first.inputs:
                continue
            label = " + ".join(shown(name) for name in group)
            kind = " + ".join(type(names[name]).__name__ for name in group)
            error, arrays = "", []
            try:
                for modules, one in ((alone, False), (names, True)):
                    arrays.append(
                        _group_run(
                            [modules[n] for n in group], modules[called], keywords if one else None, first, last, device
                        )
                    )
            except Exception as failure:  # reported in the row, as that of a layer is
                error = one_line(failure)
            differences: tuple[Difference, ...] = ()
            if not error:
                size = max(first.inputs[0][0].size, last.outputs[0][0].size)
                differences = tuple(
                    _compare(key, arrays[0][key], arrays[1].get(key), arrays[0][key], size) for key in arrays[0]
                )
            rows.append((LayerComparison(label, kind, 1, differences, None, error), False))
    return rows


def _group_run(
    group: list[Module], called: Module, keywords: dict[str, Any] | None, first: Call, last: Call, device: Device
) -> dict[tuple[str, bool], np.ndarray]:
    """Output and gradients of neighbours, run as one op with these keywords or, with None, one by one."""
    values, wanted = first.inputs[0]
    leaf = tensor(values, device=device)
    leaf.requires_grad = wanted
    x = leaf.clone() if wanted else leaf
    if keywords is None:
        for module in group:
            x = module(x)
    else:
        x = called(x, **keywords)
    arrays = {("output", False): host(x)}
    dy = last.output_gradients.get(0)
    if dy is not None and x.requires_grad:
        for module in group:
            module.zero_grad()
        x.backward(tensor(dy, device=device))
        if leaf.grad is not None:
            arrays["gradient of input", True] = host(leaf.grad)
        for module in group:
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.grad is not None:
                    arrays[f"gradient of {name}", True] = host(parameter.grad)
    return arrays
