"""COVERAGE D4: what the first layers of networks have learned."""

from __future__ import annotations

import numpy as np

from gpunn.demos import learned_filters


def test_D4_neighbouring_weights_become_alike() -> None:
    r = learned_filters.run(steps=40)
    # At full size 97 % and 95 %; ten classes of equal size are guessed at 10 %.
    assert min(r.accuracy) > 0.5
    assert max(map(abs, r.before)) < 0.2  # noise: r of 400 pairs has a standard deviation of 0.05
    assert min(r.after) > 0.4
    assert (r.filters.shape, r.maps.shape, r.units.shape) == ((20, 5, 5), (20, 28, 28), (20, 28, 28))
    assert r.maps.min() == 0  # behind a ReLU
    said = list(learned_filters.lines(r))
    assert said[0].startswith(f"LeNet: {r.accuracy[0]:.1%} right; r of neighbouring weights {r.before[0]:.2f} before")


def test_D4_tiles_are_beside_each_other_with_borders() -> None:
    images = np.arange(1.0, 9)[:, None, None] * np.ones((8, 2, 3))
    images[7] = 0
    sheet = learned_filters.tiles(images)
    assert sheet.shape == (8, 20)
    np.testing.assert_array_equal(sheet[1:3, 1:4], 1)
    np.testing.assert_array_equal(sheet[5:7, 16:19], 0)
    assert np.isnan(sheet[[0, 3, 4, 7]]).all()
