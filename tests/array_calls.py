"""Calls of every function of ``gpunn.arrays``: names, arguments as NumPy arrays, options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Call:
    """``gpunn.arrays.<function>(*args, **options)``; args are arrays or what else the function takes."""

    function: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


def draw(*shape: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    """Normally distributed numbers, complex ones too."""
    rng = np.random.Generator(np.random.Philox(seed + sum(shape)))
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return np.asarray(values, dtype)


def channels_last(x: np.ndarray) -> np.ndarray:
    """The same images, channels last in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


_X, _W = draw(2, 4, 7, 6), draw(6, 4, 3, 2)
_S, _V = draw(2, 4, 9), draw(6, 2, 3)
_C, _OFF = np.complex128, (draw(2, 3, 3, 3) * 0).astype(np.uint8) + 3
_STRIDED = {"groups": 2, "padding": ((2, 1),), "stride": 2}
_FIRST = (True, False, False)
_Y = np.exp(draw(3, 4)) / np.exp(draw(3, 4)).sum(1, keepdims=True)

CALLS = {
    "conv2d": Call("conv2d", (_X, _W, draw(6)), {"stride": 2, "padding": 1}),
    "conv2d float32": Call("conv2d", (_X.astype("f4"), _W.astype("f4"))),
    "conv2d plane": Call("conv2d", (draw(8, 9), draw(3, 3)), {"padding": "same"}),
    "conv2d planes": Call("conv2d", (draw(2, 3, 2, 8, 9), draw(3, 3))),
    "conv2d one image": Call("conv2d", (draw(4, 7, 6), _W, draw(6))),
    "conv2d of a plane by channels": Call("conv2d", (draw(7, 6), draw(6, 1, 3, 2))),
    "conv2d five axes": Call("conv2d", (draw(2, 3, 4, 7, 6), _W)),
    "conv2d groups": Call("conv2d", (_X, draw(6, 2, 3, 2), draw(6)), {"groups": 2, "dilation": (2, 1)}),
    "conv2d channels last": Call("conv2d", (channels_last(_X), _W)),
    "conv2d reversed": Call("conv2d", (_X[:, ::-1, ::-1], _W[:, :, ::-1])),
    "conv2d complex x": Call("conv2d", (draw(2, 4, 7, 6, dtype=_C), _W, draw(6)), {"padding": ((0, 1), (1, 0))}),
    "conv2d complex weight": Call("conv2d", (_X, draw(6, 4, 3, 2, dtype=_C))),
    "conv2d complex": Call("conv2d", (draw(2, 4, 7, 6, dtype=_C), draw(6, 4, 3, 2, dtype=_C), draw(6, dtype=_C))),
    "conv2d complex64": Call("conv2d", (draw(2, 4, 7, 6, dtype="c8"), draw(6, 2, 3, 2, dtype="c8")), {"groups": 2}),
    "conv2d empty": Call("conv2d", (draw(0, 4, 7, 6), _W)),
    "conv1d": Call("conv1d", (_S, _V, draw(6)), _STRIDED),
    "conv1d signal": Call("conv1d", (draw(9), draw(3)), {"padding": "same"}),
    "conv1d signals": Call("conv1d", (draw(2, 3, 9), draw(4))),
    "conv1d complex": Call("conv1d", (draw(2, 4, 9, dtype=_C), draw(6, 4, 3, dtype=_C)), {"dilation": 2}),
    "conv2d_backward": Call("conv2d_backward", (draw(2, 6, 4, 4), _X, _W), {"stride": 2, "padding": 1}),
    "conv2d_backward plane": Call("conv2d_backward", (draw(8, 9), draw(8, 9), draw(3, 3)), {"padding": "same"}),
    "conv2d_backward complex": Call(
        "conv2d_backward", (draw(2, 6, 5, 5, dtype=_C), draw(2, 4, 7, 6, dtype=_C), draw(6, 4, 3, 2, dtype=_C))
    ),
    "conv2d_backward real x": Call(
        "conv2d_backward", (draw(2, 6, 5, 5, dtype=_C), _X, draw(6, 2, 3, 2, dtype=_C)), {"groups": 2}
    ),
    "conv2d_backward needs": Call(
        "conv2d_backward", (draw(6, 5, 5), draw(4, 7, 6), _W), {"needs": (True, False, False)}
    ),
    "conv1d_backward": Call(
        "conv1d_backward", (draw(2, 6, 5), _S, _V), {"groups": 2, "padding": ((2, 1),), "stride": 2}
    ),
    "conv1d_backward signal": Call("conv1d_backward", (draw(7, dtype=_C), draw(9, dtype=_C), draw(3, dtype=_C))),
    "linear": Call("linear", (draw(2, 3, 5), draw(4, 5), draw(4))),
    "linear vector": Call("linear", (draw(5), draw(4, 5))),
    "linear complex": Call("linear", (draw(3, 5, dtype=_C), draw(4, 5, dtype=_C), draw(4))),
    "linear_backward": Call("linear_backward", (draw(2, 3, 4), draw(2, 3, 5), draw(4, 5))),
    "linear_backward vector": Call("linear_backward", (draw(4, dtype=_C), draw(5, dtype=_C), draw(4, 5, dtype=_C))),
    "max_pool2d": Call("max_pool2d", (_X, 2), {"return_offsets": True, "padding": 1}),
    "max_pool2d plane": Call("max_pool2d", (draw(7, 6), 3), {"ceil_mode": True, "stride": 2}),
    "max_pool2d five axes": Call("max_pool2d", (draw(2, 2, 3, 7, 6), (3, 2)), {"dilation": (2, 1)}),
    "max_pool2d_backward": Call("max_pool2d_backward", (draw(2, 3, 3, 3), _OFF, (7, 6), 2), {}),
    "max_pool2d_backward plane": Call("max_pool2d_backward", (draw(3, 3), _OFF[0, 0], (6, 6), 2)),
    "avg_pool2d": Call("avg_pool2d", (_X, 2), {"padding": 1, "count_include_pad": False}),
    "avg_pool2d plane": Call("avg_pool2d", (draw(7, 6), (3, 2)), {"divisor_override": 5}),
    "avg_pool2d_backward": Call("avg_pool2d_backward", (draw(2, 4, 4, 4), (7, 6), 2), {"padding": 1}),
    "batch_norm": Call("batch_norm", (_X, draw(4), draw(4) ** 2, draw(4), draw(4))),
    "batch_norm rows": Call("batch_norm", (draw(5, 4), draw(4), draw(4) ** 2)),
    "batch_norm sequences": Call("batch_norm", (_S, draw(4), draw(4) ** 2, draw(4))),
    "batch_norm_training": Call("batch_norm_training", (_X, draw(4), draw(4))),
    "batch_norm_training running": Call("batch_norm_training", (draw(5, 4), None, None, draw(4), draw(4) ** 2)),
    "batch_norm_backward": Call(
        "batch_norm_backward", (draw(2, 4, 7, 6, seed=1), _X, _X.mean((0, 2, 3)), _X.var((0, 2, 3)), draw(4))
    ),
    "batch_norm_backward evaluation": Call(
        "batch_norm_backward", (draw(2, 4, 9, seed=1), _S, draw(4), draw(4) ** 2), {"training": False}
    ),
    "layer_norm": Call("layer_norm", (_X, (7, 6), draw(7, 6), draw(7, 6))),
    "layer_norm vector": Call("layer_norm", (draw(6), 6)),
    "layer_norm_backward": Call("layer_norm_backward", (draw(2, 4, 7, 6, seed=1), _X, (7, 6), draw(7, 6))),
    "layer_norm_backward vector": Call("layer_norm_backward", (draw(6, seed=1), draw(6), 6)),
    "group_norm": Call("group_norm", (_X, 2, draw(4), draw(4))),
    "group_norm channels last": Call("group_norm", (channels_last(_X), 2)),
    "group_norm_backward": Call("group_norm_backward", (draw(2, 4, 7, 6, seed=1), _X, 2, draw(4))),
    "group_norm_backward channels last": Call("group_norm_backward", (draw(2, 4, 7, 6, seed=1), channels_last(_X), 2)),
    "softmax": Call("softmax", (draw(3, 4),)),
    "softmax axis 1": Call("softmax", (_X, 1)),
    "softmax channels last": Call("softmax", (channels_last(_X), 1)),
    "softmax_backward": Call("softmax_backward", (draw(3, 4, seed=1), _Y, 1)),
    "softmax_backward channels last": Call("softmax_backward", (draw(2, 4, 7, 6, seed=1), channels_last(_X), 1)),
    "log_softmax": Call("log_softmax", (_X, 2)),
    "log_softmax_backward": Call("log_softmax_backward", (draw(3, 4, seed=1), np.log(_Y))),
    "relu": Call("relu", (_X,)),
    "relu channels last": Call("relu", (channels_last(_X),)),
    "relu without axes": Call("relu", (np.array(-2.0),)),
    "relu_backward": Call("relu_backward", (draw(3, 4, seed=1), np.maximum(draw(3, 4), 0))),
    "relu_backward channels last": Call("relu_backward", (draw(2, 4, 7, 6, seed=1), channels_last(_X))),
    "gelu": Call("gelu", (_X,)),
    "gelu tanh": Call("gelu", (draw(3, 4), "tanh")),
    "gelu_backward": Call("gelu_backward", (draw(3, 4, seed=1), draw(3, 4))),
    "gelu_backward tanh": Call("gelu_backward", (draw(2, 4, 7, 6, seed=1), channels_last(_X), "tanh")),
    "sigmoid": Call("sigmoid", (_X,)),
    "tanh": Call("tanh", (draw(3, 4),)),
    "sigmoid_backward": Call("sigmoid_backward", (draw(3, 4, seed=1), 1 / (1 + np.exp(-draw(3, 4))))),
    "tanh_backward": Call("tanh_backward", (draw(2, 4, 7, 6, seed=1), np.tanh(channels_last(_X)))),
    "cross_entropy": Call("cross_entropy", (draw(3, 4), np.array([0, 3, 2]), np.abs(draw(4)))),
    "cross_entropy images": Call(
        "cross_entropy", (draw(2, 4, 3, 3), np.arange(18).reshape(2, 3, 3) % 4), {"reduction": "none"}
    ),
    "cross_entropy_backward": Call(
        "cross_entropy_backward", (draw(3, 4), np.array([0, 3, 2])), {"label_smoothing": 0.1}
    ),
    "cross_entropy_backward probabilities": Call("cross_entropy_backward", (draw(3, 4), _Y, None, np.array(2.0))),
    "cross_entropy_backward none": Call(
        "cross_entropy_backward", (draw(3, 4), np.array([0, -100, 2])), {"reduction": "none"}
    ),
}
