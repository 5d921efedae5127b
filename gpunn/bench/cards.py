"""GPUs by name: what they have, how many warps of a kernel fit on one, and how fast it could be at best.

Nothing here is measured: the numbers are NVIDIA's, and what follows from them are predictions.

Sources. Limits of an SM: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". How registers
and shared memory are handed out: the CUDA toolkit's ``cuda_occupancy.h``, which the occupancy calculator of Nsight
Compute is made of. SMs, FP32 TFLOP/s (without tensor cores) and GB/s: the data sheets of T4, A100 80 GB (SXM), H100 and
H200 (SXM); the white papers "GA102 GPU Architecture" (RTX 3090), "Ada GPU Architecture" (RTX 4090), "RTX Blackwell GPU
Architecture" (RTX 5090), "H100 Tensor Core GPU Architecture"; the "Blackwell Architecture Technical Brief" (HGX B200);
the data sheet "NVIDIA RTX A6000" (GA102). Tensor cores: the same documents, dense bf16 with sums in float32 (float16 on
Turing). From Hopper on only warp-group instructions reach what they state: ``mma.sync``, which our kernels use, was
measured at 62 to 63 % of it (Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture", 2024).
Blackwell's data-centre chip is taken to do as Hopper. What share of its bandwidth a copy reaches: 0.69 on a T4 (Jia et
al., "Dissecting the NVidia Turing T4 GPU via Microbenchmarking", 2019), 0.90 on an A100, 0.92 on an RTX 4090, 0.91 on
an H100 (Luo et al.); 4.3 of 4.8 TB/s on an H200, as this project's targets state. Others have that of the card most
like them: GDDR 0.92, HBM 0.90. These shares, and those of ``mma.sync``, are to be checked: see ``rates.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpunn.bench.rates import rates_of
from gpunn.errors import UsageError, nearest, quoted

WARP = 32
_REGISTERS = 65536  # of an SM, on all of these
_REGISTER_UNIT = 256  # registers are handed out to warps in units of this
_QUARTERS = 4  # of an SM, each with a quarter of the registers and of the warps


@dataclass(frozen=True)
class Architecture:
    """What an SM of one compute capability has.

    Attributes
    ----------
    sm : int
        Compute capability, major * 10 + minor.
    warps, blocks : int
        The most at one time.
    shared, shared_block : int
        Bytes of shared memory, and the most for one block.
    shared_unit, shared_reserved : int
        In which units it is handed out to blocks, and how much of a block's the system takes.
    """

    sm: int
    warps: int
    blocks: int
    shared: int
    shared_block: int
    shared_unit: int = 128
    shared_reserved: int = 1024

    @property
    def threads(self) -> int:
        """The most at one time."""
        return self.warps * WARP


_ARCHITECTURES = {
    a.sm: a
    for a in (
        Architecture(75, 32, 16, 64 << 10, 64 << 10, 256, 0),
        Architecture(80, 64, 32, 164 << 10, 163 << 10),
        Architecture(86, 48, 16, 100 << 10, 99 << 10),
        Architecture(89, 48, 24, 100 << 10, 99 << 10),
        Architecture(90, 64, 32, 228 << 10, 227 << 10),
        Architecture(100, 64, 32, 228 << 10, 227 << 10),
        Architecture(120, 48, 24, 100 << 10, 99 << 10),
    )
}


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes
    ----------
    name : str
    sm, sms : int
        Compute capability (major * 10 + minor); how many SMs.
    tflops, gbs : float
        10^12 float32 multiplications and additions a second, at the boost clock; 10^9 bytes a second of its memory.
    mma : float
        10^12 multiplications and additions a second of tensor cores, bf16 by ``mma.sync``.
    copy : float
        The share of its memory's bandwidth that a large copy reaches.
    """

    name: str
    sm: int
    sms: int
    tflops: float
    gbs: float
    mma: float
    copy: float

    @property
    def ghz(self) -> float:
        """The boost clock, as the TFLOP/s say it."""
        return self.tflops * 1e3 / (2 * self.sms * rates_of(self.sm).fma)

    @property
    def architecture(self) -> Architecture:
        """What each SM has."""
        return _ARCHITECTURES[self.sm]

    def least_us(self, flop: float, traffic: float) -> float:
        """The microseconds that so much work and so many bytes take at least: the roofline's prediction."""
        return max(flop / self.tflops / 1e6, traffic / self.gbs / 1e3)

    @property
    def ridge(self) -> float:
        """FLOP for each byte above which arithmetic is the limit, not memory."""
        return 1e3 * self.tflops / self.gbs


CARDS = {
    card.name: card
    for card in (
        Card("T4", 75, 40, 8.1, 320, 65, 0.69),
        Card("A100", 80, 108, 19.5, 2039, 312, 0.90),
        Card("RTX3090", 86, 82, 35.6, 936, 71, 0.92),
        Card("A6000", 86, 84, 38.7, 768, 154.8, 0.92),
        Card("RTX4090", 89, 128, 82.6, 1008, 165.2, 0.92),
        Card("H100", 90, 132, 67, 3350, 620, 0.91),
        Card("H200", 90, 132, 67, 4800, 620, 0.896),
        Card("B200", 100, 148, 80, 8000, 1400, 0.90),
        Card("RTX5090", 120, 170, 104.8, 1792, 209.5, 0.92),
    )
}


def card(name: str) -> Card:
    """The card of this name; case, spaces and hyphens make no difference.

    Raises
    ------
    UsageError
        If it is unknown; the message lists those that are known.
    """
    plain = {_plain(known): found for known, found in CARDS.items()}
    found = plain.get(_plain(name))
    if found is None:
        raise UsageError(f"unknown card {quoted(name)}: expected one of {', '.join(CARDS)}{nearest(name, CARDS)}")
    return found


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("-", "").replace("_", "")


@dataclass(frozen=True)
class Occupancy:
    """How many blocks of a launch an SM holds at one time.

    Attributes
    ----------
    blocks, warps : int
        0 where not even one block fits.
    share : float
        The warps as a share of the most that an SM holds, from 0 to 1.
    limit : str
        What keeps out another block: "registers", "shared memory", "warps", "blocks".
    """

    blocks: int
    warps: int
    share: float
    limit: str


def occupancy(architecture: Architecture, threads: int, registers: int, shared: int) -> Occupancy:
    """The occupancy of an SM by a kernel.

    Parameters
    ----------
    architecture : Architecture
    threads : int
        Of a block.
    registers : int
        Of a thread.
    shared : int
        Bytes of shared memory of a block, static and dynamic.
    """
    warps = -(-threads // WARP)
    of_a_warp = -(-registers * WARP // _REGISTER_UNIT) * _REGISTER_UNIT
    in_a_quarter = _REGISTERS // _QUARTERS // of_a_warp if registers else architecture.warps
    of_a_block = -(-(shared + architecture.shared_reserved) // architecture.shared_unit) * architecture.shared_unit
    limits = {
        "blocks": architecture.blocks,
        "warps": architecture.warps // warps,
        "registers": in_a_quarter * _QUARTERS // warps,
        "shared memory": architecture.shared // of_a_block if of_a_block else architecture.blocks,
    }
    if shared > architecture.shared_block:
        limits["shared memory"] = 0
    limit = min(limits, key=lambda name: limits[name])
    blocks = limits[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / architecture.warps, limit)
