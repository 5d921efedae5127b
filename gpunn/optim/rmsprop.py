"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunn.differences import refuse
from gpunn.ops.rmsprop import rmsprop_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive


class RMSprop(FusedOptimizer):
    """Steps scaled by a running average of the squared gradient, as in PyTorch.

    d = gradient + weight_decay * parameter
    square_avg = alpha * square_avg + (1 - alpha) * d^2
    d = d / (sqrt(square_avg) + eps), with the variance square_avg - grad_avg^2 in its place if centered
    parameter -= lr * (d, or with momentum: momentum_buffer = momentum * momentum_buffer + d)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    alpha : float
        Decay rate of the averages, in [0, 1].
    eps : float
        Added to the square root.
    weight_decay : float
        The L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    momentum : float
        Not negative.
    centered : bool
        Divide by the gradient's standard deviation instead of its root mean square.
    maximize : bool
        Maximise instead of minimising.
    capturable, foreach : bool, optional
        Change nothing: a step is one launch for all parameters of a group in any case, and can be captured.
    differentiable : bool
        Only False: steps are not recorded on the tape.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Hinton 2012, "Neural networks for machine learning", lecture 6; Graves 2013, arXiv:1308.0850 (centered);
    lecture topic T4.
    """

    _primitive = rmsprop_step

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        refuse("RMSprop", differentiable=differentiable)
        options = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            positive(self._name, name, options[name])

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        alpha, eps, decay, mu = group["alpha"], group["eps"], group["weight_decay"], group["momentum"]
        return group["lr"], alpha, 1 - alpha, eps, decay, mu, sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"square_avg": True, "grad_avg": bool(group["centered"]), "momentum_buffer": group["momentum"] > 0}
