"""How long a launch takes at least, and what limits it: predicted from its machine code, with no GPU.

A launch's work is added up for each unit of an SM and for the memories, and divided by what they do in a cycle
(`gpunn.bench.rates`) or a second (`gpunn.bench.cards`). It takes at least as long as the slowest of

- issuing: four instructions of warps a cycle, whichever they are;
- the units for float32, integers, float64, multifunctions, conversions, shuffles, tensor cores;
- loads and stores: lanes a cycle, whatever they reach;
- L1 and shared memory, one array: a pass over the banks, or a line of 128 bytes, a cycle;
- L2 and DRAM;
- latency: one block after the other, as many at once as an SM holds. A block's time is the sum over its stretches
  between barriers, each as long as the slowest unit needs for the block's warps, or as one warp needs that waits for
  each result. With few warps, or where loads and products take turns, this is the longest.

Instructions are counted in the compiled code (`gpunn.bench.sass`). How often the main loop turns is what the launch's
multiplications need, which it knows from its arguments; where it has no product, what its arrays' bytes need, and at
least once where all loads are in the loop. Passes and lines are the fewest for such accesses unless the emulator has
counted: then passes are multiplied by what it saw as a share of the fewest, and sectors beyond the fewest count as
lines of their own.

Not modelled: what caches keep of other launches, banks of registers, the order in which a scheduler picks warps, the
time from launch to launch, a clock that falls under load. So this is a lower bound, and its worth is in comparing:
`gpunn.bench.published` holds it against measurements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gpunn.bench.cards import WARP, Card, occupancy
from gpunn.bench.machine_code import parts
from gpunn.bench.rates import L2_BYTES, LINE, SCHEDULERS, Rates, rates_of
from gpunn.bench.resources import resources_of
from gpunn.bench.sass import COLUMNS, Part
from gpunn.bench.work import bytes_of, flop_of
from gpunn.gpu.launcher import Launch

if TYPE_CHECKING:
    from gpunn.emulator import KernelCount
    from gpunn.emulator.counts import LineCount

LATENCY = "latency"
_SECTOR = 32  # bytes


class AnyLaunch(Protocol):
    """One launch."""

    @property
    def kernel(self) -> str:
        """The kernel's name."""

    @property
    def file(self) -> str:
        """Its file."""

    @property
    def macros(self) -> dict[str, str]:
        """The specialisation."""

    @property
    def threads(self) -> int:
        """Of a block."""

    @property
    def blocks(self) -> int:
        """Of the grid."""

    @property
    def shared(self) -> int:
        """Bytes of dynamic shared memory of a block."""

    @property
    def flop(self) -> float:
        """Multiplications and additions of its product, or 0."""

    @property
    def traffic(self) -> float:
        """Bytes of the arrays it is given."""


@dataclass(frozen=True)
class Work:
    """A launch by its numbers."""

    kernel: str
    file: str
    macros: dict[str, str]
    blocks: int
    threads: int
    shared: int
    flop: float
    traffic: float


def work_of(launch: Launch) -> Work:
    """A launch that was made, by its numbers."""
    (x, y, z), (a, b, c) = launch.grid, launch.block
    numbers = x * y * z, a * b * c, launch.shared, flop_of(launch), bytes_of(launch)
    return Work(launch.kernel, launch.file, launch.macros, *numbers)


@dataclass(frozen=True)
class Access:
    """How a launch's accesses differ from the best possible.

    Attributes
    ----------
    conflicts : float
        Passes over the banks of shared memory, as a multiple of the fewest.
    loads, stores : float
        Lines of 128 bytes that an access to global memory reaches, if it reads or if it writes, as a multiple of the
        fewest for its width.
    """

    conflicts: float = 1.0
    loads: float = 1.0
    stores: float = 1.0


def access_of(counts: KernelCount | None) -> Access:
    """What the emulator counted; the best possible where it did not."""
    if counts is None:
        return Access()
    shared = counts.shared_memory
    return Access(
        shared.asked / shared.least if shared.least else 1.0,
        _lines(one for one in counts.lines if one.kind == "global load"),
        _lines(one for one in counts.lines if one.kind in ("global store", "global atomic")),
    )


def _lines(counted: Iterable[LineCount]) -> float:
    """Lines as a multiple of the fewest: sectors beyond the fewest lie in lines of their own."""
    fewest = wasted = 0.0
    for one in counted:
        fewest += max(one.executions, one.least * _SECTOR / LINE)
        wasted += one.wasted
    return (fewest + wasted) / fewest if fewest else 1.0


@dataclass(frozen=True)
class Prediction:
    """The least time of a launch.

    Attributes
    ----------
    us : float
        Microseconds.
    limit : str
        What takes that long.
    units : dict of str to float
        Microseconds of each unit.
    roofline, copy : float
        The least time by the card's published numbers as a share of this one; that of its bytes at the bandwidth that
        a copy reaches.
    waves : float
        How often the grid fills the card; 0 where no block fits.
    instructions : float
        Of one warp.
    loads : str
        Where loads of global memory are taken to come from: "l1", "l2", "dram".
    """

    us: float
    limit: str
    units: dict[str, float]
    roofline: float
    copy: float
    waves: float
    instructions: float
    loads: str


def predict(launch: AnyLaunch, card: Card, access: Access | None = None, ghz: float | None = None) -> Prediction | None:
    """The least time of a launch on a card.

    Parameters
    ----------
    launch : AnyLaunch
        As ``LayerLaunch``.
    card : Card
    access : Access, optional
        What the emulator counted.
    ghz : float, optional
        The clock (default: the boost clock, by which the card's TFLOP/s are published).

    Returns
    -------
    Prediction or None
        None where the compile gate's table does not know the kernel's registers, or no block fits on an SM.

    Raises
    ------
    MachineCodeError
        If the machine code is not in the table and cannot be made or read here.
    """
    needs = resources_of(launch.file, launch.macros, launch.kernel, card.sm)
    if needs is None:
        return None
    held = occupancy(card.architecture, launch.threads, needs.registers, needs.shared + launch.shared).blocks
    if not held:
        return None
    made = parts(launch.file, launch.macros, launch.kernel, card.sm)
    return _predict(launch, card, made, held, access or Access(), card.ghz if ghz is None else ghz)


def _predict(launch: AnyLaunch, card: Card, made: Sequence[Part], held: int, access: Access, ghz: float) -> Prediction:
    rates = rates_of(card.sm)
    warps = -(-launch.threads // WARP)
    once, loop = made[0], list(made[1:])
    trips = turns(launch, once, loop, launch.blocks * warps)
    of_a_warp = _sum([(once, 1.0), *((part, trips) for part in loop)])
    asked = of_a_warp["bytes"] * launch.blocks * warps
    level = "dram" if 2 * launch.traffic >= asked else "l2" if any(part.passes for part in loop) else "l1"
    on_an_sm = -(-launch.blocks // card.sms)  # the busiest one's blocks
    cycles = {name: on_an_sm * warps * one for name, one in _units(of_a_warp, rates, access, card, ghz).items()}
    block = max(getattr(once, level), warps * _slowest(_numbers(once), rates, access, card, ghz))
    for part in loop:
        busy = warps * _slowest(_numbers(part), rates, access, card, ghz)
        block += trips * max(getattr(part, level), busy)
    cycles[LATENCY] = -(-on_an_sm // held) * block
    us = {name: value / ghz / 1e3 for name, value in cycles.items()}
    through_l2 = launch.traffic if level == "l1" else max(asked, launch.traffic)
    us["L2"] = through_l2 / (L2_BYTES * card.sms * ghz) / 1e3
    copied = launch.traffic / (card.gbs * card.copy) / 1e3
    us["DRAM"] = copied
    # Of two that take equally long the one that is listed first: latency last, which is made of the others.
    limit = max((name for name in us if name != LATENCY), key=lambda name: us[name])
    if us[LATENCY] > us[limit] * (1 + 1e-9):
        limit = LATENCY
    least = us[limit]
    return Prediction(
        least,
        limit,
        us,
        card.least_us(launch.flop, launch.traffic) / least if launch.flop or launch.traffic else 0.0,
        copied / least,
        launch.blocks / (held * card.sms),
        of_a_warp["instructions"],
        level,
    )


def turns(launch: AnyLaunch, once: Part, loop: Sequence[Part], warps: int) -> float:
    """How often a warp's main loop turns, on average: as its launch's products, or its bytes, need."""
    multiplied, moved = (sum(getattr(part, name) for part in loop) for name in ("multiplied", "bytes"))
    if launch.flop and multiplied:
        products = launch.flop / 2 * (3 if launch.macros.get("MODE") == "TF32X3" else 1)  # mma_tile.cuh
        return max(0.0, products / warps - once.multiplied) / multiplied
    # A warp that reads at all turns at least once where all its loads are in the loop, also of what others have read.
    reads = not once.accesses > once.stores and any(part.accesses > part.stores for part in loop)
    return max(float(reads), (launch.traffic / warps - once.bytes) / moved) if moved else 1.0


Numbers = dict[str, float]


def _numbers(part: Part) -> Numbers:
    return {name: float(getattr(part, name)) for name in COLUMNS[1:]}


def _sum(weighted: Sequence[tuple[Part, float]]) -> Numbers:
    return {name: sum(times * getattr(part, name) for part, times in weighted) for name in COLUMNS[1:]}


def _units(of: Numbers, rates: Rates, access: Access, card: Card, ghz: float) -> Numbers:
    """Cycles of an SM's units for what one warp runs."""
    fewest = max(of["accesses"], of["bytes"] / LINE)
    written = of["stores"] / of["accesses"] if of["accesses"] else 0.0
    lines = fewest * ((1 - written) * access.loads + written * access.stores)
    tensor = card.mma * 1e3 / (2 * card.sms * ghz)  # multiply-adds a cycle, of bf16
    return {
        "issue": of["instructions"] / SCHEDULERS,
        "FMA": WARP * of["fma"] / rates.fma,
        "integer": WARP * max(of["imad"] / rates.imad, of["alu"] / rates.alu),
        "float64": WARP * of["double"] / rates.double,
        "multifunction": WARP * max(of["mufu"] / rates.mufu, of["convert"] / rates.convert),
        "shuffle": WARP * of["shuffle"] / rates.shuffle,
        "tensor": of["tensor"] / tensor if tensor else 0.0,
        "load/store": WARP * of["lsu"] / rates.lsu,
        "L1/shared": (of["passes"] * access.conflicts + lines) * LINE / rates.shared,
    }


def _slowest(of: Numbers, rates: Rates, access: Access, card: Card, ghz: float) -> float:
    return max(_units(of, rates, access, card, ghz).values())
