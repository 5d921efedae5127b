"""Functions and layers against PyTorch, with shapes and options drawn by hypothesis: values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn as typed
from tests.devices import EVERYWHERE
from tests.ops.arrays import axis, shapes

gpunn: Any = typed

# Some dozen roundings of float64 numbers of order one, in another order than PyTorch's.
TOLERANCE = 1e-11
_FEW = settings(max_examples=6, deadline=None)


def _numbers(data: st.DataObject, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Apart from each other, so that no order and no rounding is in doubt; from ``low`` to ``high``."""
    rng = np.random.Generator(np.random.Philox(data.draw(st.integers(0, 999))))
    count = int(np.prod(shape))
    steps = rng.permutation(count).reshape(shape)
    return low + (high - low) * (steps + 0.25 + 0.5 * rng.random(shape)) / max(count, 1)


def _same(where: str, call: Callable[..., Any], arrays: dict[str, np.ndarray], **more: Any) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(
        lambda **t: call(gpunn, *t.values()),
        lambda **t: call(parity.torch, *t.values()),
        arrays,
        where,
        TOLERANCE,
        least_scale=1,
        **more,
    )


# -- element by element ---------------------------------------------------------------------------

# name: the interval that its argument is from
ONE = {
    **dict.fromkeys(("acos", "asin", "atanh", "erfinv"), (-0.9, 0.9)),
    **dict.fromkeys(("asinh", "atan", "exp2", "frac", "trunc", "sinc", "deg2rad", "rad2deg", "absolute"), (-3, 3)),
    **dict.fromkeys(("sinh", "cosh", "tan", "positive", "negative", "square"), (-1.4, 1.4)),
    **dict.fromkeys(("log2", "log10", "logit"), (0.05, 0.95)),
    "acosh": (1.1, 3),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", [name for name in ONE if hasattr(gpunn, name)])
@given(st.data())
@_FEW
def test_functions_of_one(where: str, name: str, data: st.DataObject) -> None:
    x = _numbers(data, data.draw(shapes(most=4)), *ONE[name])
    _same(where, lambda lib, x: getattr(lib, name)(x), {"x": x})


TWO = ("atan2", "hypot", "logaddexp", "logaddexp2", "copysign", "xlogy", "fmod", "multiply", "subtract", "divide")


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", TWO)
@given(st.data())
@_FEW
def test_functions_of_two_broadcast(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(most=4, lengths=st.integers(1, 4)))
    other = tuple(data.draw(st.sampled_from((n, 1))) for n in shape)[data.draw(st.integers(0, len(shape))) :]
    low = 0.1 if name in ("xlogy", "divide", "fmod") else -2.0
    arrays = {"a": _numbers(data, shape), "b": _numbers(data, other, low)}
    # Zeros in PyTorch, and nothing here; of a remainder's divisor a refusal.
    without = {"no_gradient": ("b",)} if name in ("copysign", "fmod") else {}
    _same(where, lambda lib, a, b: getattr(lib, name)(a, b), arrays, **without)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["addcmul", "addcdiv"])
@given(st.data())
@_FEW
def test_functions_of_three(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(most=3, lengths=st.integers(1, 4)))
    value = data.draw(st.sampled_from((1, -0.5, 2)))
    arrays = {"x": _numbers(data, shape), "a": _numbers(data, shape), "b": _numbers(data, shape, 0.2)}
    _same(where, lambda lib, x, a, b: getattr(lib, name)(x, a, b, value=value), arrays)


# -- along an axis --------------------------------------------------------------------------------

ALONG: dict[str, Callable[..., Any]] = {
    "cumprod": lambda lib, x, dim: lib.cumprod(x, dim),
    "cumsum": lambda lib, x, dim: lib.cumsum(x, dim),
    "cummax": lambda lib, x, dim: lib.cummax(x, dim)[0],
    "cummin": lambda lib, x, dim: lib.cummin(x, dim)[0],
    "diff": lambda lib, x, dim: lib.diff(x, dim=dim),
    "logsumexp": lambda lib, x, dim: lib.logsumexp(x, dim, keepdim=True),
    "median": lambda lib, x, dim: lib.median(x, dim)[0],
    "kthvalue": lambda lib, x, dim: lib.kthvalue(x, 1, dim)[0],
    "quantile": lambda lib, x, dim: lib.quantile(x, 0.3, dim),
    "nansum": lambda lib, x, dim: lib.nansum(x, dim),
    "nanmean": lambda lib, x, dim: lib.nanmean(x, dim),
    "sort": lambda lib, x, dim: lib.sort(x, dim, True)[0],
    "topk": lambda lib, x, dim: lib.topk(x, 1, dim)[0],
    "roll": lambda lib, x, dim: lib.roll(x, 2, dim),
    "repeat_interleave": lambda lib, x, dim: lib.repeat_interleave(x, 2, dim),
    "unfold": lambda lib, x, dim: x.unfold(dim, 1, 2),
    "glu": lambda lib, x, dim: lib.nn.functional.glu(lib.cat([x, x * 2], dim), dim),
    "normalize": lambda lib, x, dim: lib.nn.functional.normalize(x, 2.0, dim),
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ALONG)
@given(st.data())
@_FEW
def test_functions_along_an_axis(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(least=1, most=4, lengths=st.integers(1, 5)))
    dim = axis(data.draw, len(shape))
    _same(where, lambda lib, x: ALONG[name](lib, x, dim), {"x": _numbers(data, shape, 0.2)})


JOINED = ("hstack", "vstack", "dstack", "column_stack")


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", JOINED)
@given(st.data())
@_FEW
def test_joining(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(most=3, lengths=st.integers(1, 4)))
    _same(
        where, lambda lib, a, b: getattr(lib, name)((a, b, a)), {"a": _numbers(data, shape), "b": _numbers(data, shape)}
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@_FEW
def test_tile_and_kron(where: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(least=1, most=3, lengths=st.integers(1, 3)))
    other = data.draw(shapes(least=1, most=2, lengths=st.integers(1, 3)))
    repeats = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    arrays = {"a": _numbers(data, shape), "b": _numbers(data, other)}
    _same(where, lambda lib, a, b: lib.cat([lib.tile(a, repeats).reshape(-1), lib.kron(a, b).reshape(-1)]), arrays)


# -- layers ---------------------------------------------------------------------------------------


def _window(data: st.DataObject, axes: int) -> dict[str, Any]:
    """A window that fits into 4 to 6 elements along each axis."""

    def numbers(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(least, most)) for _ in range(axes))

    return {"kernel_size": numbers(2, 3), "stride": numbers(1, 2), "padding": numbers(0, 1), "dilation": numbers(1, 2)}


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@_FEW
def test_convolutions_of_volumes(where: str, data: st.DataObject) -> None:
    options, groups = _window(data, 3), data.draw(st.sampled_from((1, 2)))
    kernel = options.pop("kernel_size")
    size = tuple(data.draw(st.integers(5, 6)) for _ in range(3))
    arrays = {
        "x": _numbers(data, (2, 4, *size)),
        "weight": _numbers(data, (2, 4 // groups, *kernel)),
        "bias": _numbers(data, (2,)),
    }
    _same(where, lambda lib, x, w, b: lib.nn.functional.conv3d(x, w, b, groups=groups, **options), arrays)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["max_pool3d", "avg_pool3d", "unfold", "lp_pool2d", "max_pool2d"])
@given(st.data())
@_FEW
def test_windows(where: str, name: str, data: st.DataObject) -> None:
    axes = 3 if name.endswith("3d") else 2
    options = _window(data, axes)
    if name == "avg_pool3d":
        del options["dilation"]
    if name == "lp_pool2d":
        options = {"norm_type": 2.0, "kernel_size": options["kernel_size"], "stride": options["stride"]}
    size = tuple(data.draw(st.integers(5, 6)) for _ in range(axes))
    x = _numbers(data, (2, 3, *size), 0.2)
    _same(where, lambda lib, x: getattr(lib.nn.functional, name)(x, **options), {"x": x})


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@given(st.data())
@settings(max_examples=4, deadline=None)
def test_recurrent_layers(where: str, name: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    sizes = [data.draw(st.integers(1, 4)) for _ in range(5)]
    steps, batch, inputs, hidden, layers = (*sizes[:4], min(sizes[4], 2))
    options = {key: data.draw(st.booleans()) for key in ("batch_first", "bidirectional", "bias")}
    theirs = getattr(parity.torch.nn, name)(inputs, hidden, layers, **options).double()
    ours = getattr(gpunn.nn, name)(inputs, hidden, layers, dtype="float64", **options)
    ours.load_state_dict({key: gpunn.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    ours = ours.to(where)
    shape = (batch, steps, inputs) if options["batch_first"] else (steps, batch, inputs)
    _same(where, lambda lib, x: (ours if lib is gpunn else theirs)(x)[0], {"x": _numbers(data, shape)})
    for key, parameter in ours.named_parameters():
        parity.close(key, parameter.grad.numpy(), theirs.get_parameter(key).grad.numpy(), TOLERANCE, 1)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    "name", ["local_response_norm", "hardshrink", "softshrink", "celu", "mish", "selu", "softsign"]
)
@given(st.data())
@_FEW
def test_layers_of_any_shape(where: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(least=3, most=5, lengths=st.integers(1, 4)))
    options = {"size": data.draw(st.integers(1, 4))} if name == "local_response_norm" else {}
    _same(where, lambda lib, x: getattr(lib.nn.functional, name)(x, **options), {"x": _numbers(data, shape)})


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["gaussian_nll_loss", "poisson_nll_loss", "soft_margin_loss", "kl_div", "huber_loss"])
@given(st.data())
@settings(max_examples=3, deadline=None)
@pytest.mark.filterwarnings("ignore:reduction")  # of PyTorch's kl_div, which would have us say batchmean
def test_losses(where: str, reduction: str, name: str, data: st.DataObject) -> None:
    shape = data.draw(shapes(least=1, most=4, lengths=st.integers(1, 4)))
    arrays = {"x": _numbers(data, shape), "target": _numbers(data, shape, 0.1, 0.9)}
    if name == "gaussian_nll_loss":
        arrays["var"] = _numbers(data, shape, 0.3)

    def call(lib: Any, x: Any, target: Any, *more: Any) -> Any:
        return getattr(lib.nn.functional, name)(x, target, *more, reduction=reduction)

    _same(where, call, arrays, no_gradient=("target",))
