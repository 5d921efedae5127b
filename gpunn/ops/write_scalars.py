"""Writing a few numbers to a device by value (``kernels/scalars.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device
from gpunn.gpu.launcher import KernelSource
from gpunn.primitive import primitive

SOURCE = KernelSource("scalars.cu")

_WORDS = np.dtype([("word", np.uint32, (32,))])


@primitive(returns=(), mutates=("to",), host_arguments=("values",))
def write_scalars(xp: Any, to: Any, values: np.ndarray) -> None:
    """to[...] = values; ``values`` is a host array of ``to``'s dtype, at most 128 bytes."""
    to[...] = xp.asarray(values)


@write_scalars.kernel
def _(device: Device, to: Any, values: np.ndarray) -> None:
    words = np.zeros(1, _WORDS)
    count = values.nbytes // 4
    words["word"][0, :count] = values.view(np.uint32)
    SOURCE.launch(device, "write_words", (1, 1, 1), 32, (to.view(np.uint32), words, count))


class StepScalars:
    """A few numbers on a device that change between steps: a device array and its host copy.

    Parameters
    ----------
    device : Device
    dtype : numpy dtype
        float32, float64 or uint64.
    size : int
        How many, at most 16.
    """

    def __init__(self, device: Device, dtype: Any, size: int) -> None:
        refuse_in_capture("making an optimiser's or generator's device words for the first time")
        self.device = device
        self.array = device.zeros((size,), dtype)
        self._current: tuple[Any, ...] = (0,) * size

    def write(self, *values: Any) -> None:
        """Set the numbers by one launch that carries them by value; does nothing if they are unchanged."""
        if values == self._current:
            return
        write_scalars(self.device, self.array, np.array(values, self.array.dtype))
        self._current = values
