"""Probability distributions under the names of ``torch.distributions``, made of ops: on every device, with gradients.

Samples come from the default generator, on the host, so that a seed gives the same ones on every device.
"""

from __future__ import annotations

from gpunn._calls import explains_all
from gpunn.distributions.combined import Independent, kl_divergence
from gpunn.distributions.continuous import Exponential, Laplace, Normal, Uniform
from gpunn.distributions.discrete import Bernoulli, Categorical, OneHotCategorical
from gpunn.distributions.distribution import Distribution

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Exponential",
    "Independent",
    "Laplace",
    "Normal",
    "OneHotCategorical",
    "Uniform",
    "kl_divergence",
]

explains_all(globals())
