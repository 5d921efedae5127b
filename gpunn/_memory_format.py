"""PyTorch's names of memory layouts. All are accepted, and none changes anything: images are stored channels last."""

from __future__ import annotations

import enum


class memory_format(enum.Enum):
    """How PyTorch would lay a tensor out; for keywords of that name, whose value changes nothing here."""

    contiguous_format = "contiguous_format"
    preserve_format = "preserve_format"
    channels_last = "channels_last"
    channels_last_3d = "channels_last_3d"

    def __repr__(self) -> str:
        return f"gpunn.{self.value}"


contiguous_format = memory_format.contiguous_format
preserve_format = memory_format.preserve_format
channels_last = memory_format.channels_last
channels_last_3d = memory_format.channels_last_3d
