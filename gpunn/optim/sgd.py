"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn.differences import refuse
from gpunn.errors import UsageError
from gpunn.ops.sgd import sgd_step
from gpunn.optim._fused import FusedOptimizer, sign_of
from gpunn.optim.optimizer import positive


class SGD(FusedOptimizer):
    """Stochastic gradient descent with momentum, as in PyTorch.

    d = gradient + weight_decay * parameter
    momentum_buffer = d in the first step, then momentum * momentum_buffer + (1 - dampening) * d
    parameter -= lr * (momentum_buffer, or d + momentum * momentum_buffer with nesterov)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        See :class:`Optimizer`.
    lr : float
        Step size.
    momentum, dampening, weight_decay : float
        Not negative. Weight decay is the L2 penalty (weight_decay / 2) |w|^2, on every parameter of the group.
    nesterov : bool
        Needs momentum and no dampening.
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
    Sutskever, Martens, Dahl, Hinton 2013, "On the importance of initialization and momentum in deep
    learning"; lecture topic T3.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        refuse("SGD", differentiable=differentiable)
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, options)

    _buffers_are = "momentum buffers"
    _counted: ClassVar[dict[str, float]] = {}

    def _check(self, options: dict[str, Any]) -> None:
        real_number(self._name, "dampening", options["dampening"])
        for name in ("lr", "momentum", "weight_decay"):
            positive("SGD", name, options[name])
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise UsageError("SGD: nesterov needs momentum > 0 and dampening = 0.")

    def _numbers(self, group: dict[str, Any], step: int = 1) -> tuple[float, ...]:
        return group["lr"], group["momentum"], 1 - group["dampening"], group["weight_decay"], sign_of(group)

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"momentum_buffer": group["momentum"] != 0}

    def _flags(self, group: dict[str, Any]) -> tuple[bool, ...]:
        return (bool(group["nesterov"]),)

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
        nesterov = bool(group["nesterov"])
        sgd_step(device, params, grads, *buffers, new, scalars, device.error_buffer, nesterov)
