"""Adamax, NAdam and RAdam: Adam with another norm, with Nesterov's momentum, with a start that needs no warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from gpunn.differences import refuse
from gpunn.ops.adamax import adamax_step
from gpunn.ops.nadam import nadam_step
from gpunn.ops.radam import radam_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive, two_betas


class _AdamRelative(FusedOptimizer):
    """What the three share: options, and the numbers of both averages and of weight decay."""

    _options: tuple[str, ...] = ("lr", "eps", "weight_decay")

    def _check(self, options: dict[str, Any]) -> None:
        for name in self._options:
            positive(self._name, name, options[name])
        two_betas(self._name, options["betas"])

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"exp_avg": True, "exp_avg_sq": True}

    def _shared(self, group: dict[str, Any]) -> tuple[float, ...]:
        """The last numbers of NAdam's and RAdam's kernels."""
        (beta1, beta2), decay, keep = group["betas"], group["weight_decay"], 1.0
        if group["decoupled_weight_decay"]:
            decay, keep = 0.0, 1 - group["lr"] * decay
        return 1 - beta1, beta2, 1 - beta2, decay, keep, sign_of(group)


class Adamax(_AdamRelative):
    """Adam with the largest gradient of late in the place of the root of the mean square, as in PyTorch.

    d = gradient + weight_decay * parameter
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_inf = max(beta2 * exp_inf, |d| + eps)
    parameter -= lr / (1 - beta1^t) * exp_avg / exp_inf

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    betas : (float, float)
        Decay rates of both averages, in [0, 1).
    eps : float
        Added to magnitudes.
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
    Kingma, Ba 2014, arXiv:1412.6980, section 7.1.
    """

    _primitive = adamax_step

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        refuse("Adamax", differentiable=differentiable)
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        size = group["lr"] / (1 - beta1**step)
        return size, 1 - beta1, beta2, group["eps"], group["weight_decay"], sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"exp_avg": True, "exp_inf": True}


class NAdam(_AdamRelative):
    """Adam with Nesterov's momentum, as in PyTorch.

    d = gradient + weight_decay * parameter
    mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2), mu_product = mu_1 * ... * mu_t
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * d^2
    m = (1 - mu_t) / (1 - mu_product) * d + mu_{t+1} / (1 - mu_product * mu_{t+1}) * exp_avg
    parameter -= lr * m / (sqrt(exp_avg_sq / (1 - beta2^t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    betas : (float, float)
        Decay rates of both averages, in [0, 1).
    eps : float
        Added to the square root.
    weight_decay : float
        The L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    momentum_decay : float
        How fast the momentum grows.
    decoupled_weight_decay : bool
        Make the parameter smaller by lr * weight_decay of itself instead, as AdamW does.
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
    Dozat 2016, "Incorporating Nesterov momentum into Adam".
    """

    _primitive = nadam_step
    _options = ("lr", "eps", "weight_decay", "momentum_decay")
    _counted: ClassVar[dict[str, float]] = {"step": 0, "mu_product": 1}
    _scalars_of_state = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        refuse("NAdam", differentiable=differentiable)
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        options |= {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, options)

    def _momentum(self, group: dict[str, Any], step: int) -> float:
        mu: float = group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        return mu

    def _after(self, group: dict[str, Any], before: tuple[float, ...]) -> tuple[Any, ...]:
        step, product = int(before[0]) + 1, before[1]
        # In float32, as PyTorch keeps it: in float64 steps would differ from its own by 1e-8 of their size.
        return step, float(np.float32(product) * np.float32(self._momentum(group, step)))

    def _numbers(self, group: dict[str, Any], step: int, product: float = 1.0) -> tuple[float, ...]:
        mu, following = self._momentum(group, step), self._momentum(group, step + 1)
        root = math.sqrt(1 - group["betas"][1] ** step)
        now = group["lr"] * root * (1 - mu) / (1 - product)
        ahead = group["lr"] * root * following / (1 - product * following)
        return now, ahead, group["eps"] * root, *self._shared(group)


class RAdam(_AdamRelative):
    """Adam whose steps do without the second average until that can be trusted, as in PyTorch.

    d = gradient + weight_decay * parameter
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * d^2
    rho_inf = 2 / (1 - beta2) - 1, rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
    m = exp_avg / (1 - beta1^t), and where rho > 5 times sqrt(1 - beta2^t) / (sqrt(exp_avg_sq) + eps) and
    sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
    parameter -= lr * m

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    betas : (float, float)
        Decay rates of both averages, in [0, 1).
    eps : float
        Added to the square root.
    weight_decay : float
        The L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    decoupled_weight_decay : bool
        Make the parameter smaller by lr * weight_decay of itself instead, as AdamW does.
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
    Liu, Jiang, He, Chen, Liu, Gao, Han 2019, arXiv:1908.03265.
    """

    _primitive = radam_step

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        refuse("RAdam", differentiable=differentiable)
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay})

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        beta1, beta2 = group["betas"]
        size, left = group["lr"] / (1 - beta1**step), 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * step * beta2**step / left
        rectified = rho > 5
        if rectified:
            size *= math.sqrt(left * (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
        return size, group["eps"], float(rectified), *self._shared(group)
