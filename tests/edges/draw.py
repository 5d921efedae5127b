"""How lengths and numbers are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gpunn._window import Window
from gpunn.primitive import REGISTRY
from tests.examples import examples_of

BATCH = (0, 1, 2, 3)  # of the axes that nothing is tiled along: also nothing at all, and one
FEW = (1, 2, 3, 5)
_PRIMES = (3, 7, 13)  # fit no tile


def around(*tiles: int) -> tuple[int, ...]:
    """1, and one below, at, and one above each tile; two tiles and one more; a few odd primes."""
    edges = {n for tile in tiles for n in (tile - 1, tile, tile + 1, 2 * tile + 1)}
    return 1, *sorted((edges | set(_PRIMES)) - {0, 1})


class Draw:
    """Hypothesis draws the lengths and choices, for shrinking; a seed that it draws too fills the arrays."""

    def __init__(self, draw: Callable[..., Any], primitive: str) -> None:
        self._draw = draw
        self.primitive = REGISTRY[primitive]
        self.rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))

    def pick(self, *options: Any) -> Any:
        return self._draw(st.sampled_from(options))

    def flags(self, count: int) -> tuple[bool, ...]:
        """At least one of them set."""
        marks = self._draw(st.integers(1, 2**count - 1))
        return tuple(bool(marks >> i & 1) for i in range(count))

    def sizes(self, *axes: Sequence[int], most: int = 20_000) -> list[int]:
        """A length for each axis out of its choices; together ``most`` elements at most, whichever axis is long."""
        lengths, room = [0] * len(axes), most
        for axis in self._draw(st.permutations(range(len(axes)))):
            lengths[axis] = self.pick(*(n for n in axes[axis] if n <= max(room, min(axes[axis]), 1)))
            room //= max(1, lengths[axis])
        return lengths

    def numbers(self, *shape: int) -> np.ndarray:
        """float32 of both signs, whose sums do not cancel: a wrong element shows, and roundings do not."""
        return self.rng.uniform(-0.5, 1.5, shape).astype(np.float32)

    def positive(self, *shape: int) -> np.ndarray:
        return self.rng.uniform(0.5, 1.5, shape).astype(np.float32)

    def relu(self, *shape: int) -> np.ndarray | None:
        """What came out of a ReLU, or None where there was none."""
        return np.maximum(self.numbers(*shape), 0) if self.pick(True, False) else None

    def optional(self, *shape: int) -> np.ndarray | None:
        return self.positive(*shape) if self.pick(True, False) else None

    def indices(self, below: int, *shape: int) -> np.ndarray:
        return self.rng.integers(0, below, shape)

    def window(self, height: int, width: int, *, kernels: Sequence[int] = (1, 2, 3, 5), dilated: bool = True) -> Window:
        """A window that fits, over an image of that height and width."""
        axes = []
        for length in (height, width):
            size, stride = self.pick(*kernels), self.pick(1, 2, 3)
            dilation = self.pick(1, 2) if dilated else 1
            extent = (size - 1) * dilation + 1
            # Less than half a window, as poolings want it, unless the image is smaller.
            pad = max(self.pick(0, size // 2), -(-max(0, extent - length) // 2))
            axes.append((size, stride, pad, dilation))
        (r, s), strides, pads, dilations = zip(*axes, strict=True)
        return Window(height, width, r, s, strides, pads, dilations)

    def example(self) -> dict[str, Any]:
        """One of the primitive's own examples: in float32, with elements and without infinities."""
        usual = [e for e in examples_of(self.primitive, self.rng) if _is_usual(e)]
        # Where all elements are one, and its result comes from a cancellation, nothing is large to compare it with.
        found = [e for e in usual if max(a.size for a in _arrays(e)) > 1] or usual
        return dict(found[self._draw(st.integers(0, len(found) - 1))])


def _arrays(example: dict[str, Any]) -> list[np.ndarray]:
    return [a for v in example.values() for a in (v if isinstance(v, list) else [v]) if isinstance(a, np.ndarray)]


def _is_usual(example: dict[str, Any]) -> bool:
    arrays = _arrays(example)
    floats = [a for a in arrays if a.dtype.kind == "f"]
    whole = all(a.size and np.isfinite(a).all() for a in floats)
    return whole and (not floats or any(a.dtype == np.float32 for a in floats)) and all(a.size for a in arrays)


Row = Callable[[Draw], dict[str, Any]]
ROWS: dict[str, Row] = {}


def row(*primitives: str) -> Callable[[Row], Row]:
    """Register how these primitives' arguments are drawn."""

    def register(made: Row) -> Row:
        for name in primitives:
            assert name not in ROWS, name
            ROWS[name] = made
        return made

    return register
