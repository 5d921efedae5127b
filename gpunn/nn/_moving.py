"""Where a module's tensors are, and moving them in place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gpunn._capture_state import changes
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.nn._uninitialized import Uninitialized
from gpunn.tape import no_grad


def move(tensors: Iterable[Tensor], home: Device | None, dtype: np.dtype | None) -> None:
    """Move tensors and their gradients to another device, and floating ones to another dtype, keeping the objects."""
    for tensor in tensors:
        if isinstance(tensor, Uninitialized):
            tensor._move(home, dtype)
            continue
        _move_one(tensor, home, dtype)
        if tensor.grad is not None:
            _move_one(tensor.grad, home, dtype)


def _move_one(tensor: Tensor, home: Device | None, dtype: np.dtype | None) -> None:
    """Move a tensor to another device or dtype, keeping the object."""
    with no_grad():
        moved = tensor.detach()
        if dtype is not None and tensor.dtype.kind in FLOATING:
            moved = moved.to(dtype)
        if home is not None:
            moved = moved.to(home)
    if moved.device is not tensor.device or moved.dtype != tensor.dtype:
        tensor._physical, tensor.device = moved._physical, moved.device
        changes.count += 1
        # A backward of an earlier forward would mix the old storage with the new.
        tensor._storage.count += 1
        tensor._storage, tensor._view = moved._storage, None


def home_of(*kinds: Iterable[Tensor]) -> Device | None:
    """Where the first of a module's tensors is, if it has any."""
    return next((tensor.device for tensors in kinds for tensor in tensors), None)
