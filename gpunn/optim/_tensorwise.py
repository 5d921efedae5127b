"""Optimisers that are written with ops on arrays, parameter by parameter: no kernels of their own, no capture.

A step on ``cuda`` computes on the GPU, by some ten launches of CuPy's for each parameter.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from gpunn._capture_state import watching
from gpunn._tensor import Tensor
from gpunn.errors import CaptureError, UsageError
from gpunn.optim.optimizer import Optimizer, like, step_count


class TensorwiseOptimizer(Optimizer):
    """Base of optimisers whose rule is one method, :meth:`_change`, of arrays."""

    @abc.abstractmethod
    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of a parameter's buffers, which begin with zeros."""

    @abc.abstractmethod
    def _change(
        self, xp: Any, group: dict[str, Any], state: dict[str, Any], step: int, p: Any, g: Any, *buffers: Any
    ) -> None:
        """Update ``p`` and its buffers in place by the gradient ``g``, of step ``step``, counted from 1."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Recomputes the loss and its gradients; called first, and its result is returned.

        Raises
        ------
        CaptureError
            In a captured step: use one of the optimisers with a kernel there.
        UsageError
            If a gradient does not fit its parameter.
        """
        if watching() is not None:
            raise CaptureError(
                f"{self._name}: it has no kernel, so its step cannot be captured. Leave the step uncaptured, as with "
                "Trainer(..., capture=False), or use Adam, AdamW, Adagrad, RMSprop or SGD."
            )
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._step(group, p, p.grad)
        return loss

    def _step(self, group: dict[str, Any], p: Tensor, gradient: Tensor) -> None:
        if gradient.shape != p.shape or gradient.dtype != p.dtype or gradient.device is not p.device:
            raise UsageError(
                f"{self._name}: expected a gradient of shape {p.shape}, {p.dtype} on {p.device} as its parameter; "
                f"got shape {gradient.shape}, {gradient.dtype} on {gradient.device}."
            )
        state = self.state[p]
        if "step" not in state:
            state["step"] = step_count(0)
        for name in self._buffers(group):
            buffer = state.get(name)
            if buffer is None:
                state[name] = Tensor._of_physical(p.device.zeros(p._physical.shape, p.dtype), p.device)
            elif buffer.device is not p.device or buffer.dtype != p.dtype:
                state[name] = like(p, buffer, None)
        state["step"].array[...] += 1
        buffers = [state[name]._physical for name in self._buffers(group)]
        with p.device.active():
            g = -gradient._physical if group["maximize"] else gradient._physical
            self._change(p.device.xp, group, state, int(state["step"].array), p._physical, g, *buffers)
        p._storage.changed()


def with_decay(group: dict[str, Any], p: Any, g: Any) -> Any:
    """The gradient with that of the L2 penalty; or, with ``decoupled_weight_decay``, p made smaller in place."""
    if not group["weight_decay"]:
        return g
    if group.get("decoupled_weight_decay"):
        p *= 1 - group["lr"] * group["weight_decay"]
        return g
    return g + group["weight_decay"] * p
