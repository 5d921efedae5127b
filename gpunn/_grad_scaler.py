"""Scaling of losses, so that small gradients do not vanish in float16."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn.errors import ArgumentError, DTypeError, UsageError

if TYPE_CHECKING:
    from gpunn._tensor import Tensor


class _At(enum.Enum):
    """How far an optimiser has come since the last update."""

    SCALED = 0
    UNSCALED = 1
    STEPPED = 2


class _Progress:
    """Of one optimiser: how far it has come, and whether its gradients were all finite; None before that is known."""

    def __init__(self) -> None:
        self.at = _At.SCALED
        self.finite: bool | None = None


class GradScaler:
    """Multiplies a loss, and divides the gradients again before the optimiser's step, left out if one overflowed.

    A gradient below 6e-8 is 0 in float16. Times a large number it is not. The number is looked for: each step without
    an overflow counts, and after ``growth_interval`` of them it grows; with each overflow it shrinks. Whether there was
    an overflow has to be read from the device, once a step, so a captured step cannot do this. bfloat16 has the range
    of float32 and needs no scaling.

    Parameters
    ----------
    device : str
        Not used: gradients are scaled where they are.
    init_scale : float
        The first number.
    growth_factor, backoff_factor : float
        What it is multiplied by when it grows, more than 1, and when it shrinks, less than 1.
    growth_interval : int
        Steps in a row without an overflow before it grows.
    enabled : bool
        Without, nothing is scaled, and steps are always made.

    Raises
    ------
    UsageError
        If a factor or the interval is on the wrong side of 1.

    Examples
    --------
    >>> import gpunn
    >>> w = gpunn.nn.Parameter(gpunn.ones(2))
    >>> optimizer, scaler = gpunn.optim.SGD([w], lr=0.5), GradScaler(init_scale=8.0)
    >>> scaler.scale((w * 3.0).sum()).backward()
    >>> w.grad.tolist()
    [24.0, 24.0]
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> w.tolist()
    [-0.5, -0.5]

    References
    ----------
    Micikevicius and others 2018, "Mixed precision training", section 3.2.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = bool(enabled)
        self._scale = float(init_scale)
        self._clean_steps = 0
        self._progress: dict[int, _Progress] = {}
        if self._enabled:
            self.set_growth_factor(growth_factor)
            self.set_backoff_factor(backoff_factor)
            self.set_growth_interval(growth_interval)

    def scale(self, outputs: Any) -> Any:
        """``outputs``, a Tensor or a list or tuple of them, times the present scale.

        Parameters
        ----------
        outputs : Tensor or list or tuple of them
        """
        from gpunn._tensor import Tensor

        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            return type(outputs)([self.scale(output) for output in outputs])
        raise ArgumentError(f"GradScaler.scale: expected a Tensor, or a list of them; got {type(outputs).__name__}.")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimiser's parameters by the scale before ``step``, to clip them for example.

        Parameters
        ----------
        optimizer : Optimizer

        Raises
        ------
        UsageError
            If that has been done since the last :meth:`update`.
        DTypeError
            If a gradient is float16: parameters have to be float32.
        """
        if not self._enabled:
            return
        progress = self._of(optimizer)
        if progress.at is _At.UNSCALED:
            raise UsageError("GradScaler.unscale_: these gradients are unscaled already; call update() after the step.")
        if progress.at is _At.STEPPED:
            raise UsageError("GradScaler.unscale_: this optimiser has made its step already; call update() first.")
        progress.finite = self._unscale(optimizer)
        progress.at = _At.UNSCALED

    def _unscale(self, optimizer: Any) -> bool | None:
        """Whether all gradients are finite; None if there are none."""
        from gpunn.ops.clip_grad import scale_arrays, total_norm

        refuse_in_capture(
            "GradScaler: whether a gradient overflowed", "Use bfloat16, which needs no scaling, or step outside."
        )
        gradients: list[Tensor] = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        together: dict[Any, list[Any]] = {}
        for gradient in gradients:
            if gradient.dtype == np.float16:
                raise DTypeError(
                    "GradScaler.unscale_: a gradient is float16, in which small ones are lost when they are unscaled. "
                    "Keep parameters in float32, and compute within gpunn.autocast."
                )
            together.setdefault((gradient.device, gradient.dtype), []).append(gradient._physical)
        if not gradients:
            return None
        largest = []
        for (device, _), arrays in together.items():
            largest.append((device, total_norm(device, arrays, math.inf)))
            scale_arrays(device, arrays, 1 / self._scale)
        for gradient in gradients:
            gradient._storage.changed()
        return all(math.isfinite(float(device.to_host(norm))) for device, norm in largest)

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with unscaled gradients; None, and no step, if one of them is not finite.

        Parameters
        ----------
        optimizer : Optimizer
        *args, **kwargs
            No closure.

        Raises
        ------
        UsageError
            If the optimiser has made its step since the last :meth:`update`, has no gradients, or a closure is given.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise UsageError("GradScaler.step: a closure would compute its loss without scaling; give none.")
        progress = self._of(optimizer)
        if progress.at is _At.STEPPED:
            raise UsageError("GradScaler.step: this optimiser has made its step already; call update() first.")
        if progress.at is _At.SCALED:
            self.unscale_(optimizer)
        if progress.finite is None:
            raise UsageError("GradScaler.step: none of the parameters has a gradient; call backward() first.")
        progress.at = _At.STEPPED
        return optimizer.step(*args, **kwargs) if progress.finite else None

    def update(self, new_scale: Any = None) -> None:
        """Let the scale grow or shrink by what the steps since the last call have met.

        Parameters
        ----------
        new_scale : float or Tensor, optional
            The next scale, in place of what it would become.

        Raises
        ------
        UsageError
            If there was no step.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            met = [p.finite for p in self._progress.values() if p.finite is not None]
            if not met:
                raise UsageError("GradScaler.update: no gradients were seen since the last time; call step() first.")
            self._adapt(all(met))
        self._progress.clear()

    def _adapt(self, finite: bool) -> None:
        if not finite:
            self._scale *= self._backoff_factor
            self._clean_steps = 0
            return
        self._clean_steps += 1
        if self._clean_steps == self._growth_interval:
            self._clean_steps = 0
            grown = self._scale * self._growth_factor
            if grown <= np.finfo(np.float32).max:
                self._scale = grown

    def _of(self, optimizer: Any) -> _Progress:
        return self._progress.setdefault(id(optimizer), _Progress())

    def get_scale(self) -> float:
        """The present scale; 1.0 if this is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by when it grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """From now on grow by this factor.

        Parameters
        ----------
        new_factor : float
            More than 1.
        """
        self._growth_factor = _checked("growth_factor", new_factor, lambda v: v > 1, "a number above 1")

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """From now on shrink by this factor.

        Parameters
        ----------
        new_factor : float
            Between 0 and 1.
        """
        self._backoff_factor = _checked("backoff_factor", new_factor, lambda v: 0 < v < 1, "a number between 0 and 1")

    def get_growth_interval(self) -> int:
        """Steps in a row without an overflow before the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """From now on grow after so many steps.

        Parameters
        ----------
        new_interval : int
            At least 1.
        """
        self._growth_interval = _checked("growth_interval", new_interval, lambda v: v >= 1, "at least 1")

    def is_enabled(self) -> bool:
        """What the constructor was given."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """All there is to keep, under PyTorch's names; empty if this is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._clean_steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where ``state_dict``, one of ours or PyTorch's, was made; do nothing if this is not enabled.

        Parameters
        ----------
        state_dict : dict

        Raises
        ------
        UsageError
            If it lacks something, as that of one which was not enabled does.
        """
        if not self._enabled:
            return
        lacking = self.state_dict().keys() - state_dict.keys()
        if lacking:
            raise UsageError(
                f"GradScaler.load_state_dict: expected {', '.join(self.state_dict())}; {', '.join(sorted(lacking))} "
                "missing. A GradScaler that is not enabled has an empty one."
            )
        self.set_growth_factor(state_dict["growth_factor"])
        self.set_backoff_factor(state_dict["backoff_factor"])
        self.set_growth_interval(state_dict["growth_interval"])
        self._scale, self._clean_steps = float(state_dict["scale"]), int(state_dict["_growth_tracker"])


def _checked(name: str, value: Any, fits: Callable[[Any], bool], expected: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
        raise UsageError(f"GradScaler: {name}: expected {expected}; got {value!r}.")
    return value
