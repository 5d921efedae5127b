"""PyTorch's names for mixed precision, which change nothing here, and say so: ops compute in their inputs' dtype."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from gpunn._calls import explains_all

__all__ = ["GradScaler", "autocast", "is_autocast_cache_enabled", "is_autocast_enabled"]


class autocast(contextlib.ContextDecorator):
    """A block, or decorated function, that runs as it would without: nothing is converted to 16 bits.

    Parameters
    ----------
    device_type : str
    dtype : dtype, optional
    enabled : bool
        With True a warning says that nothing is converted.
    cache_enabled : bool, optional
        The others change nothing.
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        self.enabled = bool(enabled)
        if self.enabled:
            warnings.warn(
                "gpunn.amp.autocast converts nothing: ops compute in the dtype of their inputs, float32 or float64.",
                UserWarning,
                stacklevel=2,
            )

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exc: object) -> None:
        return None


class GradScaler:
    """Scales no loss and no gradient, as nothing is computed in 16 bits; steps of optimisers are always made.

    Parameters
    ----------
    device : str
    init_scale, growth_factor, backoff_factor : float
    growth_interval : int
    enabled : bool
        None of them changes anything.
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

    def scale(self, outputs: Any) -> Any:
        """``outputs``, as they are."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing: gradients were not scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with the other arguments."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Nothing: there is no scale."""

    def get_scale(self) -> float:
        """1.0."""
        return 1.0

    def is_enabled(self) -> bool:
        """What the constructor was given."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Empty: there is nothing to keep."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing; ``state_dict`` may be one of PyTorch's."""


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """False: nothing is converted.

    Parameters
    ----------
    device_type : str, optional
    """
    return False


def is_autocast_cache_enabled() -> bool:
    """False: nothing is converted, so nothing is kept."""
    return False


explains_all(globals())
