"""Adamax, NAdam and RAdam: Adam with another norm, with Nesterov's momentum, with a start that needs no warm-up."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunn.differences import refuse
from gpunn.optim._tensorwise import TensorwiseOptimizer, with_decay
from gpunn.optim.optimizer import positive, step_count, two_betas


class _AdamRelative(TensorwiseOptimizer):
    """What the three share: options and the average of gradients."""

    _numbers: tuple[str, ...] = ("lr", "eps", "weight_decay")

    def _check(self, options: dict[str, Any]) -> None:
        for name in self._numbers:
            positive(self._name, name, options[name])
        two_betas(self._name, options["betas"])

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"


def _averaged(group: dict[str, Any], g: Any, exp_avg: Any, exp_avg_sq: Any) -> None:
    """Both running averages, in place."""
    beta1, beta2 = group["betas"]
    exp_avg += (1 - beta1) * (g - exp_avg)
    exp_avg_sq *= beta2
    exp_avg_sq += (1 - beta2) * (g * g)


class Adamax(_AdamRelative):
    """Adam with the largest gradient of late in the place of the root of the mean square, as in PyTorch.

    d = gradient + weight_decay * parameter
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_inf = max(beta2 * exp_inf, |d| + eps)
    parameter -= lr / (1 - beta1^t) * exp_avg / exp_inf

    It has no kernel: a step takes several launches for each parameter, and cannot be captured.

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
    foreach : bool, optional
        Changes nothing.
    capturable, differentiable : bool
        Only False.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Kingma, Ba 2014, arXiv:1412.6980, section 7.1.
    """

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
        refuse("Adamax", capturable=capturable, differentiable=differentiable)
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "exp_avg", "exp_inf"

    def _change(
        self, xp: Any, group: dict[str, Any], state: dict[str, Any], step: int, p: Any, g: Any, *buffers: Any
    ) -> None:
        exp_avg, exp_inf = buffers
        beta1, beta2 = group["betas"]
        g = with_decay(group, p, g)
        exp_avg += (1 - beta1) * (g - exp_avg)
        exp_inf *= beta2
        xp.maximum(exp_inf, abs(g) + group["eps"], out=exp_inf)
        p -= group["lr"] / (1 - beta1**step) * exp_avg / exp_inf


class NAdam(_AdamRelative):
    """Adam with Nesterov's momentum, as in PyTorch.

    d = gradient + weight_decay * parameter
    mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2), mu_product = mu_1 * ... * mu_t
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * d^2
    m = (1 - mu_t) / (1 - mu_product) * d + mu_{t+1} / (1 - mu_product * mu_{t+1}) * exp_avg
    parameter -= lr * m / (sqrt(exp_avg_sq / (1 - beta2^t)) + eps)

    It has no kernel: a step takes several launches for each parameter, and cannot be captured.

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
    foreach : bool, optional
        Changes nothing.
    capturable, differentiable : bool
        Only False.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Dozat 2016, "Incorporating Nesterov momentum into Adam".
    """

    _numbers = ("lr", "eps", "weight_decay", "momentum_decay")
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
        refuse("NAdam", capturable=capturable, differentiable=differentiable)
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        options |= {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, options)

    def _change(
        self, xp: Any, group: dict[str, Any], state: dict[str, Any], step: int, p: Any, g: Any, *buffers: Any
    ) -> None:
        exp_avg, exp_avg_sq = buffers
        beta1, beta2 = group["betas"]
        lr, decay = group["lr"], group["momentum_decay"]
        g = with_decay(group, p, g)
        _averaged(group, g, exp_avg, exp_avg_sq)
        mu, following = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        if "mu_product" not in state:
            state["mu_product"] = step_count(1)
        # In float32, as PyTorch keeps it: in float64 steps would differ from its own by 1e-8 of their size.
        state["mu_product"].array[...] *= np.float32(mu)
        product = float(state["mu_product"].array)
        root = xp.sqrt(exp_avg_sq / (1 - beta2**step)) + group["eps"]
        p -= lr * (1 - mu) / (1 - product) * g / root
        p -= lr * following / (1 - product * following) * exp_avg / root


class RAdam(_AdamRelative):
    """Adam whose steps do without the second average until that can be trusted, as in PyTorch.

    d = gradient + weight_decay * parameter
    exp_avg = beta1 * exp_avg + (1 - beta1) * d
    exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * d^2
    rho_inf = 2 / (1 - beta2) - 1, rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
    m = exp_avg / (1 - beta1^t), and where rho > 5 times sqrt(1 - beta2^t) / (sqrt(exp_avg_sq) + eps) and
    sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
    parameter -= lr * m

    It has no kernel: a step takes several launches for each parameter, and cannot be captured.

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
    foreach : bool, optional
        Changes nothing.
    capturable, differentiable : bool
        Only False.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Liu, Jiang, He, Chen, Liu, Gao, Han 2019, arXiv:1908.03265.
    """

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
        refuse("RAdam", capturable=capturable, differentiable=differentiable)
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay})

    def _change(
        self, xp: Any, group: dict[str, Any], state: dict[str, Any], step: int, p: Any, g: Any, *buffers: Any
    ) -> None:
        exp_avg, exp_avg_sq = buffers
        beta1, beta2 = group["betas"]
        g = with_decay(group, p, g)
        _averaged(group, g, exp_avg, exp_avg_sq)
        size, left = group["lr"] / (1 - beta1**step), 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * step * beta2**step / left
        if rho <= 5:
            p -= size * exp_avg
            return
        size *= math.sqrt(left * (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
        p -= size * exp_avg / (xp.sqrt(exp_avg_sq) + group["eps"])
