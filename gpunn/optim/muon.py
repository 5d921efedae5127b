"""Muon: momentum whose matrices are made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError
from gpunn.ops.addmm import addmm
from gpunn.ops.embedding import clear
from gpunn.ops.sgd import sgd_step
from gpunn.optim._fused import FusedOptimizer
from gpunn.optim.optimizer import positive
from gpunn.tape import no_grad

_RATIOS = (None, "original", "match_rms_adamw")


class Muon(FusedOptimizer):
    """Momentum, made nearly orthogonal by five Newton-Schulz iterations for each matrix; as in PyTorch.

    momentum_buffer += (1 - momentum) * (gradient - momentum_buffer)
    u = gradient + momentum * (momentum_buffer - gradient) with nesterov, else momentum_buffer
    parameter -= lr * (ratio * orthogonal(u) + weight_decay * parameter)

    orthogonal(u) begins with x = u / max(norm of u, eps), the wider side across, and repeats x = a x + (b g + c g g) x
    with g = x x^T: the singular values of u become about 1 and its singular vectors stay. The products are computed in
    the parameters' dtype; PyTorch's are in bfloat16.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Of hidden layers; see :class:`Optimizer`. Other parameters, such as biases, embeddings and the last layer,
        belong to another optimiser. PyTorch takes matrices only; the filters of a convolution are a matrix here too, of
        a row for each filter.
    lr : float
        Step size.
    weight_decay : float
        Not negative; decoupled from the gradient, times ``lr``.
    momentum : float
        From 0 to 1.
    nesterov : bool
        Look ahead along the momentum.
    ns_coefficients : (float, float, float)
        a, b, c.
    eps : float
        Least norm that is divided by.
    ns_steps : int
        Iterations, less than 100.
    adjust_lr_fn : str, optional
        Ratio for a matrix of A rows and B columns: "original" (and None): sqrt(max(1, A / B)); "match_rms_adamw":
        0.2 sqrt(max(A, B)).

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError
        If a parameter has fewer than two axes.

    References
    ----------
    Jordan 2024, "Muon: An optimizer for hidden layers in neural networks", https://kellerjordan.github.io/posts/muon/.
    Liu et al. 2025, arXiv:2502.16982 (match_rms_adamw).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, options)

    _buffers_are = "momentum buffers"
    _counted: ClassVar[dict[str, float]] = {}

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "weight_decay", "eps"):
            positive("Muon", name, options[name])
        real_number("Muon", "momentum", options["momentum"], 0, 1)
        coefficients, steps = options["ns_coefficients"], options["ns_steps"]
        if not isinstance(coefficients, tuple | list) or len(coefficients) != 3:
            raise UsageError(f"Muon: ns_coefficients: expected three numbers; got {coefficients!r}.")
        for i, coefficient in enumerate(coefficients):
            real_number("Muon", f"ns_coefficients[{i}]", coefficient)
        if not isinstance(steps, int) or not 0 <= steps < 100:
            raise UsageError(f"Muon: ns_steps: expected a whole number from 0 to 99; got {steps!r}.")
        if options["adjust_lr_fn"] not in _RATIOS:
            raise UsageError(
                f"Muon: adjust_lr_fn: expected 'original' or 'match_rms_adamw'; got {options['adjust_lr_fn']!r}."
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimise more parameters: :meth:`Optimizer.add_param_group`, of two axes or more."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim < 2:
                del self.param_groups[-1]
                raise ShapeError(
                    f"Muon: expected parameters of two axes or more; got shape {p.shape}. Give biases and norms to "
                    "another optimiser, such as AdamW."
                )

    def _numbers(self, group: dict[str, Any], step: int = 1) -> tuple[float, ...]:
        momentum = group["momentum"]
        # Twice what sgd_step wants, each where a vector may begin: for the parameters; and for the momentum, whose
        # gradient is taken times 1 - momentum, and whose result is added to zeros.
        gap = (0.0,) * 3
        return group["lr"], 0.0, 1.0, group["weight_decay"], 1.0, *gap, -1.0, momentum, 1.0, 0.0, 1 - momentum

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"momentum_buffer": True}

    def _flags(self, group: dict[str, Any]) -> tuple[Any, ...]:
        names = ("nesterov", "eps", "ns_steps", "adjust_lr_fn")
        return (*(group[name] for name in names), *group["ns_coefficients"])

    def _launch(
        self,
        device: Device,
        group: dict[str, Any],
        params: list[Any],
        grads: list[Any],
        buffers: list[list[Any]],
        new: list[bool],
        scalars: Any,
    ) -> None:
        (momenta,) = buffers
        none, error = [False] * len(params), device.error_buffer
        updates = _zeros(device, params)
        sgd_step(device, updates, grads, momenta, none, scalars[8:], error, bool(group["nesterov"]))
        with no_grad():
            made = [_orthogonal(device, u, group) for u in updates]
        sgd_step(device, params, made, [None] * len(params), none, scalars[:5], error, False)


def _zeros(device: Device, like: list[Any]) -> list[Any]:
    """Arrays of zeros of these shapes, made by one launch: parts of one array, each where a vector may begin."""
    starts, end = [], 0
    for array in like:
        starts.append(end)
        end += -(-array.size // 4) * 4
    flat = device.empty((end,), like[0].dtype)
    clear(device, flat)
    return [flat[start : start + a.size].reshape(a.shape) for start, a in zip(starts, like, strict=True)]


def _orthogonal(device: Device, update: Any, group: dict[str, Any]) -> Any:
    """The step of one parameter, ratio included. A filter's numbers are in memory's order, which changes nothing."""
    u = Tensor._of_physical(update.reshape(len(update), -1), device)
    rows, columns = u.shape
    a, b, c = group["ns_coefficients"]
    x = u.T if rows > columns else u
    x = x / (x * x).sum().sqrt().clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.T
        x = addmm(x, addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    ratio = math.sqrt(max(1.0, rows / columns))
    if group["adjust_lr_fn"] == "match_rms_adamw":
        ratio = 0.2 * math.sqrt(max(rows, columns))
    x = (x.T if rows > columns else x) * ratio
    return x.contiguous()._physical.reshape(update.shape)
