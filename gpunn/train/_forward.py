"""What training and testing have in common: a batch's scores and loss, in 16 bits where that is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import half_named, is_half
from gpunn._tensor import Tensor
from gpunn.amp import autocast
from gpunn.errors import ArgumentError, UsageError
from gpunn.nn.module import Module


def check_tensors(scores: Any, loss: Any) -> None:
    """Raise ArgumentError unless a model and a loss function have returned tensors."""
    for name, value in (("model", scores), ("loss function", loss)):
        if not isinstance(value, Tensor):
            raise ArgumentError(f"expected the {name} to return a Tensor; got {type(value).__name__}. Does it return?")


def half_of(dtype: Any) -> np.dtype | None:
    """What ``Trainer(autocast=)`` was given, as a dtype.

    Raises
    ------
    UsageError
        If it is neither float16 nor bfloat16.
    DTypeError
        If it is bfloat16 and ml_dtypes is not installed.
    """
    if dtype is None:
        return None
    if isinstance(dtype, str) and dtype in ("float16", "bfloat16"):
        return half_named("Trainer", dtype)
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or not is_half(found):
        raise UsageError(f"Trainer: autocast: expected 'float16', 'bfloat16' or None; got {dtype!r}.")
    return found


class Forward:
    """The forward pass of a model and its loss.

    Parameters
    ----------
    model : Module
        On ``device``; returns scores (N, classes).
    loss : callable
        ``loss(scores, labels)``, the mean over the batch.
    device : Device
    half : dtype, optional
        float16 or bfloat16: both run within ``autocast`` of it.
    """

    def __init__(
        self, model: Module, loss: Callable[[Tensor, Tensor], Tensor], device: Device, half: np.dtype | None = None
    ) -> None:
        self.model, self.loss, self.device, self.half = model, loss, device, half

    def __call__(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and loss, which is not in 16 bits: it may be scaled.

        Raises
        ------
        ArgumentError
            If model or loss function return no tensor.
        """
        with self.casting():
            scores = self.model(x)
            loss = self.loss(scores, labels)
        check_tensors(scores, loss)
        return scores, loss if self.half is None or not is_half(loss.dtype) else loss.float()

    def casting(self) -> contextlib.AbstractContextManager[Any]:
        """The block that the model runs in."""
        return contextlib.nullcontext() if self.half is None else autocast(self.device.type, self.half)
