"""Positions and reading at positions, against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.nn import functional as F
from gpunn.primitive import count_bodies
from tests.devices import EVERYWHERE

_OPTIONS = list(
    itertools.product(("bilinear", "nearest"), ("zeros", "border", "reflection"), (False, True), ((4, 5), (1, 3)))
)


def _random(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("mode", "padding", "corners", "image"), _OPTIONS)
def test_sampling_matches_torch(where: str, mode: str, padding: str, corners: bool, image: tuple[int, int]) -> None:
    parity = pytest.importorskip("tests.parity")
    options: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    arrays = {"x": _random(1, (2, 3, *image)), "grid": 1.5 * _random(2, (2, 3, 2, 2))}
    # A dozen operations on numbers of order one.
    parity.compare(
        lambda x, grid: F.grid_sample(x, grid, **options),
        lambda x, grid: parity.torch.nn.functional.grid_sample(x, grid, **options),
        arrays,
        where,
        1e-12,
        no_gradient=("grid",) if mode == "nearest" else (),
        least_scale=1,
    )


@pytest.mark.filterwarnings("ignore:.*unit-size grids")  # PyTorch's, of what it did before version 1.3
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [(2, 1, 4, 5), (2, 3, 1, 2)])
def test_grids_match_torch(where: str, corners: bool, size: tuple[int, ...]) -> None:
    parity = pytest.importorskip("tests.parity")
    # Sums of three products.
    parity.compare(
        lambda theta: F.affine_grid(theta, size, corners),
        lambda theta: parity.torch.nn.functional.affine_grid(theta, size, corners),
        {"theta": _random(3, (2, 2, 3))},
        where,
        1e-13,
        least_scale=1,
    )


def test_no_move_gives_the_image_back() -> None:
    x = gpunn.tensor(_random(4, (1, 2, 5, 6)))
    theta = gpunn.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype="float64")
    for corners in (False, True):
        y = F.grid_sample(x, F.affine_grid(theta, (1, 2, 5, 6), corners), align_corners=corners)
        np.testing.assert_allclose(y.numpy(), x.numpy(), atol=1e-14)  # positions are rounded


def test_captured_equals_eager(kernels: str) -> None:
    leaf = gpunn.tensor(_random(5, (2, 2, 3)).astype(np.float32), device=kernels, requires_grad=True)

    def step(image: Any) -> Any:
        leaf.grad = None
        y = F.grid_sample(image, F.affine_grid(leaf, (2, 1, 3, 3), False), align_corners=False)
        loss = y.square().sum()
        loss.backward()
        return loss

    captured: Any = gpunn.capture(step)
    for seed in range(4):
        image = gpunn.tensor(_random(seed, (2, 1, 4, 4)).astype(np.float32), device=kernels)
        with count_bodies() as counts:
            expected = step(image).item(), leaf.grad.tolist()
        assert {body for _, body in counts} == {"kernel"}, [name for name, body in counts if body != "kernel"]
        assert (captured(image).item(), leaf.grad.tolist()) == expected
    assert captured.graphs == 1


def test_what_does_not_fit_is_refused() -> None:
    x, grid = gpunn.zeros(2, 1, 3, 3), gpunn.zeros(2, 2, 2, 2)
    with pytest.raises(ShapeError, match=r"expected input \(N, C, H, W\)"):
        F.grid_sample(x, grid[:1])
    with pytest.raises(ShapeError, match="pixels"):
        F.grid_sample(gpunn.zeros(2, 1, 0, 3), grid)
    with pytest.raises(DTypeError, match="one dtype"):
        F.grid_sample(x, grid.to("float64"))
    with pytest.raises(UsageError, match="bilinear, nearest"):
        F.grid_sample(x, grid, mode="bicubic")
    with pytest.raises(ShapeError, match=r"theta \(N, 2, 3\)"):
        F.affine_grid(gpunn.zeros(2, 3, 4), (2, 1, 3, 3, 3))
