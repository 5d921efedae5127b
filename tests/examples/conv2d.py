"""Example inputs of the primitives of ``gpunn/ops/conv2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._window import Window
from gpunn.ops.conv2d import _Three, conv2d_backward, conv2d_forward
from tests.examples import examples_for
from tests.examples.activations import rectified


def _cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(
        n: int, c: int, h: int, w: int, k: int, r: int, s: int, groups: int = 1, dtype: Any = np.float32, **how: Any
    ) -> dict[str, Any]:
        geometry = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)} | how
        return {
            "x": rng.standard_normal((n, h, w, c)).astype(dtype),
            "weight": rng.standard_normal((k, r, s, c // groups)).astype(dtype),
            "window": Window(h, w, r, s, **geometry),
            "groups": groups,
        }

    return [
        case(2, 1, 9, 8, 20, 5, 5, padding=(2, 2)),  # a first layer: one channel, no vectors
        case(2, 20, 7, 7, 50, 5, 5, padding=(2, 2)),  # the lecture LeNet's second
        case(1, 3, 11, 10, 8, 3, 2, stride=(2, 3), padding=(1, 0)),
        case(2, 4, 9, 9, 6, 3, 3, stride=(2, 1), padding=(2, 1), dilation=(2, 3)),
        case(1, 8, 6, 6, 12, 3, 3, groups=2, padding=(1, 1)),
        case(2, 6, 5, 5, 6, 3, 3, groups=6, padding=(1, 1)),  # depthwise
        case(3, 16, 4, 4, 33, 1, 1),
        case(2, 64, 5, 5, 64, 3, 3, padding=(1, 1)),
        case(0, 3, 5, 5, 2, 3, 3),
        case(2, 4, 5, 6, 4, 2, 4, padding=(0, 1), end_padding=(1, 2)),  # "same" with an even kernel
        case(1, 3, 7, 6, 5, 3, 2, stride=(2, 1), padding=(3, 0), end_padding=(0, 2)),
        case(1, 5, 6, 7, 4, 3, 3, dtype=np.float64, padding=(1, 1), stride=(2, 2)),
        case(2, 4, 7, 9, 8, 3, 3, stride=(2, 2), padding=(1, 1)),
        case(2, 3, 6, 8, 4, 1, 1, stride=(2, 3)),  # most pixels reach no output
        case(1, 2, 9, 14, 3, 4, 5, stride=(4, 6), padding=(3, 5), dilation=(2, 4)),
        case(1, 4, 5, 3, 2, 2, 2, stride=(7, 4), padding=(1, 0)),  # a stride beyond the image
        # With channels enough for the matrix product: vectors and strides, groups.
        case(2, 12, 9, 9, 6, 3, 3, stride=(2, 1), padding=(2, 1), dilation=(2, 3)),
        case(1, 9, 11, 10, 8, 3, 2, stride=(2, 3), padding=(1, 0)),
        case(1, 24, 6, 6, 20, 3, 3, groups=2, padding=(1, 1)),
        case(1, 10, 9, 14, 3, 4, 5, stride=(4, 6), padding=(3, 5), dilation=(2, 4)),
        # Depthwise: vectors; none; two filters a channel; strides and dilations; the tile's edge; no images.
        case(2, 36, 9, 17, 36, 3, 3, groups=36, padding=(1, 1)),
        case(2, 5, 9, 11, 5, 3, 3, groups=5, padding=(1, 1), stride=(2, 2)),
        case(2, 4, 9, 11, 8, 3, 3, groups=4, padding=(2, 1), stride=(2, 2), dilation=(1, 2)),
        case(1, 32, 15, 16, 32, 5, 5, groups=32, padding=(4, 4), dilation=(2, 2)),
        case(1, 4, 7, 9, 4, 7, 7, groups=4, padding=(3, 3), stride=(2, 3), dtype=np.float64),
        case(0, 8, 5, 5, 8, 3, 3, groups=8),
        case(2, 8, 5, 3, 8, 2, 2, groups=8, stride=(7, 4), padding=(1, 0)),
        # Groups of few channels: a vector each; one and a half; more filter elements than threads for them.
        case(1, 16, 6, 9, 8, 3, 3, groups=2, padding=(1, 1), stride=(3, 2), dilation=(2, 3)),
        case(1, 6, 6, 6, 8, 2, 3, groups=2, padding=(1, 1)),
        case(1, 4, 12, 12, 4, 9, 9, groups=2, padding=(4, 4)),
        # First layers: 7 x 7; a vector of channels; more filters than a tile; more tiles than one; 1 x 1.
        case(1, 3, 19, 21, 40, 7, 7, stride=(2, 2), padding=(3, 3)),
        case(2, 4, 17, 33, 8, 3, 3, padding=(1, 1)),
        case(2, 2, 9, 11, 70, 3, 3, padding=(2, 1), stride=(2, 2), dilation=(1, 2)),
        case(18, 1, 8, 8, 3, 3, 3, padding=(1, 1)),
        case(1060, 1, 2, 1, 1, 2, 1, padding=(1, 0)),  # and a block has several
        case(2, 3, 9, 11, 33, 1, 1, dtype=np.float64),
        # Plain matrix products: odd sizes, vectors, no images; not those, for their padding at the end.
        case(3, 7, 5, 9, 13, 1, 1),
        case(3, 24, 7, 9, 40, 1, 1),
        case(2, 9, 5, 3, 5, 1, 1, dtype=np.float64),
        case(0, 8, 4, 4, 12, 1, 1),
        case(2, 8, 4, 5, 12, 1, 1, end_padding=(0, 1)),
        # First layers: common filter rows in the other number of filters a thread; one that is not common, 11 x 11.
        case(2, 3, 9, 13, 40, 3, 3, padding=(1, 1)),
        case(1, 1, 10, 11, 40, 5, 5, padding=(2, 0), end_padding=(1, 3)),
        case(1, 3, 11, 17, 33, 3, 3, stride=(3, 2), padding=(1, 1), dilation=(2, 1)),
        case(1, 3, 13, 15, 6, 7, 7, stride=(2, 2), padding=(3, 3)),
        case(1, 3, 19, 18, 6, 11, 11, stride=(4, 4), padding=(2, 2)),
    ]


@examples_for(conv2d_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = _cases(rng)
    for number, example in enumerate(made):
        k = example["weight"].shape[0]
        example["bias"] = rng.standard_normal(k).astype(example["x"].dtype) if number % 2 else None
        example["relu"] = number % 3 == 0
    return made


@examples_for(conv2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def with_output(example: dict[str, Any], relu: bool, needs: _Three) -> dict[str, Any]:
        x, window = example["x"], example["window"]
        shape = (x.shape[0], window.P, window.Q, example["weight"].shape[0])
        y = rectified(rng, shape, x.dtype) if relu else None
        return {**example, "dy": rng.standard_normal(shape).astype(x.dtype), "y": y, "needs": needs}

    asked = [(True, True, True), (False, True, True), (True, True, False), (True, False, True), (True, False, False)]
    # All combinations, and then those with the gradient of the weight, which has the most kernels.
    made = [
        with_output(e, number % 2 == 0, asked[number % (5 if number < 10 else 3)])
        for number, e in enumerate(_cases(rng))
    ]
    # Deep enough that the sum over pixels is split, into more slices than are added up at once.
    for n, c, k, groups in ((3, 8, 4, 1), (9, 8, 66, 1), (5, 20, 20, 2), (3, 32, 32, 32), (12, 8, 8, 2), (5, 3, 5, 1)):
        deep = Window(16, 16, 3, 3, (1, 1), (1, 1), (1, 1))
        x = rng.standard_normal((n, 16, 16, c)).astype(np.float32)
        weight = rng.standard_normal((k, 3, 3, c // groups)).astype(np.float32)
        example = {"x": x, "weight": weight, "window": deep, "groups": groups}
        made.append(with_output(example, k != 4 or groups > 1, (groups == 1, True, True)))
    # So many blocks, of phases, that behind a ReLU each gradient has a launch of its own.
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 46, 24, 5), (3, 2, 1, 5)))
    far: dict[str, Any] = {"x": x, "weight": weight, "window": Window(46, 24, 2, 1, (23, 23), (0, 0), (1, 1))}
    made.append(with_output({**far, "groups": 1}, True, (True, True, True)))
    # The same where the weight's gradient has two columns of tiles, of which one writes dz.
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 46, 24, 36), (3, 2, 1, 36)))
    made.append(with_output({**far, "x": x, "weight": weight, "groups": 1}, True, (True, True, True)))
    # Both gradients in one launch, with a ReLU and without.
    many = [e for e in _cases(rng) if e["weight"].shape[3] > 4]
    made += [with_output(e, relu, (True, True, relu)) for e in many for relu in (True, False)]
    for number, each in enumerate(made):  # two of three, whether there is a ReLU or not
        if each["needs"][0] and number % 3:
            each["more"] = rng.standard_normal(each["x"].shape).astype(each["x"].dtype)
    return made
