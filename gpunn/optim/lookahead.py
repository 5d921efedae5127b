"""Lookahead: slow weights that follow the fast ones of another optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpunn._device import Device
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.ops.sgd import sgd_step
from gpunn.optim._fused import FusedOptimizer
from gpunn.optim._state import ParameterState
from gpunn.optim.optimizer import Optimizer


class Lookahead(FusedOptimizer):
    """Another optimiser's steps, and after every k of them: slow += alpha (parameter - slow), parameter = slow.

    The slow weights begin as the parameters before the first step. A captured step reads and writes them in every step,
    with factors of 0 in all but every k-th. ``parameter = slow`` is computed as parameter - (parameter - slow), which
    rounds where the two differ by more than a factor of 2. PyTorch has no Lookahead.

    Parameters
    ----------
    optimizer : optimiser
        From ``gpunn.optim``; it makes the fast steps. Schedules may hold either of the two.
    k : int
        Steps between two looks.
    alpha : float
        How far the slow weights go, from 0 to 1.

    Attributes
    ----------
    optimizer : optimiser
    k : int
    alpha : float
        Change it, and the next step uses it, also in a captured step.
    param_groups, state
        The other optimiser's; each parameter's state also has ``slow_buffer`` and ``slow_step``.

    Raises
    ------
    UsageError
        If an argument is invalid.

    References
    ----------
    Zhang, Lucas, Hinton, Ba 2019, arXiv:1907.08610.
    """

    _buffers_are = "slow weights"
    _counted: ClassVar[dict[str, float]] = {"slow_step": 0}

    def __init__(self, optimizer: Optimizer, k: int = 5, alpha: float = 0.5) -> None:
        if not isinstance(optimizer, Optimizer) or isinstance(optimizer, Lookahead):
            raise UsageError(f"Lookahead: expected an optimiser of gpunn.optim; got {type(optimizer).__name__}.")
        self.optimizer = optimizer
        self.k = whole_number("Lookahead", "k", k, 1)
        self.alpha = real_number("Lookahead", "alpha", alpha, 0, 1)
        self._share()

    def _share(self) -> None:
        self._scalars = {}
        self.defaults, self.param_groups = self.optimizer.defaults, self.optimizer.param_groups
        self._scalars_of_state = (*self.optimizer._scalars_of_state, "slow_step")

    @property
    def state(self) -> ParameterState:
        """The other optimiser's."""
        return self.optimizer.state

    @state.setter
    def state(self, value: ParameterState) -> None:
        self.optimizer.state = value

    def __getstate__(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "k": self.k, "alpha": self.alpha}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._share()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimise more parameters: :meth:`Optimizer.add_param_group` of the other optimiser."""
        self.optimizer.add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make the other optimiser's step, and after every k of them move the slow weights.

        Parameters
        ----------
        closure : callable, optional
            As of the other optimiser.
        """
        for group in self.param_groups:  # before the first step changes what they begin with
            self._prepare(group, [p for p in group["params"] if p.grad is not None])
        loss = self.optimizer.step(closure)
        super().step()
        return loss

    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        looks = step % self.k == 0
        # What sgd_step wants for p += factor * (g - p), twice, each where a vector may begin.
        moving, gap = (0.0, 1.0, 1.0, -1.0), (0.0,) * 3
        return self.alpha if looks else 0.0, *moving, *gap, 1.0 if looks else 0.0, *moving

    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"slow_buffer": True}

    def _new_buffer(self, group: dict[str, Any], name: str, p: Tensor) -> Tensor:
        return p.detach().clone()

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
        (slow,) = buffers
        nothing, old = [None] * len(params), [False] * len(params)
        sgd_step(device, slow, params, nothing, old, scalars[:5], device.error_buffer, False)
        sgd_step(device, params, slow, nothing, old, scalars[8:], device.error_buffer, False)
