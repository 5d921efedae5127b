"""T1: the perceptron's rule, one correction after the other."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn.demos import perceptron


@pytest.mark.parametrize("seed", range(3))
def test_T1_the_rule_stops_where_a_line_separates_and_goes_on_where_none_does(seed: int) -> None:
    result = perceptron.run(seed=seed)
    assert result.same
    assert result.mistakes[-1] == 0
    assert sum(result.mistakes) == len(result.steps)
    w = result.steps[-1][1]
    np.testing.assert_array_equal(result.x @ w[:2] + w[2] >= 0, result.y)
    assert len(result.xor) == 100
    assert min(result.xor) >= 1
    said = list(perceptron.lines(result))
    assert f"{len(result.steps)} corrections" in said[0]
    assert "after 100 epochs still" in said[2]


def test_T1_each_correction_adds_or_takes_the_missed_point() -> None:
    """The lecture's example: from (1, 2, -1) the first point takes (0, 1, 1), and the second epoch is clean."""
    x, y = np.array([[0, 1], [1, 0], [2, 1], [1, 2]]), np.array([0, 0, 1, 1])
    (step,), mistakes = perceptron.rule(x, y, np.array([1, 2, -1]))
    assert (step[0], step[1].tolist(), mistakes) == (0, [1, 1, -2], [1, 0])
