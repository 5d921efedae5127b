"""A matrix product and a convolution, from one CUDA thread an output to the kernel that layers use, counted.

All kernels of a ladder make the same multiplications. What differs is how often numbers are fetched, from where, and in
how many instructions: a warp's 32 threads fetch in sectors of 32 bytes, so neighbours should read neighbours; a number
that many threads need is fetched once and kept in shared memory, then in registers. The kernels are in kernels/ladder.
They run on the emulator, which counts what the warps do; with ``device="cuda"`` they are timed there too.
Source: NVIDIA, "CUDA C++ Programming Guide"; convolutions as products: Chetlur et al. 2014, arXiv:1410.0759.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gpunn.bench.ladder import CONV2D, MATMUL, Step, climb
from gpunn.plots.ladder import draw_ladder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result(NamedTuple):
    """By problem what each kernel did."""

    steps: dict[str, list[Step]]


def run(*, seed: int = 0, device: str = "cpu", size: int = 128, image: int = 16) -> Result:
    """Run and count all kernels of both ladders."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, size, size), np.float32)
    product = climb(MATMUL, (a, b), a.astype(np.float64) @ b, device)
    x, weight = rng.standard_normal((1, image, image, 16), np.float32), rng.standard_normal((64, 3, 3, 16), np.float32)
    # The definition, in float64: nine shifted images, each times the filters' elements for that shift.
    wide = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = sum(wide[:, r : r + image, s : s + image] @ weight[:, r, s].T for r in range(3) for s in range(3))
    convolution = climb(CONV2D, (x, weight, 1), y, device)
    return Result({f"matrix product, {size}³": product, f"3×3 convolution, {image}×{image}": convolution})


def lines(result: Result) -> list[str]:
    """A line for each kernel, and what the last saves against the first."""
    said = [str(step) for steps in result.steps.values() for step in steps]
    for name, (first, *_, last) in result.steps.items():
        fewer = (
            f"{first.sectors / last.sectors:.0f} times fewer bytes, {first.instructions / last.instructions:.0f} times"
        )
        said.append(f"{name}: {last.kernel} moves {fewer} fewer loads and stores than {first.kernel}.")
    return said


def draw(result: Result) -> Figure:
    """Bars for each kernel, a row for each problem."""
    return draw_ladder(result.steps)
