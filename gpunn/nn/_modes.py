"""Evaluation mode for a block of code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gpunn.nn.module import Module


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards every module is in the mode it was in, frozen ones too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
