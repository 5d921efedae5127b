"""Why training cannot go on: which layer first had numbers that are not finite, and which batch size would fit."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.nn.module import Module
from gpunn.optim._fused import FusedOptimizer
from gpunn.optim.optimizer import Optimizer
from gpunn.tape import no_grad
from gpunn.train._forward import Forward

_PIECE = 1 << 14


def layers_of(model: Module) -> list[tuple[str, Module]]:
    """The layers that have no layers in them, by name; a model that is one layer goes by its class's name."""
    return [
        (name or type(layer).__name__, layer) for name, layer in model.named_modules() if not list(layer.children())
    ]


def gradient_norms(model: Module) -> dict[str, float]:
    """The Euclidean norm of the gradient of each module's own parameters, by the module's name."""
    norms = {}
    for name, module in model.named_modules():
        found = [p.grad for p in module._parameters.values() if p is not None and p.grad is not None]
        if found:
            total = sum(_sum_of_squares(g.device.to_host(g._physical)) for g in found)
            norms[name or type(module).__name__] = float(np.sqrt(total))
    return norms


def _sum_of_squares(array: np.ndarray) -> float:
    """In float64, where squares of float32 numbers do not overflow; in pieces that stay in a cache."""
    flat = array.reshape(-1)
    pieces = (flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE))
    return sum(float(np.square(piece, dtype=np.float64).sum()) for piece in pieces)


def parameters_that_are_not_finite(model: Module) -> str:
    """The first parameter or buffer that holds such numbers, as part of a sentence; empty if none does."""
    for name, module in model.named_modules():
        place = f"{name} ({type(module).__name__})" if name else type(module).__name__
        for kind, values in (*module._parameters.items(), *module._buffers.items()):
            if values is not None and not _finite(values):
                return f"{place} is the first layer whose {kind} is not finite"
    return ""


def first_that_is_not_finite(forward: Forward, images: Tensor | None) -> str:
    """Where numbers that are not finite come from, as part of a sentence; empty if that is not known.

    Parameters
    ----------
    forward : Forward
        Of a model with the parameters that the failing step began with.
    images : Tensor or None
        The batch of that step.
    """
    model = forward.model
    layers = layers_of(model)
    if images is not None and layers and not _finite(images):
        name, layer = layers[0]
        return f"the images given to {name} ({type(layer).__name__}) have values that are not finite"
    found = parameters_that_are_not_finite(model)
    if found:
        return f"{found}: its gradient in an earlier step was not" if images is not None else found
    if images is None:
        return ""
    bad: list[str] = []

    def look(name: str, layer: Module) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            if not bad and isinstance(output, Tensor) and not _finite(output):
                bad.append(f"{name} ({type(layer).__name__}) is the first layer whose output is not finite")

        return hook

    hooks = [layer.register_forward_hook(look(name, layer)) for name, layer in layers]
    try:
        with no_grad(), forward.casting():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return bad[0] if bad else "all layers' outputs are finite, so the loss itself overflows"


def _finite(values: Tensor) -> bool:
    return values.dtype.kind not in FLOATING or bool(np.isfinite(values.device.to_host(values._physical)).all())


def fitting_batch(forward: Forward, optimizer: Optimizer, batch: tuple[Tensor, Tensor], error: BaseException) -> int:
    """The largest half, quarter, … of a batch whose forward and backward pass fit into memory; 0 if none does.

    It is tried, not estimated. Memory that the optimiser's first step will need is put aside meanwhile.

    Parameters
    ----------
    forward, optimizer
    batch : (images, labels)
        For which memory did not suffice.
    error : exception
        That said so; the arrays in its frames are dropped.
    """
    traceback.clear_frames(error.__traceback__)
    images, labels = batch
    size = len(images) // 2
    while size:
        optimizer.zero_grad()
        try:
            aside = _missing_buffers(optimizer)
            forward(images[:size], labels[:size])[1].backward()
            return size
        except MemoryError as again:
            traceback.clear_frames(again.__traceback__)
            size //= 2
        finally:
            aside = []  # noqa: F841  (held until here)
            optimizer.zero_grad()
    return 0


def _missing_buffers(optimizer: Optimizer) -> list[Any]:
    """As much memory as the optimiser will allocate in its first step, allocated."""
    if not isinstance(optimizer, FusedOptimizer):
        return []
    return [
        p.device.empty(p._physical.shape, p.dtype)
        for group in optimizer.param_groups
        for p in group["params"]
        for name, wanted in optimizer._buffers(group).items()
        if wanted and name not in optimizer.state.get(p, {})
    ]
