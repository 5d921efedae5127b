"""Launches that are listed without being run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from gpunn.gpu import emulated, loaders
from gpunn.gpu.launcher import Launch, trace_launches


@contextlib.contextmanager
def dry_launches() -> Iterator[list[Launch]]:
    """Collect every launch and run none: for sizes at which running them on the emulator would take minutes."""
    with (
        mock.patch.object(emulated.EmulatorLaunch, "run"),
        mock.patch.object(loaders._CudaFunction, "run"),
        trace_launches() as launches,
    ):
        yield launches
