"""``torch.backends.cudnn``: what programs set here changes nothing, as convolutions run kernels of gpunn's own.

The bits are the same every time, whatever ``deterministic`` says, and no algorithms are tried out for ``benchmark``.
"""

from __future__ import annotations

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = True
allow_tf32 = False


def is_available() -> bool:
    """False: cuDNN is not used."""
    return False


def version() -> int | None:
    """None: cuDNN is not used."""
    return None
