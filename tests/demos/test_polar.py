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
