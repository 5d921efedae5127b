"""COVERAGE L10: sizes, unused borders and receptive fields, as summarize says and as gradients show."""

from __future__ import annotations

import numpy as np

from gpunn.demos import convolution_sizes


def test_L10_sizes_and_borders_that_no_window_reads() -> None:
    sizes, stacks = convolution_sizes.run()
    assert [c.outputs for c in sizes] == [5, 3, 2, 7]
    for c in sizes:
        unread = np.argwhere(c.reads == 0)
        assert bool(len(unread)) == (c.name == "stride 3")
        assert (unread.max(1) == 6).all()  # the last row and column
        assert bool(c.unused) == bool(len(unread))
    assert sizes[2].unused == ("last row of the padded input unused", "last column of the padded input unused")
    assert sizes[0].reads.sum() == 5 * 5 * 9
    assert next(convolution_sizes.lines((sizes, stacks))) == "7×7, 3×3, stride 1: 5×5"


def test_L10_receptive_fields_are_where_the_gradient_is() -> None:
    _, stacks = convolution_sizes.run()
    assert [c.field for c in stacks] == [5, 7, 8, 7]
    for c in stacks:
        rows, columns = np.nonzero(c.reads)
        assert len(rows) == c.field**2
        assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == c.field
