"""What tests of files that are made to do harm have in common."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from gpunn.errors import GpunnError

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and links are POSIX's")


def refusal(read: Callable[[], Any], most: int = 16_000_000) -> str:
    """The message of the error that reading raises, taking less memory than ``most`` bytes on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(GpunnError) as caught:
            read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert peak < most
    assert len(message) < 500
    assert message.isprintable()
    return message
