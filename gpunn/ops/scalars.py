"""Writing a few numbers to a device by value (``kernels/scalars.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.launcher import KernelSource
from gpunn.primitive import primitive

SOURCE = KernelSource("scalars.cu")
_WORDS = np.dtype([("word", np.uint32, (16,))])


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"to": np.zeros(3, np.float32), "values": rng.standard_normal(3).astype(np.float32)},
        {"to": np.zeros(1, np.uint64), "values": np.array([2**40 + 5], np.uint64)},
        {"to": np.zeros(8, np.float64), "values": rng.standard_normal(8)},
    ]


@primitive(examples=_examples, returns=(), mutates=("to",), host_arguments=("values",))
def write_scalars(xp: Any, to: Any, values: np.ndarray) -> None:
    """to[...] = values; ``values`` is a host array of ``to``'s dtype, at most 64 bytes."""
    to[...] = xp.asarray(values)


@write_scalars.kernel
def _(device: Device, to: Any, values: np.ndarray) -> None:
    words = np.zeros(1, _WORDS)
    count = values.nbytes // 4
    words["word"][0, :count] = values.view(np.uint32)
    SOURCE.launch(device, "write_words", (1, 1, 1), 32, (to.view(np.uint32), words, count))
