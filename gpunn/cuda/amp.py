"""``torch.cuda.amp``'s older names of mixed precision."""

from __future__ import annotations

from typing import Any

from gpunn import amp
from gpunn._calls import explains_all
from gpunn.amp import custom_bwd, custom_fwd

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


class autocast(amp.autocast):
    """:class:`gpunn.amp.autocast` for "cuda".

    Parameters
    ----------
    enabled : bool
    dtype : dtype, optional
        float16 by default.
    cache_enabled : bool
    """

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(amp.GradScaler):
    """See :class:`gpunn.amp.GradScaler`.

    Parameters
    ----------
    init_scale, growth_factor, backoff_factor : float
    growth_interval : int
    enabled : bool
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
