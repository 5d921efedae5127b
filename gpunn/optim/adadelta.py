"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunn.differences import refuse
from gpunn.errors import UsageError
from gpunn.ops.adadelta import adadelta_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive


class Adadelta(FusedOptimizer):
    """Steps as large as the last ones have been, per gradient as large as the last ones have been, as in PyTorch.

    d = gradient + weight_decay * parameter
    square_avg = rho * square_avg + (1 - rho) * d^2
    delta = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * d
    acc_delta = rho * acc_delta + (1 - rho) * delta^2
    parameter -= lr * delta

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Factor of the step.
    rho : float
        Decay rate of both averages, in [0, 1].
    eps : float
        Added below both square roots.
    weight_decay : float
        The L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    maximize : bool
        Maximise instead of minimising.
    foreach, capturable : bool, optional
        Change nothing: a step is one launch for all parameters of a group in any case, and can be captured.
    differentiable : bool
        Only False: steps are not recorded on the tape.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Zeiler 2012, arXiv:1212.5701.
    """

    _primitive = adadelta_step

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        refuse("Adadelta", differentiable=differentiable)
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "rho", "eps", "weight_decay"):
            positive(self._name, name, options[name])
        if options["rho"] > 1:
            raise UsageError(f"Adadelta: rho: expected a number from 0 to 1; got {options['rho']!r}.")

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        rho = group["rho"]
        return group["lr"], rho, 1 - rho, group["eps"], group["weight_decay"], sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"square_avg": True, "acc_delta": True}
