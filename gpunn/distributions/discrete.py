"""Distributions of whole numbers and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._tensor import Tensor
from gpunn.distributions.distribution import Distribution, one_of, uniform_like
from gpunn.errors import ShapeError
from gpunn.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from gpunn.ops.clamp import clamp
from gpunn.ops.gather import gather
from gpunn.ops.log_softmax import log_softmax
from gpunn.ops.max import argmax
from gpunn.ops.multinomial import multinomial
from gpunn.ops.one_hot import one_hot
from gpunn.ops.sigmoid import sigmoid
from gpunn.tape import no_grad


def _clamped(probs: Tensor) -> Tensor:
    """Away from 0 and 1, so that logarithms and their gradients are finite, as in PyTorch."""
    eps = float(np.finfo(probs.dtype).eps)
    return clamp(probs, eps, 1 - eps)


class Bernoulli(Distribution):
    """1 with a given probability, else 0.

    Parameters
    ----------
    probs : Tensor or number, optional
        Of 1.
    logits : Tensor or number, optional
        log(probs / (1 - probs)); one of both is given.
    validate_args : bool, optional
        Changes nothing: values are not looked at.
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        given = one_of("Bernoulli", "probs", probs, "logits", logits)
        self.probs = given if logits is None else sigmoid(given)
        self.logits = given if probs is None else _clamped(given).log() - (-_clamped(given)).log1p()
        super().__init__(given.shape)

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return self.probs

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """0 and 1 as floats, of shape ``sample_shape + batch_shape``."""
        with no_grad():
            return (uniform_like(self.probs, self._shape_of(sample_shape)) < self.probs).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of 0 or 1."""
        value = value.to(self.logits.dtype)
        logits = self.logits.expand(*value.shape) if self.logits.ndim <= value.ndim else self.logits
        return -binary_cross_entropy_with_logits(logits, value.expand(*logits.shape), reduction="none")

    def entropy(self) -> Tensor:
        """In nats."""
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


class Categorical(Distribution):
    """One of several classes.

    Parameters
    ----------
    probs : Tensor, (…, classes), optional
        At least 0; divided by their sum.
    logits : Tensor, (…, classes), optional
        Logarithms of probabilities, up to a constant; one of both is given.
    validate_args : bool, optional
        Changes nothing: values are not looked at.

    Raises
    ------
    ShapeError
        If there is no axis of classes.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.distributions import Categorical
    >>> d = Categorical(probs=gpunn.tensor([0.25, 0.25, 0.5]))
    >>> round(d.log_prob(gpunn.tensor(2)).item(), 4), round(d.entropy().item(), 4)
    (-0.6931, 1.0397)
    """

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        given = one_of(type(self).__name__, "probs", probs, "logits", logits)
        if given.ndim < 1:
            raise ShapeError(f"{type(self).__name__}: expected a last axis of classes; got shape ().")
        if logits is None:
            self.probs = given / given.sum(-1, keepdim=True)
            self.logits = _clamped(self.probs).log()
        else:
            self.logits = log_softmax(given, -1)
            self.probs = self.logits.exp()
        super().__init__(given.shape[:-1])

    @property
    def param_shape(self) -> tuple[int, ...]:
        """``batch_shape`` and the number of classes."""
        return self.logits.shape

    @property
    def mode(self) -> Tensor:
        """The likeliest class."""
        return argmax(self.probs, -1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Classes, int64, of shape ``sample_shape + batch_shape``."""
        shape = Categorical._shape_of(self, sample_shape)
        count = 1
        for n in shape[: len(shape) - len(self.batch_shape)]:
            count *= n
        with no_grad():
            rows = self.probs.reshape(-1, self.probs.shape[-1])
            return multinomial(rows, count, replacement=True).t().reshape(*shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of the classes ``value``, integers."""
        value, classes = value.to("int64"), self.logits.shape[-1]
        shape = value.shape if len(value.shape) >= len(self.batch_shape) else self.batch_shape
        logits = self.logits.expand(*shape, classes)
        return gather(logits, -1, value.expand(*shape).unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """In nats."""
        return -(self.probs * self.logits).sum(-1)


class OneHotCategorical(Categorical):
    """One of several classes, as a vector with a 1 at its place.

    Parameters
    ----------
    probs, logits, validate_args
        As for :class:`Categorical`.
    """

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(probs, logits)
        self.event_shape = (self.logits.shape[-1],)

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return self.probs

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Vectors of 0 and 1, floats, of shape ``sample_shape + batch_shape + (classes,)``."""
        flat = Categorical(probs=self.probs.detach()).sample(sample_shape)
        return one_hot(flat, self.logits.shape[-1]).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of the class whose element is 1."""
        return super().log_prob(argmax(value, -1))
