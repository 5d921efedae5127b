"""D5: decision boundaries while models learn."""

from __future__ import annotations

import numpy as np

from gpunn.demos import boundaries


def test_D5_lines_turn_and_the_net_bends() -> None:
    result = boundaries.run(points=100, times=(0, 100, 200))
    line, logistic, net = result.percent.values()
    assert line[-1] < 95
    assert logistic[-1] < 95, "no line separates the moons"
    assert net[-1] > 97
    assert result.percent.keys() == result.maps.keys()
    for name in ("perceptron", "logistic neuron"):  # along the grid a linear function has no curvature
        says = np.asarray(result.maps[name][-1], np.float64).reshape(81, 81)
        np.testing.assert_allclose(np.diff(says, n=2, axis=0), 0, atol=1e-5 * np.abs(says).max())  # float32
    bent = np.asarray(result.maps["two layers"][-1], np.float64).reshape(81, 81)
    assert np.abs(np.diff(bent, n=2, axis=1)).max() > 0.01 * np.abs(bent).max()


def test_D5_every_model_is_seen_at_every_time() -> None:
    result = boundaries.run(points=20, times=(0, 2))
    assert [len(maps) for maps in result.maps.values()] == [2, 2, 2]
    assert (result.maps["perceptron"][0] == 0).all(), "it starts from zero"
    assert [len(line.split()) for line in list(boundaries.lines(result))[1:]] == [3, 4, 4]
