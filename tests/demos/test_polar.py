"""D2: features that a person chose, and features that a net learns."""

from __future__ import annotations

import numpy as np

from gpunn.demos import polar


def test_D2_a_line_fails_on_rings_and_features_succeed() -> None:
    result = polar.run(points=200, steps=200)
    raw, engineered, learned, last = result.percent
    assert raw < 70, "half of the points is what a guess gives"
    assert engineered == learned == last == 100
    places, says, x = result.planes[1]
    np.testing.assert_allclose(x[:, 0], np.hypot(*result.planes[0][2].T), rtol=1e-6)
    along, across = np.diff(says.reshape(81, 81)[40])[40], np.diff(says.reshape(81, 81)[:, 40])[40]
    r, theta = places[1, 0] - places[0, 0], places[81, 1] - places[0, 1]
    assert abs(along / r) > 20 * abs(across / theta), "r alone is needed"


def test_D2_kernels_learn_what_numpy_does(kernels: str) -> None:
    host = polar.run(points=8, steps=2)
    device = polar.run(points=8, steps=2, device=kernels)
    for (_, says, x), (_, found, points) in zip(host.planes, device.planes, strict=True):
        # A few sums of at most 16 products and two steps of Adam, whose division makes an error of the gradient's
        # rounding, 1e-7 of it, that of a step, 0.05.
        np.testing.assert_allclose(found, says, atol=1e-4)
        np.testing.assert_allclose(points, x, atol=1e-4)
