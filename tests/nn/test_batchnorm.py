"""Batch-normalisation layers against PyTorch, in every mode and with every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError

LAYERS = [("BatchNorm1d", (5, 3)), ("BatchNorm1d", (5, 3, 4)), ("BatchNorm2d", (5, 3, 4, 2))]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": None},
    {"momentum": 0.3, "eps": 1e-2},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"track_running_stats": False, "momentum": None, "affine": False},
]


def _batches(shape: tuple[int, ...], count: int = 3) -> list[np.ndarray]:
    rng = np.random.Generator(np.random.Philox(0))
    return [n + (n + 1) * rng.standard_normal((shape[0] + n, *shape[1:])) for n in range(count)]


@pytest.mark.parametrize(("name", "shape"), LAYERS)
@pytest.mark.parametrize("options", OPTIONS)
def test_training_then_evaluation_match_torch(name: str, shape: tuple[int, ...], options: dict[str, Any]) -> None:
    """float64: only a wrong formula can differ by more than 1e-12."""
    parity = pytest.importorskip("tests.parity")
    ours = getattr(nn, name)(3, **options, dtype=np.float64)
    theirs = getattr(parity.torch.nn, name)(3, **options, dtype=parity.torch.float64)
    for batch in _batches(shape):
        parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": batch}, "cpu", 1e-12)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for key, tensor in ours.state_dict().items():
        assert tensor.shape == tuple(state[key].shape)
        np.testing.assert_allclose(tensor.numpy(), state[key].numpy(), rtol=1e-12, err_msg=key)
    ours.eval()
    theirs.eval()
    for batch in _batches(shape, 2):
        parity.compare(lambda x: ours(x), lambda x: theirs(x), {"x": batch}, "cpu", 1e-12)
    if ours.num_batches_tracked is not None:
        assert ours.num_batches_tracked.item() == 3


@pytest.mark.parametrize("options", OPTIONS)
def test_repr_is_torchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    assert repr(nn.BatchNorm2d(4, **options)) == repr(torch.nn.BatchNorm2d(4, **options))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
def test_one_value_per_channel_is_refused_in_training_only(shape: tuple[int, ...]) -> None:
    layer = nn.BatchNorm2d(3) if len(shape) == 4 else nn.BatchNorm1d(3)
    with pytest.raises(ShapeError, match="expected more than 1 value per channel when training"):
        layer(gpunn.ones(*shape))
    assert layer.num_batches_tracked.item() == 0
    assert layer.eval()(gpunn.ones(*shape)).shape == shape
    without = type(layer)(3, track_running_stats=False).eval()
    with pytest.raises(ShapeError, match="more than 1 value"):  # it uses the batch's statistics in evaluation too
        without(gpunn.ones(*shape))


@pytest.mark.parametrize(("layer", "shape"), [(nn.BatchNorm1d(3), (2, 3, 4, 5)), (nn.BatchNorm2d(3), (2, 3, 4))])
def test_other_axes_are_refused(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"batch_norm|BatchNorm"):
        layer(gpunn.ones(*shape))
