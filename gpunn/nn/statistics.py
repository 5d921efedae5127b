"""The statistics that batch normalisation uses at test time, computed from the whole training set.

At test time a batch normalisation has three choices: the test batch's own statistics (``track_running_stats=False``,
or training mode), the running estimate (evaluation), or what :func:`recompute_batch_statistics` replaces it by.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.nn._modes import evaluating
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gpunn.nn.module import Module
from gpunn.ops.batch_norm import batch_norm_statistics
from gpunn.tape import no_grad

_OP = "recompute_batch_statistics"


class _Reached(Exception):
    """The layer in question has seen the batch; the layers after it need not run."""


class _Moments:
    """Count, mean and sum of squares about the mean of each channel, in float64."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean, self.m2 = np.zeros((2, channels))

    def merge(self, count: int, mean: np.ndarray, var: np.ndarray) -> None:
        """Add a batch (Chan, Golub, LeVeque 1983): exact up to rounding, however far apart the means are."""
        total = self.count + count
        if total == 0:
            return
        apart = mean - self.mean
        self.mean = self.mean + apart * (count / total)
        self.m2 = self.m2 + var * count + apart**2 * (self.count * count / total)
        self.count = total


def recompute_batch_statistics(model: Module, loader: Iterable[Any], batches: int | None = None) -> None:
    """Replace the running estimates of every batch normalisation by the statistics of the training set.

    Layers are handled in the order of the forward pass, in evaluation mode: a layer's statistics are
    those of its inputs once the layers before it use their new ones. Mean and variance are exact over all
    batches, not an average that lags behind the weights.

    Parameters
    ----------
    model : Module
        In any mode, which is kept. Its gradients and weights do not change.
    loader : iterable of batches
        A DataLoader, or a list; it is iterated once for each layer. A batch is the model's input, or
        a tuple with the input first. A DataLoader's generator is left as it was, and every pass sees the
        same batches.
    batches : int, optional
        Take only the first batches of each pass: a large part of the set is nearly as good as all of it.

    Raises
    ------
    UsageError
        If the loader can be iterated only once or yields no batch, or ``batches`` is not positive.

    Notes
    -----
    The variance stored divides by the count minus 1, as the running estimates do. ``num_batches_tracked``
    becomes the number of batches seen. Layers without running estimates, or not used by the model's forward, are
    left alone. With k layers the data goes through the model k times, each time only up to the layer in question.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> model = nn.Sequential(nn.BatchNorm1d(1))
    >>> nn.recompute_batch_statistics(model, [gpunn.tensor([[1.0], [2.0]]), gpunn.tensor([[6.0]])])
    >>> model[0].running_mean.tolist(), model[0].running_var.tolist()
    ([3.0], [7.0])

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167, algorithm 2; lecture topic L7.
    """
    if batches is not None and (not isinstance(batches, int) or isinstance(batches, bool) or batches < 1):
        raise UsageError(f"{_OP}: batches: expected None or a positive integer; got {batches!r}.")
    if isinstance(loader, Iterator):
        raise UsageError(
            f"{_OP}: loader: expected one that can be gone through again, once for each layer; got a "
            f"{type(loader).__name__}. Give a DataLoader, or list(...) of it."
        )
    with no_grad(), evaluating(model), _Inputs(loader, batches) as inputs:
        for layer, calls in _in_order(model, inputs):
            seen = _moments(model, layer, calls, inputs)
            layer.running_mean.copy_(seen.mean)
            layer.running_var.copy_(seen.m2 / max(seen.count - 1, 1))
            layer.num_batches_tracked.fill_(inputs.number)


class _Inputs:
    """The model's inputs, the same in every pass; a DataLoader's stream continues afterwards as if unused."""

    def __init__(self, loader: Iterable[Any], batches: int | None) -> None:
        self.number = 0  # batches in the latest pass
        self._loader: Any = loader
        self._batches = batches
        self._generator = getattr(loader, "generator", None)
        self._states: tuple[Any, Any] = (None, None)

    def __enter__(self) -> _Inputs:
        if self._generator is not None:
            self._states = self._generator.get_state(), getattr(self._loader, "epoch_state", None)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._generator is not None:
            self._generator.set_state(self._states[0])
            if self._states[1] is not None:
                self._loader.epoch_state = self._states[1]

    def __iter__(self) -> Iterator[Tensor]:
        if self._generator is not None:
            self._generator.set_state(self._states[0])
        self.number = 0
        for batch in islice(self._loader, self._batches):
            self.number += 1
            yield batch[0] if isinstance(batch, tuple | list) else batch


def _in_order(model: Module, inputs: _Inputs) -> list[tuple[Any, int]]:
    """The batch normalisations with running estimates, in the order the forward reaches them, with call counts."""
    order: list[Any] = []

    def note(layer: Module, args: tuple[Any, ...], output: Any) -> None:
        order.append(layer)

    layers = [m for m in model.modules() if isinstance(m, BatchNorm1d | BatchNorm2d) and m.running_mean is not None]
    if not layers:
        return []
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        for x in inputs:
            model(x)
            break
        else:
            raise UsageError(f"{_OP}: loader: expected at least one batch; got none.")
    finally:
        for handle in handles:
            handle.remove()
    return [(layer, order.count(layer)) for layer in dict.fromkeys(order)]


def _moments(model: Module, layer: Module, calls: int, inputs: _Inputs) -> _Moments:
    """The moments of all the layer's inputs, over all batches."""
    moments = _Moments(layer.num_features)
    done = 0

    def note(layer: Module, args: tuple[Any, ...], output: Any) -> None:
        nonlocal done
        if not args:
            raise UsageError(f"{here(_OP)}: expected the layer's input as its first argument; it came by keyword.")
        x: Tensor = args[0]
        if x.ndim == 3:  # a sequence is an image of one row
            x = x.reshape(x.shape[0], x.shape[1], 1, x.shape[2])
        mean, var = batch_norm_statistics(x.device, x._physical, None, None, None, 0.1)
        host = x.device.to_host
        moments.merge(x.numel() // x.shape[1], host(mean).astype(np.float64), host(var).astype(np.float64))
        done += 1
        if done == calls:
            raise _Reached

    with layer.register_forward_hook(note):
        for x in inputs:
            done = 0
            with contextlib.suppress(_Reached):
                model(x)
    return moments
