"""D6: activations in depth."""

from __future__ import annotations

from gpunn.demos import depth


def test_D6_sigmoids_stop_learning_in_depth_and_a_wider_net_is_faster() -> None:
    result = depth.run(depths=(1, 6), widths=(8, 64), rates=(0.01, 0.1), steps=100)
    (shallow, deep), *others = result.right
    assert shallow > 90
    assert deep < 20  # chance is 10 %
    assert all(min(right) > 90 for right in others)
    first, last = result.norms[:, 0], result.norms[:, -2]
    assert first[0] < 0.25**5 * 10 * last[0]  # five factors of 1/4 between; 10: the sizes of the layers differ
    assert (first[1:] > 0.25 * last[1:]).all()
    narrow, wide = result.losses[:, -20:].mean(1)
    assert wide < narrow / 2
