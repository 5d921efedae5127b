"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from gpunn.differences import refuse
from gpunn.ops.adam import adam_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive, two_betas


class Adam(FusedOptimizer):
    """Steps scaled by running averages of the gradient and of its square, as in PyTorch.

    d = gradient + weight_decay * parameter
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * d^2
    parameter -= lr * (exp_avg / (1 - beta1^t)) / (sqrt(exp_avg_sq / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    betas : (float, float)
        Decay rates of the two averages, in [0, 1).
    eps : float
        Added to the square root.
    weight_decay : float
        The L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    amsgrad : bool
        Use the largest ``exp_avg_sq`` so far in place of the current one.
    maximize : bool
        Maximise instead of minimising.
    foreach, capturable, fused : bool, optional
        Change nothing: a step is one launch for all parameters of a group in any case, and can be captured.
    differentiable : bool
        Only False: steps are not recorded on the tape.
    decoupled_weight_decay : bool
        Shrink the parameter by lr * weight_decay instead of adding to the gradient: AdamW.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Kingma, Ba 2015, arXiv:1412.6980; Reddi, Kale, Kumar 2018, "On the convergence of Adam and beyond"
    (amsgrad); lecture topic T4.
    """

    _primitive = adam_step

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        refuse("Adam", differentiable=differentiable)
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, options)

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay"):
            positive(self._name, name, options[name])
        two_betas(self._name, options["betas"])

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        root = math.sqrt(1 - beta2**step)
        keep = 1.0
        if group["decoupled_weight_decay"]:
            decay, keep = 0.0, 1 - lr * decay
        size = lr * root / (1 - beta1**step)
        return size, group["eps"] * root, 1 - beta1, beta2, 1 - beta2, decay, keep, sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"exp_avg": True, "exp_avg_sq": True, "max_exp_avg_sq": bool(group["amsgrad"])}


class AdamW(Adam):
    """Adam with weight decay kept out of the gradient, as in PyTorch.

    parameter -= lr * weight_decay * parameter, then Adam's step without decay.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    betas : (float, float)
        Decay rates of the two averages, in [0, 1).
    eps : float
        Added to the square root.
    weight_decay : float
        Fraction of the parameter, times lr, that a step subtracts.
    amsgrad : bool
        Use the largest ``exp_avg_sq`` so far in place of the current one.
    maximize : bool
        Maximise instead of minimising.
    foreach, capturable, fused : bool, optional
        Change nothing: a step is one launch for all parameters of a group in any case, and can be captured.
    differentiable : bool
        Only False: steps are not recorded on the tape.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Loshchilov, Hutter 2019, arXiv:1711.05101; lecture topic T4.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse("AdamW", differentiable=differentiable)
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
