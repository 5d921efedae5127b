"""Grids of images, and files of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import ShapeError, UsageError
from gpunn.vision import utils as typed
from tests.parity_vision import torchvision

Image = pytest.importorskip("PIL.Image")
utils: Any = typed  # so that wrong arguments pass the type checker


def numbers(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).random(shape, np.float32) * 3 - 1


@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (9, 1, 3, 3), (1, 3, 4, 4), (3, 5, 5), (1, 5, 5), (5, 6)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nrow": 2, "padding": 0},
        {"nrow": 3, "padding": 1, "pad_value": 0.5},
        {"normalize": True},
        {"normalize": True, "scale_each": True},
        {"normalize": True, "value_range": (-0.5, 1.0)},
    ],
)
def test_grids_are_torchvisions(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    theirs, torch = torchvision("utils"), pytest.importorskip("torch")
    x = numbers(*shape)
    expected = theirs.make_grid(torch.from_numpy(x.copy()), **options).numpy()
    # Differences and quotients of float32: a rounding or two of numbers up to 1.
    np.testing.assert_allclose(utils.make_grid(gpunn.tensor(x), **options).numpy(), expected, rtol=0, atol=3e-7)
    if len(shape) == 4:
        np.testing.assert_allclose(utils.make_grid([*gpunn.tensor(x)], **options).numpy(), expected, rtol=0, atol=3e-7)


def test_where_images_lie_in_a_grid() -> None:
    x = numbers(3, 3, 4, 5)
    grid = utils.make_grid(gpunn.tensor(x), nrow=2, padding=1, pad_value=7).numpy()
    assert grid.shape == (3, 11, 13)
    np.testing.assert_array_equal(grid[:, 1:5, 1:6], x[0])
    np.testing.assert_array_equal(grid[:, 1:5, 7:12], x[1])
    np.testing.assert_array_equal(grid[:, 6:10, 1:6], x[2])
    assert (grid[:, [0, 5, 10]] == 7).all()
    assert (grid[:, 6:, 6:] == 7).all()


def test_ranges() -> None:
    x = gpunn.tensor(numbers(2, 3, 4, 5))
    scaled = utils.make_grid(x, padding=0, normalize=True).numpy()
    assert (scaled.min(), scaled.max()) == (0, 1)
    each = utils.make_grid(x, padding=0, normalize=True, scale_each=True).numpy()
    assert (each[:, :, :5].max(), each[:, :, 5:].max()) == (1, 1)
    assert x.min() < 0  # left as it was
    assert utils.make_grid(gpunn.ones(1, 3, 2, 2), normalize=True).tolist() == np.zeros((3, 2, 2)).tolist()


def test_files_hold_the_grid(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2) / 10 - 0.1
    utils.save_image(gpunn.tensor(x), tmp_path / "one.png")
    saved = np.asarray(Image.open(tmp_path / "one.png"))
    wanted = np.clip(x[0] * 255 + 0.5, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(saved, wanted.transpose(1, 2, 0))
    file = io.BytesIO()
    utils.save_image([gpunn.ones(1, 4, 4)] * 3, file, format="png", nrow=3, padding=1)
    assert Image.open(file).size == (16, 6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: utils.make_grid(np.ones((3, 2, 2))), UsageError, "expected tensors"),
        (lambda: utils.make_grid([]), ShapeError, "images of one size"),
        (lambda: utils.make_grid([gpunn.ones(1, 2, 2), gpunn.ones(1, 2, 3)]), ShapeError, "one size.*Resize"),
        (lambda: utils.make_grid(gpunn.ones(2)), ShapeError, r"got shape \(2,\)"),
        (lambda: utils.make_grid(gpunn.ones(0, 3, 2, 2)), ShapeError, "at least one image"),
        (lambda: utils.make_grid(gpunn.ones(2, 3, 2, 2), nrow=0), UsageError, "nrow: .*at least 1"),
        (lambda: utils.make_grid(gpunn.ones(3, 2, 2), normalize=True, value_range=3), UsageError, "value_range"),
        (lambda: utils.make_grid(gpunn.ones(3, 2, 2).long(), normalize=True), UsageError, "floating images; got int64"),
        (lambda: utils.save_image(gpunn.ones(3, 2, 2), "nowhere.strange"), UsageError, "a format that Pillow writes"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
