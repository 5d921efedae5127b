"""Element by element: arguments are the primitive's own examples, their elements drawn again and again.

Elements at one place of all arrays stay together, so that an output still belongs to its input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.edges.draw import FEW, Draw, around, row

# A vector, a warp, a block, a block of vectors, of the random stream's words, of 8 vectors a thread.
_ELEMENTS = (0, *around(4, 32, 256, 1024), 2047, 2049, 8191, 8193)
# Of a table of tensors: the same, and its chunk.
_TENSOR = (0, *around(4, 256, 4096))


@row(
    *("absolute_relu_forward", "absolute_relu_backward", "relu_forward", "relu_backward", "step_forward"),
    *("leaky_relu_forward", "leaky_relu_backward", "elu_forward", "elu_backward", "silu_forward", "silu_backward"),
    *("gelu_forward", "gelu_backward", "hardtanh_forward", "hardtanh_backward", "logsigmoid_forward"),
    *("logsigmoid_backward", "sigmoid_forward", "sigmoid_backward", "softplus_forward", "softplus_backward"),
    *("tanh_forward", "tanh_backward", "clamp_forward", "clamp_backward", "unary_forward", "unary_backward"),
    *("accumulate", "add_same_shape", "copy", "scale", "scale_by_scalar", "ask_elements", "cast", "invert", "clear"),
    *("binary_cross_entropy_forward", "binary_cross_entropy_backward", "binary_cross_entropy_with_logits_forward"),
    *("binary_cross_entropy_with_logits_backward", "l1_loss_forward", "l1_loss_backward", "mse_loss_forward"),
    *("mse_loss_backward", "smooth_l1_loss_forward", "smooth_l1_loss_backward", "dropout_apply", "valid_index"),
    *("atan_forward", "atan_backward", "atan2_forward", "atan2_backward", "erf_forward", "erf_backward"),
    *("erfinv_forward", "erfinv_backward", "cast_into"),
)
def elements(d: Draw) -> dict[str, Any]:
    example = d.example()
    arrays = {k: v for k, v in example.items() if isinstance(v, np.ndarray) and k not in ("factor", "base")}
    if example.get("divisor") is not None:  # one gradient for the sum of all terms
        arrays.pop("dy", None)
    main = max(arrays.values(), key=lambda a: a.size)
    taken = d.rng.integers(0, main.size, d.pick(*_ELEMENTS))
    return example | {k: a.reshape(-1)[taken] for k, a in arrays.items() if a.shape == main.shape}


@row(
    *("adadelta_step", "adagrad_step", "adam_step", "adamax_step", "lamb_step", "nadam_step", "radam_step"),
    *("rmsprop_step", "sgd_step", "clip_values", "scale_arrays", "scale_by_norm", "total_norm"),
)
def tensors(d: Draw) -> dict[str, Any]:
    example = d.example()
    sizes = [d.pick(*_TENSOR) for _ in range(d.pick(*FEW, 70))]  # 70 is more than one table of most rules
    first = next(v for v in example.values() if isinstance(v, list))
    taken = [(i % len(first), d.rng.integers(0, first[i % len(first)].size, n)) for i, n in enumerate(sizes)]

    def like(column: list[Any]) -> list[Any]:
        return [column[i][at] if isinstance(column[i], np.ndarray) else column[i] for i, at in taken]

    return {k: like(v) if isinstance(v, list) else v for k, v in example.items()}


@row("copy_arrays")
def arrays(d: Draw) -> dict[str, Any]:
    sources = [d.numbers(d.pick(0, 1, 3, 4, 5, 1023, 1024, 1025)) for _ in range(d.pick(1, 2, 8, 9))]
    return {"targets": [np.zeros_like(s) for s in sources], "sources": sources}


@row("write_scalars")
def words(d: Draw) -> dict[str, Any]:
    n = d.pick(*range(1, 17))
    return {"to": np.zeros(n, np.float32), "values": d.numbers(n)}


# -- operands that are repeated -------------------------------------------------------------------


def _operands(d: Draw, count: int) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """A shape, and shapes that broadcast to it."""
    lengths = d.sizes((0, 1, 2, 3), around(4), around(4, 32, 256))
    kept = [d.pick(0, 1, 3, 4, 5, 7) for _ in range(count)]
    return tuple(lengths), [tuple(n if k >> i & 1 else 1 for i, n in enumerate(lengths)) for k in kept]


@row("broadcast_binary")
def binary(d: Draw) -> dict[str, Any]:
    _, (a, b) = _operands(d, 2)
    name = d.pick("add", "sub", "mul", "div", "maximum", "minimum", "lt", "ge")
    return {"name": name, "a": d.positive(*a), "b": d.positive(*b)}


@row("update")
def update(d: Draw) -> dict[str, Any]:
    whole, (other,) = _operands(d, 1)
    return {"name": d.pick("add", "sub", "mul", "div"), "target": d.numbers(*whole), "other": d.positive(*other)}


@row("repeat_to")
def repeat(d: Draw) -> dict[str, Any]:
    whole, (other,) = _operands(d, 1)
    return {"x": d.numbers(*other), "shape": whole}


@row("unbroadcast")
def unbroadcast(d: Draw) -> dict[str, Any]:
    whole, (other,) = _operands(d, 1)
    return {"dy": d.numbers(*whole), "shape": other}


@row("choose")
def choose(d: Draw) -> dict[str, Any]:
    whole, (condition, a, b) = _operands(d, 3)
    return {"condition": d.numbers(*condition) > 0.5, "a": d.numbers(*a), "b": d.numbers(*b), "shape": whole}


@row("pair_backward")
def pair(d: Draw) -> dict[str, Any]:
    whole, (a, b) = _operands(d, 2)
    return {"dy": d.numbers(*whole), "a": d.numbers(*a), "b": d.numbers(*b), "largest": d.pick(True, False)}


@row("power_backward")
def power(d: Draw) -> dict[str, Any]:
    whole, (a, b) = _operands(d, 2)
    base, exponent = d.positive(*a), d.numbers(*b)
    y = np.broadcast_to(base**exponent, whole).copy()
    return {"dy": d.numbers(*whole), "base": base, "exponent": exponent, "y": y, "needs": d.flags(2)}
