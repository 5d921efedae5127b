"""Every kernel of a ladder saves what its head comment says, as counted."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn.bench.ladder import Step
from gpunn.demos import kernels

pytestmark = pytest.mark.emulator


def test_each_rung_moves_fewer_bytes_or_takes_fewer_instructions() -> None:
    result = kernels.run(size=64, image=8)
    products, convolutions = ({step.kernel: step for step in steps} for steps in result.steps.values())
    naive, coalesced, tiled, registers, padded, shipped = products.values()
    # 16 rows of a and one of b are a sector each; side by side, a warp's two rows of 16 numbers are two sectors each.
    assert naive.sectors > 4 * coalesced.sectors
    assert coalesced.global_instructions == naive.global_instructions
    # Each number is fetched once for 16 outputs, and then read from shared memory.
    assert coalesced.sectors > 6 * tiled.sectors
    assert coalesced.global_instructions > 14 * tiled.global_instructions
    _more_in_registers(tiled, registers)
    assert registers.conflicts > 0
    assert padded == registers._replace(kernel=padded.kernel, idea=padded.idea, conflicts=0)
    _vectors(padded, shipped)

    naive, tiled, registers, shipped = convolutions.values()
    assert naive.sectors > 30 * tiled.sectors
    assert naive.global_instructions > 14 * tiled.global_instructions
    _more_in_registers(tiled, registers)
    _vectors(registers, shipped)

    # Sums of 64 and of 144 products of numbers around 1, each of which rounds by 6e-8 of a sum around 10.
    assert all(step.error < 1e-4 for step in (*products.values(), *convolutions.values()))
    said = kernels.lines(result)
    assert f"matmul_naive (one thread an output): {products['matmul_naive'].sectors:,} sectors" in said[0]
    assert "times fewer bytes" in said[-1]


def _more_in_registers(before: Step, after: Step) -> None:
    assert before.sectors > 2.9 * after.sectors
    assert before.instructions > 3.9 * after.instructions  # 8 reads for 16 products, before 2 for each


def _vectors(before: Step, after: Step) -> None:
    assert after.sectors <= before.sectors
    assert before.instructions > 3.4 * after.instructions  # 4 numbers in each but for some stores to shared memory


def test_the_picture_has_a_bar_and_a_number_for_each_kernel() -> None:
    from gpunn.plots.style import drawing

    step = Step("naive", "one thread an output", 1200, 80, 0, 0, 1e-6, None)
    better = Step("tiled", "tiles", 300, 10, 70, 5, 1e-6, None)
    with drawing():
        plain = kernels.draw(kernels.Result({"product": [step, better]}))
        timed = kernels.draw(kernels.Result({"product": [step._replace(ms=2.5), better._replace(ms=0.5)]}))
    sectors, instructions, conflicts = plain.axes
    assert [t.get_text() for t in sectors.get_yticklabels()] == ["one thread an output", "tiles"]
    assert [t.get_text().strip() for t in sectors.texts] == ["1,200", "300"]
    assert [t.get_text().strip() for t in instructions.texts] == ["80", "80"]
    assert [t.get_text().strip() for t in conflicts.texts] == ["0", "5"]
    assert np.allclose([bar.get_width() for bar in instructions.patches], [80, 10, 0, 70])
    assert timed.axes[-1].get_title(loc="left") == "milliseconds on the GPU"
    assert [t.get_text().strip() for t in timed.axes[-1].texts] == ["2.5", "0.5"]
