"""Distributions of real numbers, all of which have samples with gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunn._creation import full_like
from gpunn._tensor import Tensor
from gpunn.distributions.distribution import Distribution, normal_like, parameters, uniform_like
from gpunn.ops.erf import erf
from gpunn.ops.where import where


class Normal(Distribution):
    """The normal distribution.

    Parameters
    ----------
    loc : Tensor or number
        The mean.
    scale : Tensor or number
        The standard deviation, positive.
    validate_args : bool, optional
        Changes nothing: values are not looked at.

    Examples
    --------
    >>> from gpunn.distributions import Normal
    >>> round(Normal(0.0, 1.0).log_prob(0.0).item(), 4)
    -0.9189
    """

    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = parameters("Normal", loc=loc, scale=scale)
        super().__init__(self.loc.shape)

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        return self.scale * self.scale

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """loc + scale times standard normal numbers."""
        return self.loc + self.scale * normal_like(self.loc, self._shape_of(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density at ``value``."""
        z = (value - self.loc) / self.scale
        return -0.5 * (z * z) - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: Any) -> Tensor:
        """The probability of at most ``value``."""
        return 0.5 * (1 + erf((value - self.loc) / (self.scale * math.sqrt(2))))

    def entropy(self) -> Tensor:
        """log of the standard deviation plus a constant."""
        return self.scale.log() + 0.5 * (1 + math.log(2 * math.pi))


class Uniform(Distribution):
    """All numbers from ``low`` to ``high`` are equally likely.

    Parameters
    ----------
    low, high : Tensor or number
        low < high; ``high`` itself is never drawn.
    validate_args : bool, optional
        Changes nothing: values are not looked at.
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = parameters("Uniform", low=low, high=high)
        super().__init__(self.low.shape)

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        width = self.high - self.low
        return width * width / 12

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """low + (high - low) times uniform numbers."""
        return self.low + (self.high - self.low) * uniform_like(self.low, self._shape_of(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        """-log(high - low) between the ends, -inf elsewhere."""
        inside = (self.low <= value) & (value < self.high)
        density = -(self.high - self.low).log()
        return where(inside, density, full_like(density, -math.inf))

    def entropy(self) -> Tensor:
        """log(high - low)."""
        return (self.high - self.low).log()


class Laplace(Distribution):
    """The density falls exponentially on both sides of ``loc``.

    Parameters
    ----------
    loc : Tensor or number
        The mean.
    scale : Tensor or number
        The mean distance from it, positive.
    validate_args : bool, optional
        Changes nothing: values are not looked at.
    """

    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = parameters("Laplace", loc=loc, scale=scale)
        super().__init__(self.loc.shape)

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        return 2 * self.scale * self.scale

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """By the inverse of the distribution function."""
        side = uniform_like(self.loc, self._shape_of(sample_shape)) - 0.5
        return self.loc - self.scale * side.sign() * (1 - 2 * side.abs()).clamp(min=1e-38).log()

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density at ``value``."""
        return -(value - self.loc).abs() / self.scale - (2 * self.scale).log()

    def entropy(self) -> Tensor:
        """1 + log(2 scale)."""
        return 1 + (2 * self.scale).log()


class Exponential(Distribution):
    """Waiting times: the density falls exponentially from 0.

    Parameters
    ----------
    rate : Tensor or number
        1 over the mean, positive.
    validate_args : bool, optional
        Changes nothing: values are not looked at.
    """

    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = parameters("Exponential", rate=rate)
        super().__init__(self.rate.shape)

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return 1 / self.rate

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        return 1 / (self.rate * self.rate)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """-log of uniform numbers over the rate."""
        return -uniform_like(self.rate, self._shape_of(sample_shape)).log() / self.rate

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density at ``value``, which is at least 0."""
        return self.rate.log() - self.rate * value

    def entropy(self) -> Tensor:
        """1 - log(rate)."""
        return 1 - self.rate.log()
