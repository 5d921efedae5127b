"""How much of each kind of work an SM does in a cycle, and how long memory takes to answer, by compute capability.

None of the numbers comes from a run of our kernels. They are what others have published, but the latencies, and in
``cards.py`` the shares of bandwidth, were written down without the papers at hand: check them before relying on them.

Sources. Results a cycle of floating-point, integer, multifunction units, conversions, shuffles: CUDA C++ Programming
Guide, "Arithmetic Instructions", table of throughputs by compute capability. Four schedulers, each of which issues one
instruction a cycle: the same guide's sections on compute capabilities 7.x to 9.0. Lanes of loads and stores a cycle:
the load/store units in the pictures of an SM in the white papers of Turing, GA100, GA102, Ada, GH100 (16 or 32); Luo et
al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture" (2024), measure the half on Ada: 4-byte loads
from L1 reach half of what 16-byte ones do. Shared memory: 32 banks of 4 bytes (the guide); 64 bytes a cycle on Turing
and 128 on GA102: white paper "NVIDIA Ampere GA102 GPU Architecture". L1: a warp's access is split into one request for
each line of 128 bytes, which are served one by one (the guide, "Global Memory"); the same bytes a cycle as shared
memory, which is the same array. L2: 64 bytes a cycle for each SM (white paper "NVIDIA A100 Tensor Core GPU
Architecture"). Latencies: Jia et al., "Dissecting the NVidia Turing T4 GPU via Microbenchmarking" (2019); Luo et al.
for A100, RTX 4090, H100. GA102 has those of Ada here, Blackwell those of the generation before: nobody's figures are at
hand.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULERS = 4  # of an SM; each issues an instruction of one warp a cycle
LINE = 128  # bytes
L2_BYTES = 64  # a cycle, of one SM


@dataclass(frozen=True)
class Rates:
    """What an SM does in a cycle.

    Attributes
    ----------
    fma, imad, alu, double : int
        Lanes that add or multiply float32, multiply integers, do other integer arithmetic, work on float64.
    lsu : int
        Lanes that load or store.
    mufu, convert, shuffle : int
        Lanes of multifunction units, conversions, exchanges within a warp.
    shared : int
        Bytes of shared memory or L1.
    latencies : dict of str to int
        Cycles of a load from "shared", "l1", "l2", "dram".
    """

    fma: int
    imad: int
    alu: int
    double: int
    lsu: int
    shared: int
    latencies: dict[str, int]
    mufu: int = 16
    convert: int = 64
    shuffle: int = 32


_TURING = {"shared": 19, "l1": 32, "l2": 188, "dram": 296}
_AMPERE = {"shared": 29, "l1": 38, "l2": 261, "dram": 466}
_ADA = {"shared": 30, "l1": 43, "l2": 273, "dram": 541}
_HOPPER = {"shared": 29, "l1": 41, "l2": 263, "dram": 479}
_RATES = {
    75: Rates(64, 64, 64, 2, 16, 64, _TURING),
    80: Rates(64, 64, 64, 32, 32, 128, _AMPERE, convert=16),
    86: Rates(128, 64, 64, 2, 16, 128, _ADA),
    89: Rates(128, 64, 64, 2, 16, 128, _ADA),
    90: Rates(128, 64, 64, 64, 32, 128, _HOPPER),
    100: Rates(128, 64, 64, 64, 32, 128, _HOPPER),
    120: Rates(128, 128, 128, 2, 16, 128, _ADA),  # integers at the full rate: white paper "RTX Blackwell"
}


def rates_of(arch: int) -> Rates:
    """Those of ``sm_<arch>``."""
    return _RATES[arch]
