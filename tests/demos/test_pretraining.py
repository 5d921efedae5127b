"""D8: greedy layer-wise pretraining."""

from __future__ import annotations

from gpunn.demos import pretraining


def test_D8_pretraining_lets_deep_sigmoids_learn_and_relu_does_without() -> None:
    result = pretraining.run(before=150, steps=100)
    (random, *others), (chance, *tested) = result.losses[:, -10:].mean(1), result.test
    assert random > 2.2  # -log 0.1 is 2.3: it has learned nothing
    assert chance < 20
    assert max(others) < 1
    assert min(tested) > 80
