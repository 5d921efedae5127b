"""Normalisations made of other ops: PyTorch's values, gradients and running estimates, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import DTypeError, GpunnError, ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE

# Some dozen roundings of numbers of order one, which 1 / sqrt(eps) = 300 may multiply where a channel hardly varies.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def _numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("name", "shape", "options", "weights"),
    [
        ("instance_norm", (2, 3, 5, 4), {}, {"weight": (3,), "bias": (3,)}),
        ("instance_norm", (1, 5, 7), {"eps": 0.1}, {"weight": (5,)}),
        ("instance_norm", (2, 2, 2, 3, 3), {}, {}),
        ("rms_norm", (2, 3, 6), {"normalized_shape": (6,)}, {"weight": (6,)}),
        ("rms_norm", (2, 3, 4, 5), {"normalized_shape": (4, 5), "eps": 0.25}, {"weight": (4, 5)}),
        ("rms_norm", (7,), {"normalized_shape": (7,)}, {}),
        ("normalize", (3, 4, 2), {}, {}),
        ("normalize", (5, 7), {"p": 1, "dim": 0}, {}),
        ("normalize", (2, 3, 2, 4), {"p": 3.0, "dim": -1, "eps": 1.5}, {}),
        ("normalize", (2, 3, 4), {"dim": (1, 2)}, {}),
        ("local_response_norm", (2, 5, 3, 4), {"size": 3}, {}),
        ("local_response_norm", (2, 4, 6), {"size": 4, "alpha": 0.5, "beta": 0.5, "k": 2.0}, {}),
        ("local_response_norm", (1, 3, 2, 2, 2), {"size": 7, "alpha": 2.0}, {}),
        ("local_response_norm", (2, 1, 5), {"size": 1, "alpha": 1.0, "beta": 2.0}, {}),
        ("local_response_norm", (0, 3, 2, 2), {"size": 2}, {}),
    ],
)
def test_matches_torch(
    where: str,
    dtype: Any,
    name: str,
    shape: tuple[int, ...],
    options: dict[str, Any],
    weights: dict[str, tuple[int, ...]],
) -> None:
    parity = pytest.importorskip("tests.parity")
    given = {"input": _numbers(*shape)} | {n: _numbers(*form, seed=1) for n, form in weights.items()}
    theirs = getattr(parity.torch.nn.functional, name)
    ours = getattr(F, name)
    parity.compare(
        lambda **t: ours(t.pop("input"), **t, **options),
        lambda **t: theirs(t.pop("input"), **t, **options),
        {n: a.astype(dtype) for n, a in given.items()},
        where,
        TOLERANCE[dtype],
        least_scale=1,
    )


def test_a_vector_without_length_stays() -> None:
    x = gpunn.zeros(1, 3, requires_grad=True)
    y = F.normalize(x)
    y.sum().backward()
    assert y.tolist() == [[0, 0, 0]]
    assert np.isfinite(x.grad.numpy()).all()


LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("InstanceNorm2d", (3,), {}, (2, 3, 4, 5)),
    ("InstanceNorm2d", (3, 0.1, 0.3, True, True), {}, (2, 3, 4, 5)),
    ("InstanceNorm2d", (3,), {"affine": True, "bias": False}, (3, 4, 5)),
    ("InstanceNorm1d", (3,), {"track_running_stats": True}, (2, 3, 6)),
    ("InstanceNorm1d", (3,), {}, (3, 6)),
    ("RMSNorm", (6,), {}, (2, 3, 6)),
    ("RMSNorm", ((3, 6), 1e-3, False), {}, (2, 3, 6)),
]


@pytest.mark.parametrize(("name", "args", "named", "shape"), LAYERS)
def test_layers_train_and_evaluate_as_pytorchs(
    name: str, args: tuple[Any, ...], named: dict[str, Any], shape: tuple[int, ...]
) -> None:
    parity = pytest.importorskip("tests.parity")
    ours = getattr(nn, name)(*args, dtype="float64", **named)
    theirs = getattr(parity.torch.nn, name)(*args, dtype=parity.torch.float64, **named)
    assert repr(ours) == repr(theirs)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        parity.compare(ours, lambda x: theirs(x), {"x": _numbers(*shape)}, "cpu", 1e-12, least_scale=1)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for key, value in theirs.state_dict().items():
            parity.close(key, ours.state_dict()[key].numpy(), value.numpy(), 1e-12, 1)


def test_local_response_norm_is_a_layer() -> None:
    x = gpunn.randn(2, 5, 3, 3)
    assert nn.LocalResponseNorm(3, 0.5, 0.25, 2)(x).tolist() == F.local_response_norm(x, 3, 0.5, 0.25, 2).tolist()


def test_running_estimates_move_on_kernels(kernels: str) -> None:
    x = _numbers(2, 3, 4, 5).astype(np.float32)
    found = []
    for where in ("cpu", kernels):
        layer = nn.InstanceNorm2d(3, track_running_stats=True).to(where)
        layer(gpunn.tensor(x, device=where))
        found.append(np.stack([layer.running_mean.numpy(), layer.running_var.numpy()]))
    # Means of twenty numbers of order one, added in another order.
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
    assert np.abs(found[0] - [[0], [1]]).max() > 0.01


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.instance_norm(gpunn.ones(2, 3)), ShapeError, r"^instance_norm: expected x \(N, C, \*\) with pos"),
        (lambda: F.instance_norm(gpunn.ones(2, 3, 1)), ShapeError, "^instance_norm: expected more than 1 position"),
        (lambda: F.instance_norm(gpunn.arange(6).reshape(1, 2, 3)), DTypeError, "^instance_norm: expected a floating"),
        (lambda: F.instance_norm(gpunn.ones(1, 2, 3), gpunn.zeros(2)), UsageError, "running_mean and running_var, or"),
        (lambda: F.rms_norm(gpunn.ones(2, 3), (2,)), ShapeError, r"^rms_norm: expected x that ends in \(2,\); got"),
        (lambda: F.rms_norm(gpunn.ones(2, 3), 3, gpunn.ones(2)), ShapeError, "^rms_norm: weight: expected shape"),
        (lambda: F.normalize(gpunn.arange(3), dim=0), DTypeError, "^normalize: expected a floating dtype; got int64"),
        (
            lambda: F.local_response_norm(gpunn.ones(2, 3), 2),
            ShapeError,
            r"^local_response_norm: expected x \(N, C, \*",
        ),
        (lambda: F.local_response_norm(gpunn.ones(2, 3, 4), 0), UsageError, "^local_response_norm: size: expected a"),
        (lambda: F.local_response_norm(gpunn.arange(6).reshape(1, 2, 3), 1), DTypeError, "expected a floating dtype"),
        (
            lambda: nn.LocalResponseNorm(2, beta=float("nan")),
            UsageError,
            "^LocalResponseNorm: beta: expected a finite number",
        ),
        (lambda: nn.InstanceNorm2d(3)(gpunn.ones(2, 3)), ShapeError, r"expected x of shape \(N, C, H, W\) or"),
        (lambda: nn.InstanceNorm2d(3)(gpunn.ones(1, 2, 3, 3)), ShapeError, "expected 3 channels; got x of shape"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
