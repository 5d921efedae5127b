"""T2: what one line cannot do."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn.demos import xor


@pytest.mark.parametrize("seed", range(2))
def test_T2_only_two_layers_with_a_nonlinearity_compute_xor(seed: int) -> None:
    result = xor.run(seed=seed, steps=150)
    *lines, two = result.right.values()
    assert len(lines) == 5
    assert max(lines) == 3, "a line gets three corners right, at some moment"
    assert two == 4
    # Sums of 64 products of numbers below 1 in float32, whose rounding is 6e-8 each.
    assert 0 < result.gap < 64 * 6e-8
    for name, says in result.maps.items():
        corners = [np.argmin(np.abs(result.places - corner).sum(1)) for corner in xor.X]
        assert ((says[corners] > 0) == xor.Y).sum() == result.right[name], "the picture shows what the lines say"
