"""Example inputs of the primitives of ``gpunn/ops/binary.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.binary import broadcast_binary, repeat_to, unbroadcast
from tests.examples import examples_for


@examples_for(broadcast_binary)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def draw(shape: tuple[int, ...] | None, dtype: Any) -> Any:
        return dtype(1.5) if shape is None else np.asarray(1 + rng.random(shape), dtype)

    shapes = (((4, 5), (5,)), ((2, 3, 3, 4), (4,)), ((3, 1), (1, 4)), ((0, 2), (2,)), ((), ()), ((3, 2), None))
    made: list[dict[str, Any]] = [
        {"name": name, "a": draw(a, np.float32), "b": draw(b, np.float32)}
        for a, b in shapes
        for name in ("add", "sub", "mul", "div", "pow", "maximum", "lt")
    ]
    made += [{"name": "sub", "a": draw(None, np.float32), "b": draw((7,), np.float32)}]
    made += [{"name": name, "a": rng.integers(0, 3, (4, 5)), "b": rng.integers(1, 3, 5)} for name in ("eq", "floordiv")]
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0], np.float32)
    made += [{"name": n, "a": special, "b": special[::-1].copy()} for n in ("div", "maximum", "minimum", "ge", "ne")]
    # Signs and edges, for the operators that round and take remainders.
    edges = np.array([-7.5, -3.0, -0.5, 0.0, 0.5, 2.0, 3.0, 7.5, np.nan, np.inf, -np.inf], np.float32)
    # A quotient that rounds up to a whole number, and remainders of very different numbers.
    edges = np.append(edges, np.array([0.1, 0.3, 1e-30, 3e30], np.float32))
    names: tuple[str, ...] = ("floordiv", "remainder", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge")
    made += [{"name": n, "a": edges[:, None].copy(), "b": edges} for n in names]
    for name in ("floordiv", "remainder"):
        made += [{"name": name, "a": edges, "b": b} for b in (np.float32(-0.7), np.float32(np.inf))]
        made += [{"name": name, "a": np.float32(2.5), "b": edges}]
    wholes = np.array([-7, -3, -1, 0, 1, 2, 8])
    names = ("add", "sub", "mul", "floordiv", "remainder", "maximum", "minimum", "and", "or", "xor", "lt", "eq")
    kinds = (np.int64, np.int32)
    made += [{"name": n, "a": wholes[:, None].astype(t), "b": wholes.astype(t)} for n in names for t in kinds]
    made += [{"name": "pow", "a": wholes, "b": np.int64(3)}]
    made += [{"name": "add", "a": np.uint8(250), "b": np.arange(9, dtype=np.uint8)}]
    bools = rng.random((2, 9)) > 0.5
    names = ("or", "and", "xor", "add", "mul", "maximum", "minimum", "le")
    made += [{"name": n, "a": bools[0], "b": bools[1]} for n in names]
    # Vectors or none, one to five groups of axes, and the edges of a block.
    wide: tuple[Any, ...] = (
        ((3, 8), (8,)),
        ((3, 8), (3, 1)),
        ((2, 3, 4, 8), (3, 1, 8)),
        ((2, 1, 3, 1, 2, 4), (2, 1, 3, 1, 4)),
    )
    wide += (((2, 1, 3, 1, 4), (1, 2, 1, 3, 1)), ((1, 8), (3, 1)), ((5, 1, 4, 7), (3, 1, 7)))
    made += [{"name": "sub", "a": draw(a, np.float32), "b": draw(b, np.float32)} for a, b in wide]
    sizes = (255, 256, 257, 1023, 1024, 1028)
    made += [{"name": "mul", "a": draw((n,), np.float32), "b": draw((1,), np.float32)} for n in sizes]
    return [*made, {"name": "div", "a": draw((6, 20), np.float64), "b": draw((6, 1), np.float64)}]


@examples_for(unbroadcast)
def _unbroadcast_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"dy": rng.standard_normal((2, 3, 4)).astype(np.float32), "shape": s} for s in ((3, 4), (2, 1, 4), (1,), ())
    ]
    made += [{"dy": rng.standard_normal((2, 3, 4, 5)), "shape": s} for s in ((3, 1, 5), (2, 1, 4, 1), (4, 5))]
    return [*made, {"dy": rng.random((3, 4000, 7)).astype(np.float32), "shape": (7,)}]


@examples_for(repeat_to)
def _repeat_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    column = rng.standard_normal((3, 1)).astype(np.float32)
    made = [{"x": column, "shape": (3, 8)}, {"x": column[:1, 0] > 0, "shape": (2, 5)}]
    made += [{"x": column, "shape": (0, 3, 4)}, {"x": column[:1].reshape(()), "shape": (2, 3)}]
    return [*made, {"x": rng.standard_normal((1, 3)), "shape": (4, 3)}, {"x": np.arange(2), "shape": (3, 2, 2)}]
