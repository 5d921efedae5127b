"""D1: universal approximation."""

from __future__ import annotations

import numpy as np

from gpunn.demos import approximation


def test_D1_sixty_four_sigmoids_come_within_a_fiftieth() -> None:
    """The lecture's bound, from each of two starts; the squares' too, and four units are too few."""
    result = approximation.run(n=(4, 64), starts=2, steps=150)
    assert (result.wide[1] < 0.02).all()
    assert (result.wide[0] > 0.1).all()
    assert np.abs(result.square).max() < 0.05  # 0.011 when it was written
    assert result.wide[0, 0] == np.abs(result.F[0] - result.f).max()
    said = list(approximation.lines(result))
    assert f"{result.wide[1].max():.4f}" in said[2]
    assert result.wide[1].min() < result.deep.min(), "with as many parameters, depth does not pay on this function"
    assert f"{result.deep.min():.4f}  {result.deep.max():.4f}" in said[3]
