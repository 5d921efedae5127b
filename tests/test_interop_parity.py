"""Arrays in and out against PyTorch: its tensors come in by DLPack, ours go there, and what both refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import UsageError
from tests.parity import torch


@pytest.mark.parametrize("maker", ["as_tensor", "asarray", "from_dlpack"])
def test_tensors_of_torch_are_shared(maker: str) -> None:
    theirs = torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)
    ours = getattr(gpunn, maker)(theirs)
    assert (ours.shape, ours.dtype) == ((2, 3, 4, 5), np.float32)
    theirs[1, 2, 3, 4] = -1
    assert ours[1, 2, 3, 4].item() == -1
    np.testing.assert_array_equal(getattr(gpunn, maker)(theirs.contiguous()).numpy(), theirs.numpy())
    copied = gpunn.tensor(theirs)
    theirs.zero_()
    assert copied[1, 2, 3, 4].item() == -1


def test_what_torch_does_not_hand_out() -> None:
    for theirs, message in (
        (torch.ones(2, requires_grad=True), r"torch.Tensor does not hand out its memory .*Detach it"),
        (torch.ones(2, dtype=torch.bfloat16), r"torch.Tensor does not hand out its memory .*float32 for example"),
    ):
        with pytest.raises(UsageError, match=message):
            gpunn.as_tensor(theirs)


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_tensors_go_to_torch(kind: str) -> None:
    ours = gpunn.tensor(np.arange(24).reshape(1, 2, 3, 4) % 5, dtype=kind)
    theirs = torch.from_dlpack(ours)
    np.testing.assert_array_equal(theirs.numpy(), ours.numpy())
    assert theirs.data_ptr() == ours.array.ctypes.data
    with pytest.raises(BufferError):
        torch.from_dlpack(gpunn.ones(2, requires_grad=True))


def test_asarray_follows_torch() -> None:
    values = np.ones(3, np.float32)

    def shared(library: Any, data: Any, **how: Any) -> bool:
        made = library.asarray(data, **how)
        address = made.data_ptr() if library is torch else made.array.ctypes.data
        return bool(address == values.ctypes.data)

    for how in ({}, {"copy": True}, {"copy": False}, {"requires_grad": True}):
        assert shared(gpunn, values, **how) == shared(torch, values, **how), how
    for library in (torch, gpunn):
        with pytest.raises(ValueError, match=r"can't alias|needs a copy"):
            library.asarray([1.0, 2.0], copy=False)
        leaf = library.ones(2, requires_grad=True)
        assert library.asarray(leaf, requires_grad=True).requires_grad
        assert library.tensor(values, requires_grad=True).requires_grad
