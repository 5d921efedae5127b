"""What all distributions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._creation_random import rand, randn
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._promotion import default_float
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.tape import no_grad


class Distribution:
    """A batch of probability distributions; an instance of a subclass, such as :class:`Normal`.

    Attributes
    ----------
    batch_shape : tuple of int
        One distribution for each element.
    event_shape : tuple of int
        The shape of one sample of one of them; () for numbers.
    """

    batch_shape: tuple[int, ...] = ()
    event_shape: tuple[int, ...] = ()
    has_rsample = False

    def __init__(self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = ()) -> None:
        self.batch_shape, self.event_shape = tuple(batch_shape), tuple(event_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Random numbers of shape ``sample_shape + batch_shape + event_shape``, off the tape.

        Parameters
        ----------
        sample_shape : sequence of int
        """
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A sample through which gradients reach the parameters.

        Parameters
        ----------
        sample_shape : sequence of int

        Raises
        ------
        UsageError
            If the distribution has none, as its samples are not continuous.

        References
        ----------
        Kingma and Welling 2013, arXiv:1312.6114, section 2.4.
        """
        raise UsageError(f"{type(self).__name__}.rsample: its samples have no gradient; use sample() and log_prob().")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at ``value``.

        Parameters
        ----------
        value : Tensor
            Broadcasts with ``batch_shape + event_shape``.
        """
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """In nats; of shape ``batch_shape``."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return self.variance.sqrt()

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        return self.entropy().exp()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_shape: {self.batch_shape}, event_shape: {self.event_shape})"

    def _shape_of(self, sample_shape: Sequence[int]) -> tuple[int, ...]:
        try:
            before = tuple(int(n) for n in sample_shape)
        except TypeError:
            raise ShapeError(
                f"{type(self).__name__}.sample: sample_shape: expected a sequence of ints; got {sample_shape!r}."
            ) from None
        return (*before, *self.batch_shape, *self.event_shape)


def parameters(op: str, **given: Any) -> tuple[Tensor, ...]:
    """Floating tensors of one broadcast shape, on the device of those that are tensors."""
    tensors = [v for v in given.values() if isinstance(v, Tensor)]
    home: Device | str = tensors[0].device if tensors else "cpu"
    kind = next((t.dtype for t in tensors if t.dtype.kind in FLOATING), default_float())
    made = [
        (v if v.dtype.kind in FLOATING else v.to(kind)) if isinstance(v, Tensor) else tensor(v, dtype=kind, device=home)
        for v in given.values()
    ]
    try:
        shape = np.broadcast_shapes(*(t.shape for t in made))
    except ValueError:
        found = ", ".join(f"{name} {t.shape}" for name, t in zip(given, made, strict=True))
        raise ShapeError(f"{here(op)}: expected shapes that broadcast together; got {found}.") from None
    return tuple(t if t.shape == shape else t.expand(*shape) for t in made)


def one_of(op: str, first: str, a: Any, second: str, b: Any) -> Tensor:
    """The one of two parameters that is given."""
    if (a is None) == (b is None):
        raise UsageError(f"{op}: expected one of {first} and {second}; got {'neither' if a is None else 'both'}.")
    return parameters(op, **({first: a} if b is None else {second: b}))[0]


def uniform_like(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Uniform on (0, 1): neither end."""
    smallest = float(np.finfo(x.dtype).tiny)
    return rand(*shape, dtype=x.dtype, device=x.device).clamp(smallest, 1 - float(np.finfo(x.dtype).eps) / 2)


def normal_like(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers."""
    return randn(*shape, dtype=x.dtype, device=x.device)
