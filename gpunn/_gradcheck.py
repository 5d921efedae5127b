"""Checking gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunn._capture_state import StepWatch, watched_by
from gpunn._creation import tensor
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.errors import ArgumentError, DTypeError, GraphError, UsageError
from gpunn.random import default_generator
from gpunn.tape import no_grad


class _Snapshots(StepWatch):
    """Saves the buffers and generators of every outermost module just before it first runs."""

    def __init__(self, device: Any) -> None:
        super().__init__(device, [], [], frozen=False)
        default = default_generator()
        self._saved: list[tuple[Callable[[Any], Any], Any]] = [(default.set_state, default.get_state())]

    def note_module(self, module: Any) -> None:
        if any(module is known for known in self.modules):
            return
        self.modules.append(module)
        for buffer in module.buffers():
            self._saved.append((buffer.data.copy_, buffer.detach().numpy().copy()))
        for inner in module.modules():
            generator = getattr(inner, "generator", None)
            if generator is not None:
                self._saved.append((generator.set_state, generator.get_state()))

    def restore(self) -> None:
        with no_grad():
            for put_back, state in self._saved:
                put_back(state)

    @contextmanager
    def around(self) -> Iterator[None]:
        with watched_by(self):
            try:
                yield
            finally:
                self.restore()


def gradcheck(
    func: Callable[..., Tensor],
    inputs: Tensor | Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the tape's gradients of ``func`` with central differences, element by element.

    The output is projected on a fixed random direction, so one backward checks all of it.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns one Tensor of any shape.
    inputs : Tensor or sequence of Tensor
        float64; those with ``requires_grad`` are checked. Keep them away from kinks.
    eps : float
        Half the step of the central difference.
    atol, rtol : float
        Largest accepted difference: atol + rtol * |numerical|.
    raise_exception : bool
        False returns False where an element is off.
    nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode
        Change nothing: all elements are checked, and the same bits come every time.
    check_batched_grad, check_batched_forward_grad, check_forward_ad, check_backward_ad, masked
        Only PyTorch's defaults.

    Returns
    -------
    bool
        Whether the gradients are right. Buffers, and generators of the modules ``func`` calls, are left as they were.

    Raises
    ------
    GraphError
        If an element is off; the message names the worst one.
    DTypeError
        If an input that is to be checked is not float64: differences need its precision.
    """
    refuse(
        "gradcheck",
        check_batched_grad=check_batched_grad,
        check_batched_forward_grad=check_batched_forward_grad,
        check_forward_ad=check_forward_ad,
        check_backward_ad=check_backward_ad,
        masked=masked,
    )
    given = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not given or not eps > 0:
        raise UsageError(f"gradcheck: expected at least one input and eps > 0; got {len(given)} and {eps}.")
    checked = [i for i, t in enumerate(given) if t.requires_grad]
    for i in checked:
        if given[i].dtype != np.float64:
            raise DTypeError(f"gradcheck: input {i}: expected float64; got {given[i].dtype}.")
    snapshots = _Snapshots(given[0].device)
    leaves = [t.detach().clone().requires_grad_(t.requires_grad) for t in given]
    with snapshots.around():
        output = func(*leaves)
        if not isinstance(output, Tensor):
            raise ArgumentError(
                f"gradcheck: func: expected a function that returns a Tensor; got {type(output).__name__}."
            )
        direction = np.random.Generator(np.random.Philox(0)).standard_normal(output.shape)
        if output.requires_grad:
            output.backward(tensor(direction, dtype=output.dtype, device=output.device))

    def projected(index: int, values: np.ndarray) -> float:
        moved = list(given)
        moved[index] = tensor(values, device=given[index].device)
        with snapshots.around(), no_grad():
            return float((func(*moved).numpy().astype(np.float64) * direction).sum())

    worst, message = 0.0, ""
    for i in checked:
        values = given[i].detach().numpy().copy()
        gradient = leaves[i].grad
        found = np.zeros(values.shape) if gradient is None else gradient.numpy()
        for at in np.ndindex(values.shape):
            centre = values[at]
            values[at] = centre + eps
            above = projected(i, values)
            values[at] = centre - eps
            numerical = (above - projected(i, values)) / (2 * eps)
            values[at] = centre
            excess = abs(found[at] - numerical) - (atol + rtol * abs(numerical))
            if not excess <= worst:  # also true for NaN
                worst = excess
                message = f"input {i} at {at}: tape {found[at]:.8g}, central difference {numerical:.8g}"
    if message and not raise_exception:
        return False
    if message:
        raise GraphError(f"gradcheck: worst element: {message} (accepted: {atol:g} + {rtol:g} * |difference quotient|)")
    return True
