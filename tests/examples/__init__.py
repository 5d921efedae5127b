"""Example inputs of every primitive, one module for each op.

The battery runs all bodies of a primitive on them and compares; mutants, edges and the device report use them too.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn.primitive import Primitive

Examples = Callable[[np.random.Generator], list[dict[str, Any]]]
_EXAMPLES: dict[str, Examples] = {}


def examples_for(*primitives: Primitive) -> Callable[[Examples], Examples]:
    """Declare the examples of these primitives: a function that draws a list of keyword arguments."""

    def declare(examples: Examples) -> Examples:
        for primitive in primitives:
            assert primitive.name not in _EXAMPLES, f"{primitive.name} has examples already"
            _EXAMPLES[primitive.name] = examples
        return examples

    return declare


def examples_of(primitive: Primitive, rng: np.random.Generator | None = None) -> list[dict[str, Any]]:
    """Its examples, the same in every process unless they are drawn from a generator of the caller's.

    Raises
    ------
    LookupError
        If nobody has declared any.
    """
    _load_all()
    if primitive.name not in _EXAMPLES:
        op = primitive.plain.__module__.rsplit(".", 1)[-1]
        raise LookupError(
            f"the primitive {primitive.name} has no examples: declare some with @examples_for({primitive.name}) in "
            f"tests/examples/{op}.py."
        )
    return _EXAMPLES[primitive.name](np.random.Generator(np.random.Philox(7)) if rng is None else rng)


@functools.cache
def _load_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
