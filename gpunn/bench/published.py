"""The prediction held against measurements that others published: a ladder of float32 products on an RTX A6000.

S. Boehm's SGEMM_CUDA gives GFLOP/s of eight products of matrices of 4092 x 4092. ``kernels/ladder/published.cu`` has
a kernel of each kind with the same sizes of blocks and tiles; the library's product is compared with the last one,
which does what libraries do: the next tiles travel while these are multiplied. The product that layers launch,
``gemm_nn``, is predicted beside them; the table has none of its kind (8 x 8 outputs a thread, two stages).

The clock: the table's author states 30 TFLOP/s as this card's float32 peak, which is what its 84 SMs do at the base
clock of 1.41 GHz; at the boost clock of 1.8 GHz, which the data sheet's 38.7 TFLOP/s are for, they would do a quarter
more. Products of this size draw all the power that the card may have, so the base clock is what is sure, and what is
compared with. Predictions at the boost clock are there too.

L1 serves the lines of one access one by one, as the programming guide says; NVIDIA's engineers have said on its forum
that the tags of four can be looked up at once, with which the first rung, which waits for nothing else, would come out
some four times as fast as was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gpunn._device import Device
from gpunn.bench.cards import CARDS
from gpunn.bench.ladder import PUBLISHED
from gpunn.bench.predict import Access, Prediction, Work, access_of, predict
from gpunn.gpu.gemm import SOURCE, count_tiles
from gpunn.gpu.launcher import ceil_div

CARD = CARDS["A6000"]
SIDE = 4092
BASE_GHZ = 1.41
FACTOR = 1.5
GFLOPS = {
    "published_naive": 309.0,
    "published_coalesced": 1987.0,
    "published_tiled": 2980.0,
    "published_column": 8475.0,
    "published_square": 15972.0,
    "published_vectors": 18237.0,
    "published_warps": 21779.0,
    "published_staged": 23250.0,  # the library's
}
SHIPPED = "gemm_nn"
_COUNTED = (256, 256, 64)  # M, N, K: as many blocks as are counted, and rows that begin in lines of their own


class Compared(NamedTuple):
    """One rung: GFLOP/s that were published, None where none were, and predicted at the base and the boost clock."""

    kernel: str
    published: float | None
    base: Prediction
    boost: Prediction

    @property
    def predicted(self) -> float:
        """GFLOP/s at the base clock."""
        return _gflops(self.base)

    @property
    def most(self) -> float:
        """GFLOP/s at the boost clock."""
        return _gflops(self.boost)

    @property
    def ratio(self) -> float | None:
        """Predicted divided by published."""
        return None if self.published is None else self.predicted / self.published


def _gflops(prediction: Prediction) -> float:
    return 2.0 * SIDE**3 / prediction.us / 1e3


def count_accesses() -> dict[str, Access]:
    """What the emulator counts of each rung, and of the shipped product.

    Raises
    ------
    DeviceError
        If the emulator cannot be used here; the message says why.
    """
    from gpunn.emulator import counting
    from gpunn.gpu.emulated import EmulatorLoader

    m, n, k = _COUNTED
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
    emulator, found = Device("emulator", np, EmulatorLoader(counting=True)), {}
    for rung in PUBLISHED.rungs:
        with counting(blocks=2) as counts:
            PUBLISHED.launch(emulator, rung, a, b)
        ((kernel, count),) = counts.kernels.items()
        found[kernel] = access_of(count)
    return found


def compare(accesses: Mapping[str, Access]) -> list[Compared]:
    """Each rung predicted, in the table's order; the shipped product last.

    Parameters
    ----------
    accesses : mapping of str to Access
        By kernel, as of ``count_accesses``.

    Raises
    ------
    MachineCodeError
        If machine code is not in the table, and cannot be made or read here.
    """
    made = []
    for kernel, work in works().items():
        access = accesses[kernel]
        both = [predict(work, CARD, access, ghz) for ghz in (BASE_GHZ, CARD.ghz)]
        base, boost = (one for one in both if one is not None)
        made.append(Compared(kernel, GFLOPS.get(kernel), base, boost))
    return made


def works() -> dict[str, Work]:
    """The launches by kernel: each rung's, and the shipped product's."""
    flop, traffic = 2.0 * SIDE**3, 3.0 * 4 * SIDE**2
    found = {}
    for rung in PUBLISHED.rungs:
        if rung.kernel == SHIPPED:
            macros = {"REAL": "float", "TILE": "128", "VEC": "4"}
            blocks, threads, file = count_tiles(SIDE, SIDE, 128), 256, SOURCE.file
        else:
            macros, file = {"REAL": "float"}, "ladder/published.cu"
            blocks, threads = ceil_div(SIDE, rung.tile) ** 2, rung.threads
        found[rung.kernel] = Work(rung.kernel, file, macros, blocks, threads, 0, flop, traffic)
    return found
