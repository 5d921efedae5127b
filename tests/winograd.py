"""Winograd's algorithm for convolutions of any size that fit it, where by rule only large ones are its."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn._device import Device
from gpunn.gpu.choices import Key, Way
from gpunn.gpu.conv2d_winograd import WINOGRAD
from gpunn.gpu.gemm import APART
from gpunn.gpu.launcher import KernelSource


class ByWinograd:
    """A tuner that takes this algorithm wherever it may be tried.

    Parameters
    ----------
    room : int
        Megabytes of transformed tiles at a time.
    """

    def __init__(self, room: int = 128) -> None:
        self._room = room

    def choose(
        self,
        device: Device,
        key: Key,
        source: KernelSource,
        rule: Way,
        others: Sequence[Way],
        run: Callable[[Way], Any],
    ) -> Way:
        """(WINOGRAD, room), or what leaves it to the launches of single gradients."""
        if any(way[0] == WINOGRAD for way in others):
            return WINOGRAD, self._room
        return APART if key[0] == "conv2d_backward" else rule

    def known(self, key: Key, rule: Way) -> Way:
        """The rule's: nothing is captured by it."""
        return rule
