"""``torch.backends.mps``: there are no kernels for Apple's GPUs."""

from __future__ import annotations


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False
