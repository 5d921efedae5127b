"""``torch.cuda.amp``'s older names of mixed precision, which change nothing here, and say so."""

from __future__ import annotations

import warnings
from typing import Any

from gpunn import amp
from gpunn._calls import explains_all

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """See :class:`gpunn.amp.autocast`.

    Parameters
    ----------
    enabled : bool
        With True a warning says that nothing is converted.
    dtype : dtype, optional
    cache_enabled : bool
        They change nothing.
    """

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, False, cache_enabled)
        self.enabled = bool(enabled)
        if self.enabled:
            warnings.warn(
                "gpunn.cuda.amp.autocast converts nothing: ops compute in the dtype of their inputs.",
                UserWarning,
                stacklevel=2,
            )


class GradScaler(amp.GradScaler):
    """See :class:`gpunn.amp.GradScaler`.

    Parameters
    ----------
    init_scale, growth_factor, backoff_factor : float
    growth_interval : int
    enabled : bool
        None of them changes anything.
    """

    def __init__(
        self,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


explains_all(globals())
