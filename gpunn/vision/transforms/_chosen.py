"""Transforms made of others: in a row, at random, or a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn._shared.numbers import real_number
from gpunn.errors import UsageError
from gpunn.vision.transforms._images import integer, order, uniform


def _callables(op: str, transforms: Any) -> Sequence[Any]:
    try:
        given = list(transforms)
    except TypeError as error:
        raise UsageError(f"{op}: transforms: expected a sequence; got {type(transforms).__name__}.") from error
    for transform in given:
        if not callable(transform) or isinstance(transform, type):
            raise UsageError(f"{op}: expected transforms, which are called with an image; got {transform!r}.")
    return transforms if isinstance(transforms, Sequence) else given


def _listed(name: str, *parts: Any) -> str:
    return f"{name}(\n" + "".join(f"    {part}\n" for part in parts) + ")"


class Compose:
    """Several transforms, one after the other.

    Parameters
    ----------
    transforms : sequence of callables

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.vision import transforms
    >>> prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    >>> prepare(np.full((1, 2), 255, np.uint8))
    tensor([[[1., 1.]]])
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = _callables("Compose", transforms)

    def __call__(self, img: Any) -> Any:
        """Change ``img`` by each of them."""
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listed("Compose", *self.transforms)


class Lambda:
    """A function as a transform.

    Parameters
    ----------
    lambd : callable
        From an image to an image.
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise UsageError(f"Lambda: lambd: expected a function; got {type(lambd).__name__}.")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        """Call the function with ``img``."""
        return self.lambd(img)

    def __repr__(self) -> str:
        return "Lambda()"


class RandomApply:
    """All of some transforms, or none.

    Parameters
    ----------
    transforms : sequence of callables
    p : float
        Probability of all.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        self.transforms = _callables("RandomApply", transforms)
        self.p = real_number("RandomApply", "p", p, 0, 1)

    def __call__(self, img: Any) -> Any:
        """Change ``img``, or leave it."""
        if uniform(0, 1) < self.p:
            for transform in self.transforms:
                img = transform(img)
        return img

    def __repr__(self) -> str:
        return _listed("RandomApply", f"p={self.p}", *self.transforms)


class RandomChoice:
    """One of several transforms.

    Parameters
    ----------
    transforms : sequence of callables
    p : sequence of float, optional
        Their weights. Default: all alike.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        self.transforms = _callables("RandomChoice", transforms)
        if not len(self.transforms):
            raise UsageError("RandomChoice: expected at least one transform; got none.")
        if p is not None:
            weights = [real_number("RandomChoice", "p", weight, 0) for weight in p]
            if len(weights) != len(self.transforms) or not sum(weights):
                raise UsageError(
                    f"RandomChoice: p: expected {len(self.transforms)} weights, not all of them 0; got {p!r}."
                )
        self.p = p

    def __call__(self, img: Any) -> Any:
        """Change ``img`` by one of them."""
        if self.p is None:
            return self.transforms[integer(len(self.transforms))](img)
        left = uniform(0, 1) * sum(self.p)
        possible = [(weight, t) for weight, t in zip(self.p, self.transforms, strict=True) if weight > 0]
        for weight, transform in possible:
            left -= weight
            if left < 0:
                return transform(img)
        return possible[-1][1](img)  # a sum may be rounded

    def __repr__(self) -> str:
        return f"{_listed('RandomChoice', *self.transforms)}(p={self.p})"


class RandomOrder:
    """Several transforms, in a random order.

    Parameters
    ----------
    transforms : sequence of callables
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = _callables("RandomOrder", transforms)

    def __call__(self, img: Any) -> Any:
        """Change ``img`` by each of them."""
        for i in order(len(self.transforms)):
            img = self.transforms[i](img)
        return img

    def __repr__(self) -> str:
        return _listed("RandomOrder", *self.transforms)
