"""Clipping gradients, weights that are computed, parameters as one vector, under PyTorch's names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._calls import explains_all
from gpunn._capture_state import refuse_in_capture
from gpunn._creation import zeros
from gpunn._device import Device, same_device
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, TrainingError, UsageError
from gpunn.nn._reparametrised import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm
from gpunn.nn._vectors import parameters_to_vector, vector_to_parameters
from gpunn.nn.utils import rnn
from gpunn.ops.clip_grad import clip_values, scale_by_norm, total_norm

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by one factor so that their norm, as of one long vector, is at most ``max_norm``.

    factor = min(1, max_norm / (norm + 1e-6))

    Nothing is read back from a device, so it can be part of a captured step; there ``max_norm`` is frozen.

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensor
        Whose ``.grad`` to scale in place; those without one are skipped.
    max_norm : float
        The largest norm.
    norm_type : float
        p > 0 of the p-norm (sum |x|^p)^(1/p), or infinity for the largest magnitude.
    error_if_nonfinite : bool
        Read the norm, and raise before anything is scaled if it is not finite. By default gradients become NaN.
    foreach : bool, optional
        Changes nothing: all gradients are read by one launch and scaled by another.

    Returns
    -------
    Tensor
        The norm before scaling, 0-d; 0 on the CPU where there are no gradients.

    Raises
    ------
    UsageError
        If an option is invalid, or gradients have several dtypes.
    DeviceError
        If gradients are on several devices.
    TrainingError
        With ``error_if_nonfinite``, if the norm is infinite or NaN.

    References
    ----------
    Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063; lecture topic T8.

    Examples
    --------
    >>> import gpunn
    >>> w = gpunn.zeros(2, requires_grad=True)
    >>> w.grad = gpunn.tensor([6.0, 8.0])
    >>> gpunn.nn.utils.clip_grad_norm_([w], max_norm=5.0).item()
    10.0
    >>> [round(g, 4) for g in w.grad.tolist()]
    [3.0, 4.0]
    """
    _number("clip_grad_norm_", "max_norm", max_norm)
    _number("clip_grad_norm_", "norm_type", norm_type)
    if norm_type == 0:
        raise UsageError("clip_grad_norm_: norm_type: expected a number > 0; got 0.")
    gradients = _gradients("clip_grad_norm_", parameters)
    if not gradients:
        return zeros()
    device, arrays = _together("clip_grad_norm_", gradients)
    norm = total_norm(device, arrays, float(norm_type))
    if error_if_nonfinite:
        refuse_in_capture("clip_grad_norm_(error_if_nonfinite=True)")
        value = float(device.to_host(norm))
        if not math.isfinite(value):
            raise TrainingError(
                f"clip_grad_norm_: the norm of the gradients is {value}, so they cannot be scaled. Lower the learning "
                "rate, or look for the layer whose gradient is not finite."
            )
    scale_by_norm(device, arrays, norm, float(max_norm))
    _note_change(gradients)
    return Tensor._of_physical(norm, device)


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Old name of :func:`clip_grad_norm_`, with a warning that it is old.

    Parameters
    ----------
    parameters, max_norm, norm_type, error_if_nonfinite, foreach
        As there.

    Returns
    -------
    Tensor
        The norm before scaling.
    """
    warnings.warn("nn.utils.clip_grad_norm is the old name of nn.utils.clip_grad_norm_.", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of every gradient to between -clip_value and clip_value.

    Parameters
    ----------
    parameters : Tensor, or iterable of Tensor
        Whose ``.grad`` to change in place; those without one are skipped.
    clip_value : float
        The largest magnitude.
    foreach : bool, optional
        Changes nothing: one launch limits all gradients.

    Raises
    ------
    UsageError
        If ``clip_value`` is not a number of at least 0, or gradients have several dtypes.
    DeviceError
        If gradients are on several devices.

    References
    ----------
    Lecture topic T8.

    Examples
    --------
    >>> import gpunn
    >>> w = gpunn.zeros(3, requires_grad=True)
    >>> w.grad = gpunn.tensor([-3.0, 0.5, 2.0])
    >>> gpunn.nn.utils.clip_grad_value_([w], clip_value=1.0)
    >>> w.grad
    tensor([-1. ,  0.5,  1. ])
    """
    _number("clip_grad_value_", "clip_value", clip_value)
    gradients = _gradients("clip_grad_value_", parameters)
    if gradients:
        device, arrays = _together("clip_grad_value_", gradients)
        clip_values(device, arrays, float(clip_value))
        _note_change(gradients)


def _number(op: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not value >= 0:
        raise UsageError(f"{op}: {name}: expected a number >= 0; got {value!r}.")


def _gradients(op: str, parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    members = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for p in members:
        if not isinstance(p, Tensor):
            raise ArgumentError(f"{op}: expected parameters, which are Tensors; got {type(p).__name__} among them.")
    return [p.grad for p in members if p.grad is not None]


def _together(op: str, gradients: list[Tensor]) -> tuple[Device, list[Any]]:
    """The gradients' device, and their arrays as primitives take them."""
    device = same_device(op, *(g.device for g in gradients))
    dtypes = sorted({str(g.dtype) for g in gradients})
    if len(dtypes) > 1:
        raise UsageError(f"{op}: expected gradients of one dtype; got {dtypes}. Call it once for each.")
    return device, [g._physical for g in gradients]


def _note_change(gradients: list[Tensor]) -> None:
    for g in gradients:
        g._storage.changed()


explains_all(globals())


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
