"""The ops that the benchmark's cases leave out, on tensors large enough to leave the L2 behind.

An op is written once and works on both libraries, since gpunn's names are PyTorch's: ``call(lib, t)`` gets the module
``gpunn`` or ``torch`` and the tensors by name, and gives a tensor, whose gradient is then taken, or None.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks._report.work import random_array
from gpunn._device import Device

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Op:
    """One op.

    Attributes
    ----------
    name : str
    shapes : dict
        Name = physical shape of a float32 tensor: images are (N, H, W, C).
    call : callable
    leaves : tuple of str
        Whose gradients are wanted; none: forward alone.
    below : dict
        Name = (shape, limit) of tensors of int64 indices.
    shares : tuple of str
        Tensors of numbers between 0 and 1.
    torch : bool
        Whether PyTorch has it by that name.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    call: Callable[[Any, Tensors], Any]
    leaves: tuple[str, ...] = ("x",)
    below: Mapping[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    shares: tuple[str, ...] = ()
    torch: bool = True

    def arrays(self, device: Device) -> Tensors:
        """Its tensors' arrays, on the device."""
        made: Tensors = {}
        for number, (name, shape) in enumerate(self.shapes.items()):
            array = random_array(device, shape, number)
            if name in self.shares:
                array = array - device.xp.floor(array)
            made[name] = array
        for name, (shape, limit) in self.below.items():
            made[name] = device.array(np.random.default_rng(3).integers(0, limit, shape))
        return made


@dataclass(frozen=True)
class Sizes:
    """How large: a matrix, images, products."""

    rows: int = 65_536
    columns: int = 1024
    batch: int = 64
    side: int = 112
    channels: int = 64
    product: int = 4096
    parameters: int = 2_000_000


SMALL = Sizes(6, 8, 2, 9, 4, 12, 10)


def ops(sizes: Sizes) -> Iterator[Op]:
    """All of them, layers' first."""
    return itertools.chain(
        _elementwise(sizes), _images(sizes), _losses(sizes), _updates(sizes), _reductions(sizes), _moving(sizes)
    )


def _functional(name: str, *args: Any, **options: Any) -> Callable[[Any, Tensors], Any]:
    return lambda lib, t: getattr(lib.nn.functional, name)(t["x"], *args, **options)


def _method(name: str, *args: Any, **options: Any) -> Callable[[Any, Tensors], Any]:
    return lambda lib, t: getattr(t["x"], name)(*args, **options)


def _elementwise(s: Sizes) -> Iterator[Op]:
    matrix = {"x": (s.rows, s.columns)}
    pair = {**matrix, "y": (s.rows, s.columns)}
    for name in ("leaky_relu", "elu", "hardtanh", "silu", "softplus", "logsigmoid"):
        yield Op(name, matrix, _functional(name))
    yield Op("gelu, tanh", matrix, _functional("gelu", approximate="tanh"))
    yield Op("absolute_relu", matrix, _functional("absolute_relu"), torch=False)
    yield Op("step", matrix, _functional("step"), (), torch=False)
    yield Op("dropout", matrix, _functional("dropout", 0.5))
    yield Op("softmax", matrix, _functional("softmax", -1))
    yield Op("log_softmax", matrix, _functional("log_softmax", -1))
    yield Op("maxout", matrix, _functional("maxout", 4), torch=False)
    for name, count in (("LSTM", 4), ("GRU", 3)):
        width = s.columns // 4
        sums = {"x": (s.rows, count * width), "y": (s.rows, count * width), "h": (s.rows, width)}
        yield Op(f"gates of {name}", sums, functools.partial(_gates, name), ("x", "y", "h"), torch=False)
    linear = {**matrix, "w": (1, s.columns), "b": (1,)}
    yield Op("linear, bias alone", linear, lambda lib, t: lib.nn.functional.linear(t["x"], t["w"], t["b"]), ("b",))
    leaves = ("x", "w", "b")
    yield Op("layer norm", {**matrix, "w": (s.columns,), "b": (s.columns,)}, _layer_norm, leaves)
    length = 1024 * s.columns
    long = {"x": (max(2, s.rows // 1024), length), "w": (length,), "b": (length,)}
    yield Op("layer norm of long rows", long, _layer_norm, leaves)
    prelu = {**matrix, "w": (s.columns,)}
    yield Op("prelu", prelu, lambda lib, t: lib.nn.functional.prelu(t["x"], t["w"]), ("x", "w"))
    yield Op("exp", matrix, _method("exp"))
    yield Op("atan", matrix, _method("atan"))
    yield Op("atan2", pair, lambda lib, t: lib.atan2(t["x"], t["y"]), ("x", "y"))
    yield Op("erf", matrix, _method("erf"))
    yield Op("erfinv", matrix, _method("erfinv"))  # NaN beyond 1 in both libraries, at the same price
    yield Op("pow", matrix, lambda lib, t: lib.pow(t["x"], 3.0))
    yield Op("clamp", matrix, _method("clamp", -1.0, 1.0))
    yield Op("x · 3", matrix, lambda lib, t: t["x"] * 3.0)
    yield Op("x · scalar", {**matrix, "y": ()}, lambda lib, t: t["x"] * t["y"])
    yield Op("isfinite", matrix, _method("isfinite"), ())
    yield Op("x + y", pair, lambda lib, t: t["x"] + t["y"], ("x", "y"))
    yield Op("x · y", pair, lambda lib, t: t["x"] * t["y"], ("x", "y"))
    row = {**matrix, "y": (s.columns,)}
    yield Op("x² + exp x", matrix, lambda lib, t: t["x"] * t["x"] + t["x"].exp())
    yield Op("x · row", row, lambda lib, t: t["x"] * t["y"], ("x", "y"))
    yield Op("maximum", pair, lambda lib, t: lib.maximum(t["x"], t["y"]), ("x", "y"))
    yield Op("where", pair, lambda lib, t: lib.where(t["x"] > t["y"], t["x"], t["y"]), ("x", "y"))
    yield Op("x += y", pair, _add_in_place, ())
    yield Op("double", matrix, _method("double"))


def _gates(name: str, lib: Any, t: Tensors) -> Any:
    from gpunn.ops.gru_gates import gru_gates
    from gpunn.ops.lstm_gates import lstm_gates

    return lstm_gates(t["x"], t["y"], t["h"])[0] if name == "LSTM" else gru_gates(t["x"], t["y"], t["h"])


def _add_in_place(lib: Any, t: Tensors) -> None:
    t["x"].add_(t["y"])


def _layer_norm(lib: Any, t: Tensors) -> Any:
    return lib.nn.functional.layer_norm(t["x"], (t["x"].shape[1],), t["w"], t["b"])


def _images(s: Sizes) -> Iterator[Op]:
    images = {"x": (s.batch, s.side, s.side, s.channels)}
    yield Op("avg_pool2d 3×3 s2", images, _functional("avg_pool2d", 3, 2, 1))
    yield Op("avg_pool2d of everything", images, _functional("avg_pool2d", s.side))
    yield Op("adaptive_avg_pool2d 1", images, _functional("adaptive_avg_pool2d", 1))
    yield Op("adaptive_avg_pool2d 7", images, _functional("adaptive_avg_pool2d", 7))
    yield Op("adaptive_max_pool2d 1", images, _functional("adaptive_max_pool2d", 1))
    yield Op("adaptive_max_pool2d 7", images, _functional("adaptive_max_pool2d", 7))
    yield Op("dropout of images", images, _functional("dropout", 0.5))
    yield Op("pad by zeros", images, _functional("pad", (1, 1, 1, 1)))
    yield Op("pad by reflection", images, _functional("pad", (2, 2, 2, 2), mode="reflect"))
    norm = {**images, "w": (s.channels,), "b": (s.channels,), "m": (s.channels,), "v": (s.channels,)}
    yield Op("batch norm, evaluating", norm, _evaluate, (), shares=("v",))
    affine, leaves = {"w": (s.channels,), "b": (s.channels,)}, ("x", "w", "b")
    yield Op("group norm", {**images, **affine}, _group_norm, leaves)
    sequences = {"x": (s.batch, s.channels, s.side * s.side)}
    yield Op("group norm of sequences", {**sequences, **affine}, _group_norm, leaves)
    depthwise = {**images, "w": (s.channels, 5, 5, 1), "b": (s.channels,)}
    yield Op("depthwise conv2d 5×5", depthwise, functools.partial(_depthwise, 2), leaves)
    depthwise = {**images, "w": (s.channels, 3, 3, 1), "b": (s.channels,)}
    call = functools.partial(_depthwise, 1, activation="relu")
    yield Op("depthwise conv2d 3×3 with its ReLU", depthwise, call, leaves, torch=False)
    side, c = min(s.side, 28), min(s.channels, 16)
    local = {"x": (s.batch, side, side, c), "w": (side - 2, side - 2, c, c, 3, 3), "b": (c, side - 2, side - 2)}
    yield Op("locally_connected2d", local, _local, leaves, torch=False)
    for name in ("RandomCrop", "Cutout", "ColorJitter"):
        yield Op(name, {"x": (s.batch, s.side, s.side, 3)}, functools.partial(_transform, name), (), torch=False)
    n = 16 * s.batch
    below = {"index": ((n,), n), "labels": ((n,), 10)}
    yield Op("DeviceLoader.take", {}, functools.partial(_take, (n, s.side, s.side, 3)), (), below, torch=False)


def _evaluate(lib: Any, t: Tensors) -> Any:
    return lib.nn.functional.batch_norm(t["x"], t["m"], t["v"], t["w"], t["b"], training=False)


def _depthwise(padding: int, lib: Any, t: Tensors, **options: Any) -> Any:
    channels = t["x"].shape[1]
    return lib.nn.functional.conv2d(t["x"], t["w"], t["b"], padding=padding, groups=channels, **options)


def _group_norm(lib: Any, t: Tensors) -> Any:
    return lib.nn.functional.group_norm(t["x"], t["x"].shape[1] // 4, t["w"], t["b"])


def _local(lib: Any, t: Tensors) -> Any:
    return lib.nn.functional.locally_connected2d(t["x"], t["w"], t["b"])


def _transform(name: str, lib: Any, t: Tensors) -> None:
    from gpunn.data import transforms
    from gpunn.random import Generator

    size = t["x"].shape[2]
    made: dict[str, Callable[[], Callable[..., Any]]] = {
        "RandomCrop": lambda: transforms.RandomCrop(size, 2),
        "Cutout": lambda: transforms.Cutout(size // 2),
        "ColorJitter": lambda: transforms.ColorJitter(0.2, 0.2, 0.2),
    }
    made[name]()(t["x"], Generator(0))


def _take(shape: tuple[int, ...], lib: Any, t: Tensors) -> None:
    from gpunn.ops.take_images import Changes, take_images

    device, size = t["index"].device, shape[1]
    if "images" not in t:  # made once, as a loader does
        rng = np.random.default_rng(3)
        t["images"] = device.array(rng.integers(0, 256, shape, np.uint8))
        t["order"] = device.array(t["index"].numpy().astype(np.int32))
        t["words"] = device.array(np.array([1, 2, 0], np.uint64))
        t["mean"], t["std"] = (device.array(np.full(3, value, np.float32)) for value in (0.5, 0.25))
    dataset = t["images"], t["labels"].array, t["order"], t["words"], t["mean"], t["std"]
    take_images(device, *dataset, Changes((size, size), 4, flip_across=0.5, cutout=size // 2))


def _losses(s: Sizes) -> Iterator[Op]:
    pair = {"x": (s.rows, s.columns), "y": (s.rows, s.columns)}

    def of_pair(name: str, **options: Any) -> Callable[[Any, Tensors], Any]:
        return lambda lib, t: getattr(lib.nn.functional, name)(t["x"], t["y"], **options)

    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        yield Op(name, pair, of_pair(name))
    yield Op("mse_loss of each", pair, of_pair("mse_loss", reduction="none"))
    yield Op("binary_cross_entropy", pair, of_pair("binary_cross_entropy"), shares=("x", "y"))
    logits = of_pair("binary_cross_entropy_with_logits")
    yield Op("binary_cross_entropy_with_logits", pair, logits, shares=("y",))
    yield Op("cross_entropy with probabilities", pair, of_pair("cross_entropy"), shares=("y",))
    labelled: dict[str, Any] = {"below": {"labels": ((s.rows,), s.columns)}}
    matrix = {"x": (s.rows, s.columns)}

    def by_label(name: str, **options: Any) -> Callable[[Any, Tensors], Any]:
        return lambda lib, t: getattr(lib.nn.functional, name)(t["x"], t["labels"], **options)

    shares = by_label("probability_cross_entropy")
    yield Op("probability_cross_entropy", matrix, shares, shares=("x",), torch=False, **labelled)
    yield Op("nll_loss", matrix, by_label("nll_loss"), **labelled)
    yield Op("nll_loss of each", matrix, by_label("nll_loss", reduction="none"), **labelled)
    yield Op("cross_entropy, smoothed", matrix, by_label("cross_entropy", label_smoothing=0.1), **labelled)
    yield Op("metrics of a batch", {"x": (s.rows, s.columns), "loss": ()}, _metrics, (), torch=False, **labelled)


def _metrics(lib: Any, t: Tensors) -> None:
    from gpunn.ops.metrics import update_metrics

    device = t["x"].device
    totals = device.cached("device report's totals", lambda: device.zeros((4,), np.float64))
    update_metrics(device, totals, t["loss"].array, t["x"].array, t["labels"].array)


def _updates(s: Sizes) -> Iterator[Op]:
    shapes = {f"{kind}{number}": (s.parameters,) for number in range(12) for kind in "pg"}
    for name in ("Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"):
        yield Op(name, shapes, functools.partial(_update, name), ())
    yield Op("LAMB", shapes, functools.partial(_update, "LAMB"), (), torch=False)
    yield Op("clip_grad_norm_", shapes, functools.partial(_clip, "clip_grad_norm_"), ())
    yield Op("clip_grad_value_", shapes, functools.partial(_clip, "clip_grad_value_"), ())
    yield Op("GradScaler.unscale_", shapes, _unscale, (), torch=False)  # PyTorch's wants a loss first


def _parameters(t: Tensors) -> list[Any]:
    members = [t[name].requires_grad_() for name in t if name.startswith("p")]
    for member, name in zip(members, [name for name in t if name.startswith("g")], strict=True):
        member.grad = t[name]
    return members


def _update(name: str, lib: Any, t: Tensors) -> None:
    if "optimizer" not in t:
        t["optimizer"] = getattr(lib.optim, name)(_parameters(t), lr=1e-6)
    t["optimizer"].step()


def _clip(name: str, lib: Any, t: Tensors) -> None:
    getattr(lib.nn.utils, name)(_parameters(t), 1.0)


def _unscale(lib: Any, t: Tensors) -> None:
    if "optimizer" not in t:
        t["optimizer"] = lib.optim.SGD(_parameters(t), lr=1e-6)
    lib.amp.GradScaler(init_scale=1.0).unscale_(t["optimizer"])


def _reductions(s: Sizes) -> Iterator[Op]:
    matrix = {"x": (s.rows, s.columns)}
    yield Op("sum of rows", matrix, _method("sum", 1))
    yield Op("sum of columns", matrix, _method("sum", 0))
    yield Op("mean of all", matrix, _method("mean"))
    yield Op("amax of rows", matrix, _method("amax", 1))
    yield Op("amax of columns", matrix, _method("amax", 0))
    yield Op("max of rows", matrix, lambda lib, t: t["x"].max(1)[0])
    yield Op("max of columns", matrix, lambda lib, t: t["x"].max(0)[0])
    yield Op("argmax", matrix, _method("argmax", 1), ())
    yield Op("prod of rows", matrix, _method("prod", 1))
    yield Op("var of rows", matrix, _method("var", 1))
    yield Op("norm", matrix, _method("norm"))
    a, b = (s.product, s.product), (32, max(4, s.product // 8), max(4, s.product // 8))
    yield Op("matmul", {"x": a, "y": a}, lambda lib, t: lib.matmul(t["x"], t["y"]), ("x", "y"))
    for word, name in (("high", "tf32"), ("medium", "bf16")):
        yield Op(f"linear and gradients, {name}", {"x": a, "y": a}, functools.partial(_by_tensor_cores, word), ())
    side, channels = min(s.side, 28), max(8, s.product // 8)
    images = {"x": (s.batch, side, side, channels), "y": (channels, 3, 3, channels)}
    colours = {"x": (s.batch, 2 * side, 2 * side, 3), "y": (channels, 3, 3, 3)}
    wide = max(40, s.product // 8)  # fewer channels are left to FFMA
    layers = {"x": (s.batch, side, side, wide), "y": (wide, 3, 3, wide)}
    yield Op("convolution and gradients, tf32", layers, _convolution_of_tf32, ())
    deep = min(256, s.product)  # many channels, so that Winograd's algorithm pays
    layers = {"x": (s.batch, side, side, deep), "y": (deep, 3, 3, deep)}
    yield Op("convolution, 3×3", layers, _convolution, ("x", "y"))
    for kind in ("float16", "bfloat16"):
        yield Op(f"linear and gradients, {kind}", {"x": a, "y": a}, functools.partial(_linear_of_16_bits, kind), ())
        yield Op(f"convolution and gradients, {kind}", images, functools.partial(_convolution_of_16_bits, kind), ())
        yield Op(f"first layer and gradients, {kind}", colours, functools.partial(_convolution_of_16_bits, kind), ())
    yield Op("bmm", {"x": b, "y": b}, lambda lib, t: lib.bmm(t["x"], t["y"]), ("x", "y"))
    heads = {name: (32, max(4, s.product // 4), min(64, s.product)) for name in ("x", "y", "w")}
    yield Op("attention", heads, _attention, ("x", "y", "w"))
    yield Op("causal attention", heads, lambda lib, t: _attention(lib, t, True), ("x", "y", "w"))


def _by_tensor_cores(precision: str, lib: Any, t: Tensors) -> None:
    """The three forms of a product."""
    x, weight = (t[name].detach().requires_grad_() for name in "xy")
    outside = lib.get_float32_matmul_precision()
    lib.set_float32_matmul_precision(precision)
    try:
        lib.nn.functional.linear(x, weight).sum().backward()
    finally:
        lib.set_float32_matmul_precision(outside)


def _convolution(lib: Any, t: Tensors) -> Any:
    return lib.nn.functional.conv2d(t["x"], t["y"], None, 1, 1)


def _convolution_of_tf32(lib: Any, t: Tensors) -> None:
    """A convolution and both gradients."""
    x, weight = (t[name].detach().requires_grad_() for name in "xy")
    outside = lib.backends.cudnn.allow_tf32
    lib.backends.cudnn.allow_tf32 = True
    try:
        lib.nn.functional.conv2d(x, weight, None, 1, 1).sum().backward()
    finally:
        lib.backends.cudnn.allow_tf32 = outside


def _linear_of_16_bits(kind: str, lib: Any, t: Tensors) -> None:
    """The three forms of a product, and the mask of a ReLU."""
    x, weight = (t[name].to(getattr(lib, kind)).requires_grad_() for name in "xy")
    lib.nn.functional.linear(x, weight, weight[0]).relu().sum().backward()


def _convolution_of_16_bits(kind: str, lib: Any, t: Tensors) -> None:
    x, weight = (t[name].to(getattr(lib, kind)).requires_grad_() for name in "xy")
    lib.nn.functional.conv2d(x, weight, None, 1, 1).sum().backward()


def _attention(lib: Any, t: Tensors, causal: bool = False) -> Any:
    return lib.nn.functional.scaled_dot_product_attention(t["x"], t["y"], t["w"], is_causal=causal)


def _moving(s: Sizes) -> Iterator[Op]:
    matrix, pair = {"x": (s.rows, s.columns)}, {"x": (s.rows, s.columns), "y": (s.rows, s.columns)}
    some = {"index": ((s.rows,), s.rows)}
    yield Op("embedding", matrix, lambda lib, t: lib.nn.functional.embedding(t["index"], t["x"]), below=some)
    yield Op("x[index]", matrix, lambda lib, t: t["x"][t["index"]], below=some)
    yield Op("x[index, index]", matrix, lambda lib, t: t["x"][t["index"], t["index"] % s.columns], below=some)
    places = {"index": ((s.rows, s.columns), s.columns)}
    yield Op("gather", matrix, lambda lib, t: lib.gather(t["x"], 1, t["index"]), below=places)
    yield Op("masked_select", matrix, lambda lib, t: lib.masked_select(t["x"], t["x"].detach() > 0))
    yield Op("cat", pair, lambda lib, t: lib.cat([t["x"], t["y"]], 0), ("x", "y"))
    yield Op("cat of columns", pair, lambda lib, t: lib.cat([t["x"], t["y"]], 1), ("x", "y"))
    yield Op("split", matrix, lambda lib, t: lib.split(t["x"], s.columns // 2, 1)[1])
    yield Op("transpose", matrix, lambda lib, t: t["x"].t().contiguous() * 1.0)
    images = {"x": (s.batch, s.side, s.side, s.channels)}
    yield Op("permute of images", images, lambda lib, t: t["x"].permute(1, 3, 0, 2).contiguous() * 1.0)
    yield Op("flatten of images", images, lambda lib, t: lib.flatten(t["x"], 1) * 1.0)
    yield Op("x[::2, 1:]", matrix, lambda lib, t: t["x"][::2, 1:] * 1.0)
    yield Op("x[::2] = y", pair, _assign, ())
    yield Op("x[index] = y", pair, _assign_places, (), below=some)
    yield Op("scatter", pair, lambda lib, t: lib.scatter(t["x"], 1, t["index"], t["y"]), ("x", "y"), below=places)
    yield Op("sort", matrix, lambda lib, t: lib.sort(t["x"], 1).values)
    yield Op("topk of everything", matrix, lambda lib, t: t["x"].reshape(-1).topk(s.columns).values)
    yield Op("searchsorted", pair, lambda lib, t: lib.searchsorted(t["x"][0].sort().values, t["y"]), ())
    yield Op("cumsum", matrix, _method("cumsum", 1))
    yield Op("cumsum of everything", matrix, lambda lib, t: t["x"].reshape(-1).cumsum(0))
    yield Op("flip", matrix, lambda lib, t: t["x"].flip(0))
    yield Op("expand", {"x": (s.rows, 1)}, lambda lib, t: t["x"].expand(s.rows, s.columns) * 1.0)
    yield Op("tril", matrix, _method("tril"))
    yield Op("arange", {"x": (1,)}, lambda lib, t: lib.arange(s.rows * s.columns, device=t["x"].device), ())


def _assign_places(lib: Any, t: Tensors) -> None:
    t["x"][t["index"]] = t["y"]


def _assign(lib: Any, t: Tensors) -> None:
    t["x"][::2] = t["y"][: len(t["x"][::2])]
