"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.ops.adagrad import adagrad_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive, step_count


class Adagrad(FusedOptimizer):
    """Steps scaled by the sum of all squared gradients so far, as in PyTorch.

    d = gradient + weight_decay * parameter
    sum += d^2
    parameter -= lr / (1 + (t - 1) * lr_decay) * d / (sqrt(sum) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    lr_decay : float
        How fast the step size falls with the number of steps t.
    weight_decay : float
        The L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    initial_accumulator_value : float
        What ``sum`` starts from.
    eps : float
        Added to the square root.
    maximize : bool
        Maximise instead of minimising.
    foreach, fused : bool, optional
        Change nothing: a step is one launch for all parameters of a group in any case, and can be captured.
    differentiable : bool
        Only False: steps are not recorded on the tape.

    Raises
    ------
    UsageError
        If an option is invalid.

    References
    ----------
    Duchi, Hazan, Singer 2011, "Adaptive subgradient methods for online learning and stochastic optimization";
    lecture topic T4.
    """

    _primitive = adagrad_step
    _buffers_are = "sums of squares"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse("Adagrad", differentiable=differentiable)
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimise more parameters, with options of their own; their sums exist from now on, as in PyTorch.

        Parameters
        ----------
        param_group : dict
            ``"params"`` and options; missing options take the defaults.
        """
        super().add_param_group(param_group)
        added = self.param_groups[-1]
        for p in added["params"]:
            self.state[p] = {"step": step_count(0), "sum": self._new_buffer(added, "sum", p)}

    def _check(self, options: dict[str, Any]) -> None:
        for name in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            positive(self._name, name, options[name])

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        size = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        return size, group["eps"], group["weight_decay"], sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"sum": True}

    def _new_buffer(self, group: dict[str, Any], name: str, p: Tensor) -> Tensor:
        return super()._new_buffer(group, name, p).fill_(group["initial_accumulator_value"])
