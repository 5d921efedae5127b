"""The plane that several demonstrations draw, and the loop that trains their networks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.demos._plane import draw_plane, grid, moons, rings
from gpunn.demos._training import fit, mlp, predict


def test_the_grid_goes_row_by_row() -> None:
    places = grid((0, 10), (1, 12), points=3)
    assert places.tolist()[:4] == [[0, 10], [0.5, 10], [1, 10], [0, 11]]
    assert places[-1].tolist() == [1, 12]


def test_the_boundary_is_where_the_model_says_0() -> None:
    style = pytest.importorskip("gpunn.plots.style")
    pytest.importorskip("matplotlib")
    places = grid((0, 0), (2, 1))
    with style.drawing():
        axes = style.new_figure().subplots()
        draw_plane(axes, places, places[:, 0] - 0.5, np.array([[1.0, 0.5]]), np.array([1]))
        (contour,) = [c for c in axes.collections if type(c).__name__ == "QuadContourSet"]
        (path,) = contour.get_paths()
    np.testing.assert_allclose(path.vertices[:, 0], 0.5, atol=1e-3)  # the grid's step is 0.025, tanh bends within it


def test_clouds_of_points() -> None:
    rng = np.random.Generator(np.random.Philox(0))
    x, y = rings(rng, 100)
    r = np.hypot(*x.T)
    assert (r[y == 0] <= 1).all()
    assert (r[y == 1] >= 1.5).all()
    x, y = moons(rng, 100)
    assert x.shape == (100, 2)
    assert y.sum() == 50
    assert x[y == 0, 1].mean() > x[y == 1, 1].mean() + 0.5


def test_fit_is_told_of_every_step_and_draws_batches_from_its_seed() -> None:
    x, y = np.arange(8, dtype=np.float32)[:, None] / 8, np.arange(8, dtype=np.float32)[:, None] / 4
    seen: list[int] = []
    weights: list[np.ndarray] = []

    def watch(done: int) -> None:
        seen.append(done)
        weights.append(model[0].weight.detach().numpy().copy())

    gpunn.manual_seed(1)
    model = mlp(1, 3, 1, activation=nn.Tanh)
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    losses = fit(model, nn.MSELoss(), x, y, steps=60, lr=0.1, before=watch)
    assert seen == list(range(61))
    assert losses[-1] < 0.1 * losses[0]
    moves = [np.abs(after - before).max() for before, after in pairwise(weights)]
    assert moves[0] == pytest.approx(0.1, rel=1e-3), "Adam's first step is the learning rate"
    assert moves[-1] < 0.001 * moves[0], "the last rate is (1 + cos(59π/60)) / 2 = 0.0007 of the first"
    again = []
    for seed in (4, 4, 5):
        model.load_state_dict(state)
        again.append(fit(model, nn.MSELoss(), x, y, steps=5, lr=0.1, batch_size=2, seed=seed))
    assert again[0] == again[1] != again[2]
    model.train()
    assert predict(model, x).shape == (8, 1)
    assert model.training
