"""Distributions of several numbers, and the distance between two distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn._tensor import Tensor
from gpunn.distributions.continuous import Exponential, Laplace, Normal, Uniform
from gpunn.distributions.discrete import Bernoulli, Categorical
from gpunn.distributions.distribution import Distribution
from gpunn.errors import UsageError
from gpunn.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits


class Independent(Distribution):
    """The last axes of a batch as one event: their logarithms of densities are added up.

    Parameters
    ----------
    base_distribution : Distribution
    reinterpreted_batch_ndims : int
        How many axes.
    validate_args : bool, optional
        Changes nothing: values are not looked at.

    Raises
    ------
    UsageError
        If the batch has fewer axes.
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:
        n, batch = reinterpreted_batch_ndims, base_distribution.batch_shape
        if not 0 <= n <= len(batch):
            raise UsageError(f"Independent: reinterpreted_batch_ndims: expected 0 to {len(batch)}; got {n}.")
        self.base_dist = base_distribution
        self.reinterpreted_batch_ndims = n
        self.has_rsample = base_distribution.has_rsample
        super().__init__(batch[: len(batch) - n], (*batch[len(batch) - n :], *base_distribution.event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean of its samples."""
        return self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        """The mean of their squared distances from it."""
        return self.base_dist.variance

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """As of the distribution that it is made of."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """As of the distribution that it is made of."""
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Summed over the axes of an event."""
        return self._summed(self.base_dist.log_prob(value))

    def entropy(self) -> Tensor:
        """Summed over the axes of an event."""
        return self._summed(self.base_dist.entropy())

    def _summed(self, x: Tensor) -> Tensor:
        n = self.reinterpreted_batch_ndims
        return x.sum(tuple(range(-n, 0))) if n else x


def _normals(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    distance = ((p.loc - q.loc) / q.scale) ** 2
    return 0.5 * (ratio + distance - 1 - ratio.log())


def _categoricals(p: Categorical, q: Categorical) -> Tensor:
    return (p.probs * (p.logits - q.logits)).sum(-1)


def _bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    both = q.logits.expand(*p.probs.shape) if q.probs.ndim <= p.probs.ndim else q.logits
    given = p.probs.expand(*both.shape)
    return binary_cross_entropy_with_logits(both, given, reduction="none") - p.entropy()


def _uniforms(p: Uniform, q: Uniform) -> Tensor:
    inside = (q.low <= p.low) & (p.high <= q.high)
    apart = (q.high - q.low).log() - (p.high - p.low).log()
    return apart.masked_fill(~inside, float("inf"))


def _laplaces(p: Laplace, q: Laplace) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + ratio * (-distance / p.scale).exp() + distance / q.scale - 1


def _exponentials(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


_KL: tuple[tuple[type[Distribution], Callable[[Any, Any], Tensor]], ...] = (
    (Normal, _normals),
    (Categorical, _categoricals),
    (Bernoulli, _bernoullis),
    (Uniform, _uniforms),
    (Laplace, _laplaces),
    (Exponential, _exponentials),
)


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q), the mean of log p - log q over samples of p, in closed form.

    Parameters
    ----------
    p, q : Distribution
        Of one class.

    Returns
    -------
    Tensor
        In nats, of the shape to which both ``batch_shape`` broadcast.

    Raises
    ------
    UsageError
        If they are of different classes.

    Examples
    --------
    >>> from gpunn.distributions import Normal, kl_divergence
    >>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0)).item()
    0.5
    """
    if (
        isinstance(p, Independent)
        and isinstance(q, Independent)
        and p.reinterpreted_batch_ndims == q.reinterpreted_batch_ndims
    ):
        return p._summed(kl_divergence(p.base_dist, q.base_dist))
    for kind, formula in _KL:
        if isinstance(p, kind) and isinstance(q, kind):
            return formula(p, q)
    raise UsageError(
        f"kl_divergence: expected two distributions of one class, with a closed form; got {type(p).__name__} and "
        f"{type(q).__name__}. Take the mean of p.log_prob(x) - q.log_prob(x) over samples x of p."
    )
