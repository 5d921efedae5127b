"""Launches that are listed without being run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from gpunn.gpu import emulated
from gpunn.gpu.launcher import Launch, trace_launches


@contextlib.contextmanager
def dry_launches() -> Iterator[list[Launch]]:
    """Collect every launch on the emulator and run none: for sizes at which running them would take minutes."""
    with mock.patch.object(emulated.EmulatorLaunch, "run"), trace_launches() as launches:
        yield launches
