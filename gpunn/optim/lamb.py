"""LAMB."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from gpunn.ops.lamb import lamb_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive, two_betas


class LAMB(FusedOptimizer):
    """Adam's direction with, for each tensor, a step of lr times the tensor's norm: for large batches.

    exp_avg = beta1 * exp_avg + (1 - beta1) * gradient
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * gradient^2
    u = (exp_avg / (1 - beta1^t)) / (sqrt(exp_avg_sq / (1 - beta2^t)) + eps) + weight_decay * parameter
    parameter -= lr * |parameter| / |u| * u

    The norms are over one tensor; their ratio is 1 where either is 0 (a bias that starts from 0 takes Adam's
    step). The paper's scaling function phi is the identity. PyTorch has no LAMB; names and state are Adam's.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size, relative to a tensor's norm.
    betas : (float, float)
        Decay rates of the two averages, in [0, 1).
    eps : float
        Added to the square root.
    weight_decay : float
        Added to the direction, times the parameter, before its norm is taken.
    maximize : bool
        Maximise instead of minimising.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    You et al. 2020, arXiv:1904.00962, algorithm 2; lecture topic T4.
    """

    _primitive = lamb_step

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options)

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay"):
            positive(self._name, name, options[name])
        two_betas(self._name, options["betas"])

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**step)
        scale, eps = root / (1 - beta1**step), group["eps"] * root
        return group["lr"], scale, eps, 1 - beta1, beta2, 1 - beta2, group["weight_decay"], sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"exp_avg": True, "exp_avg_sq": True}
