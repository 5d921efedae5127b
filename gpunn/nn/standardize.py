"""Input standardisation kept with the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, ShapeError, UsageError, here
from gpunn.nn.module import Module


class Standardize(Module):
    """y = (x - mean) / std for each feature or channel (axis 1), with the training set's mean and deviation.

    Mean and deviation are buffers: they are saved with the model and move with it.

    Parameters
    ----------
    mean, std : float or sequence of C floats
        Of the training inputs; :meth:`fit` computes them.

    Attributes
    ----------
    mean, std : Tensor, (C,)

    Shape
    -----
    x : (N, C) or (N, C, ...) float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If mean and std differ in length, or a deviation is not positive.

    References
    ----------
    Lecture topic T0.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> x = gpunn.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> nn.Standardize.fit(x)(x).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    def __init__(self, mean: Any = 0.0, std: Any = 1.0) -> None:
        super().__init__()
        values = [_numbers(name, v) for name, v in (("mean", mean), ("std", std))]
        if values[0].shape != values[1].shape or values[0].ndim != 1:
            raise UsageError(f"Standardize: expected one mean and one std per channel; got {mean!r} and {std!r}.")
        if not (np.isfinite(values[0]).all() and np.isfinite(values[1]).all() and (values[1] > 0).all()):
            raise UsageError(f"Standardize: expected finite means and positive deviations; got {mean!r} and {std!r}.")
        self.mean: Tensor
        self.std: Tensor
        for name, value in zip(("mean", "std"), values, strict=True):
            self.register_buffer(name, tensor(value.astype(np.float32)))

    @classmethod
    def fit(cls, inputs: Tensor | Iterable[Any]) -> Standardize:
        """A layer with the mean and the deviation (of all N, not N - 1) of each channel of ``inputs``.

        Parameters
        ----------
        inputs : Tensor (N, C, ...), or an iterable of batches
            The first field of a loader's tuples counts. Summed in float64.

        Raises
        ------
        UsageError
            If there is nothing to measure, or a channel is constant, which cannot be scaled to deviation 1.
        """
        count, mean, spread = 0, np.zeros(1), np.zeros(1)
        for batch in (inputs,) if isinstance(inputs, Tensor) else inputs:
            x = (batch if isinstance(batch, Tensor) else batch[0]).detach().numpy().astype(np.float64)
            rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
            if not len(rows):
                continue
            # Chan, Golub, LeVeque 1979: merge means and squared deviations, without cancellation.
            total, delta = count + len(rows), rows.mean(0) - mean
            spread = spread + rows.var(0) * len(rows) + delta**2 * count * len(rows) / total
            mean, count = mean + delta * len(rows) / total, total
        if not count:
            raise UsageError("Standardize.fit: expected at least one input; got none.")
        constant = np.flatnonzero(spread == 0)
        if len(constant):
            raise UsageError(
                f"Standardize.fit: channels {constant.tolist()[:8]} are constant and cannot be scaled; leave them out."
            )
        return cls(mean, np.sqrt(spread / count))

    def forward(self, x: Tensor) -> Tensor:
        channels = self.mean.shape[0]
        if x.ndim < 2 or (channels > 1 and x.shape[1] != channels):
            raise ShapeError(f"{here('Standardize')}: expected x (N, {channels}, ...); got {x.shape}.")
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.to(x.dtype).reshape(shape)) / self.std.to(x.dtype).reshape(shape)

    def extra_repr(self) -> str:
        return f"channels={self.mean.shape[0]}"


def _numbers(name: str, value: Any) -> np.ndarray:
    """A mean or deviation for each channel, or one for all."""
    try:
        return np.atleast_1d(np.asarray(value.detach().numpy() if isinstance(value, Tensor) else value, np.float64))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"Standardize: {name}: expected a number, or one for each channel; got {type(value).__name__}."
        ) from error
