"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunn._capture import StepScalars, recording
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import CaptureError, UsageError
from gpunn.ops.sgd import sgd_step
from gpunn.optim.optimizer import Optimizer, positive


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as PyTorch's.

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
        Climb instead of descend.

    Raises
    ------
    UsageError
        If an option makes no sense.

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
    ) -> None:
        self._scalars: dict[tuple[int, Device, np.dtype], StepScalars] = {}
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, options)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Optimise more parameters, with options of their own."""
        options = {**self.defaults, **(group if isinstance(group, dict) else {})}
        for name in ("lr", "momentum", "dampening", "weight_decay"):
            positive("SGD", name, options[name])
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            raise UsageError("SGD: nesterov needs momentum > 0 and dampening = 0.")
        super().add_param_group(group)

    def step(self) -> None:
        """Update every parameter that has a gradient: one launch for a group on one device.

        Nothing is written once a kernel has reported bad data (``Device.check``).
        """
        for index, group in enumerate(self.param_groups):
            together: dict[tuple[Device, np.dtype], list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    _check_gradient(p, p.grad)
                    together.setdefault((p.device, p.dtype), []).append(p)
            for (device, dtype), members in together.items():
                self._update(index, group, device, dtype, members)

    def _update(
        self, index: int, group: dict[str, Any], device: Device, dtype: np.dtype, members: list[Tensor]
    ) -> None:
        scalars = self._scalars.get((index, device, dtype))
        if scalars is None:
            if recording() is not None:
                raise CaptureError("SGD: the first step allocates memory and cannot be recorded; run one step first.")
            scalars = self._scalars[index, device, dtype] = StepScalars(device, dtype, 5)

        def write() -> None:
            sign = -1.0 if group["maximize"] else 1.0
            scalars.write(group["lr"], group["momentum"], 1 - group["dampening"], group["weight_decay"], sign)

        momenta, first = self._momenta(group, device, members)
        step = recording()
        if step is None:
            write()
        else:
            # The launch is recorded with these buffers and this form of the rule.
            form, buffers = self._form(group, members)

            def before_replay() -> None:
                form_now, buffers_now = self._form(group, members)
                if form_now != form or any(a is not b for a, b in zip(buffers_now, buffers, strict=True)):
                    raise CaptureError(
                        "SGD: momentum was switched on or off, nesterov changed, or momentum buffers were replaced "
                        "since this step was recorded; capture it again."
                    )
                write()

            step.before_replay[scalars] = before_replay
        sgd_step(
            device,
            [p._physical for p in members],
            [p.grad._physical for p in members if p.grad is not None],
            momenta,
            first,
            scalars.array,
            device.error_buffer,
            bool(group["nesterov"]),
        )
        for p in members:
            p._version.count += 1

    def _form(self, group: dict[str, Any], members: list[Tensor]) -> tuple[tuple[bool, bool], list[Tensor | None]]:
        """What a recorded launch cannot follow when it changes: the rule's form, and the buffers."""
        buffers = [self.state.get(id(p), {}).get("momentum_buffer") for p in members]
        return (bool(group["momentum"]), bool(group["nesterov"])), buffers

    def _momenta(self, group: dict[str, Any], device: Device, members: list[Tensor]) -> tuple[list[Any], list[bool]]:
        """Each parameter's momentum buffer in memory order (None without momentum), and whether it is new."""
        if group["momentum"] == 0:
            return [None] * len(members), [False] * len(members)
        new = [id(p) not in self.state for p in members]
        if any(new) and recording() is not None:
            raise CaptureError(
                "SGD: the first step creates momentum buffers and cannot be recorded; run one step first."
            )
        for p, is_new in zip(members, new, strict=True):
            if is_new:
                self.state[id(p)] = {
                    "momentum_buffer": Tensor._of_physical(device.zeros(p._physical.shape, p.dtype), device)
                }
        return [self.state[id(p)]["momentum_buffer"]._physical for p in members], new


def _check_gradient(p: Tensor, gradient: Tensor) -> None:
    """A gradient that a user put there must fit its parameter: the kernel cannot check."""
    if gradient.shape != p.shape or gradient.dtype != p.dtype or gradient.device is not p.device:
        raise UsageError(
            f"SGD: expected a gradient of shape {p.shape}, {p.dtype} on {p.device} as its parameter; "
            f"got shape {gradient.shape}, {gradient.dtype} on {gradient.device}."
        )
