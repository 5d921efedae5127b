"""What launches inside ``counting()`` did, by kernel and line (how it is counted: ``counts.cpp``)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gpunn.emulator.findings import Index, many_source_places
from gpunn.errors import UsageError

KINDS = (
    "global load", "global store", "global atomic", "shared load", "shared store", "shared atomic",
    "branch", "barrier", "collective",
)  # fmt: skip
_HELPERS = frozenset({"common.cuh", "shared_place.cuh"})  # load() and store(): the line that calls them says more

_counts: Counts | None = None


class Row(ctypes.Structure):
    """``gpunn_emulator_count``."""

    _fields_ = [
        ("offset", ctypes.c_uint64),
        ("file", ctypes.c_char_p),
        ("array", ctypes.c_char_p),
        ("line", ctypes.c_int32),
        ("kind", ctypes.c_uint32),
        ("executions", ctypes.c_uint64),
        ("lanes", ctypes.c_uint64),
        ("asked", ctypes.c_uint64),
        ("least", ctypes.c_uint64),
    ]


@dataclass
class LineCount:
    """What one line of a kernel did of one kind.

    Attributes
    ----------
    file, line : str, int or None
        The place in the source; the line is None where addr2line (binutils) is missing.
    kind : str
        "global load", "global store", "global atomic", "shared load", "shared store", "shared atomic", "branch",
        "barrier" or "collective".
    array : str
        The argument whose memory a global access reaches, by its name; else "".
    executions : int
        How many times a warp did it, counting each instruction of the line.
    lanes : int
        The lanes that took part, in all executions together: at most 32 times as many.
    asked, least : int
        Global memory: the 32-byte sectors that the lanes' addresses lie in, and the fewest that as many bytes fit in.
        Shared memory: the passes over its banks, and the fewest. A branch: the executions that diverged, and 0.
    """

    file: str
    line: int | None
    kind: str
    array: str = ""
    executions: int = 0
    lanes: int = 0
    asked: int = 0
    least: int = 0

    @property
    def wasted(self) -> int:
        """Sectors or passes beyond the fewest; of a branch, the executions that diverged."""
        return self.asked - self.least

    def add(self, other: Row) -> None:
        """Count another instruction of the line."""
        for name in ("executions", "lanes", "asked", "least"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class KernelCount:
    """What one kernel did.

    Attributes
    ----------
    kernel, file : str
    launches : int
    blocks, counted_blocks : int
        Of all its launches, and how many of those ran (`counting` may choose some).
    lines : list of LineCount
        In no order that means anything.
    """

    kernel: str
    file: str
    launches: int = 0
    blocks: int = 0
    counted_blocks: int = 0
    lines: list[LineCount] = field(default_factory=list)

    def _total(self, start: str) -> LineCount:
        total = LineCount(self.file, None, start)
        for line in self.lines:
            if line.kind.startswith(start):
                for name in ("executions", "lanes", "asked", "least"):
                    setattr(total, name, getattr(total, name) + getattr(line, name))
        return total

    @property
    def global_memory(self) -> LineCount:
        """All accesses to global memory; asked and least are 32-byte sectors."""
        return self._total("global")

    @property
    def shared_memory(self) -> LineCount:
        """All accesses to shared memory; asked and least are passes over the banks."""
        return self._total("shared")

    @property
    def branches(self) -> LineCount:
        """All branches that went more than one way; asked are the executions that diverged."""
        return self._total("branch")

    @property
    def sector_efficiency(self) -> float | None:
        """The fewest sectors as a share of those asked for, from 0 to 1; None without accesses to global memory."""
        total = self.global_memory
        return total.least / total.asked if total.asked else None

    @property
    def bank_conflicts(self) -> int:
        """Passes over shared memory's banks beyond the fewest."""
        return self.shared_memory.wasted

    def worst(self, number: int = 5) -> list[LineCount]:
        """The lines that waste most: sectors and passes beyond the fewest, branches that diverge."""
        costly = [line for line in self.lines if line.wasted]
        return sorted(costly, key=lambda line: (-line.wasted, line.file, line.line or 0, line.kind))[:number]


@dataclass
class Counts:
    """What all launches inside a ``counting()`` block did.

    Attributes
    ----------
    most_blocks : int or None
        How many blocks of a launch run; None for all.
    kernels : dict of str to KernelCount
        By the kernel's name.
    """

    most_blocks: int | None = None
    kernels: dict[str, KernelCount] = field(default_factory=dict)
    _places: dict[str, dict[int, list[tuple[str, int]]]] = field(default_factory=dict, repr=False)  # by library

    def chosen(self, grid: Index) -> list[int] | None:
        """The blocks of a grid that run, by linear number; None for all of them."""
        blocks = grid[0] * grid[1] * grid[2]
        if self.most_blocks is None or blocks <= self.most_blocks:
            return None
        if self.most_blocks == 1:
            return [0]
        # The first, the last, and others as far apart.
        return sorted({i * (blocks - 1) // (self.most_blocks - 1) for i in range(self.most_blocks)})

    def add(self, kernel: str, label: str, library: str, grid: Index, blocks: int, rows: Iterable[Row]) -> None:
        """Take in what one launch counted."""
        rows = list(rows)
        found = self.kernels.setdefault(kernel, KernelCount(kernel, label))
        found.launches += 1
        found.blocks += grid[0] * grid[1] * grid[2]
        found.counted_blocks += blocks
        known = {(line.file, line.line, line.kind, line.array): line for line in found.lines}
        places = self._places.setdefault(library, {})
        missing = [row.offset for row in rows if row.offset and row.offset not in places]
        if missing:
            places.update(many_source_places(library, missing))
        for row in rows:
            if row.offset:
                file, number = _place(places.get(row.offset, []), label)
            else:
                file, number = row.file.decode().rpartition("/")[2], row.line
            kind = KINDS[row.kind]
            array = row.array.decode() if row.array and kind.startswith("global") else ""
            key = file, number, kind, array
            if key not in known:
                known[key] = LineCount(file, number, kind, array)
                found.lines.append(known[key])
            known[key].add(row)


def _place(places: list[tuple[str, int]], label: str) -> tuple[str, int | None]:
    """The innermost line that is not in a header of helpers."""
    told = [place for place in places if place[0] not in _HELPERS] or places
    return told[0] if told else (label, None)


@contextmanager
def counting(blocks: int | None = None) -> Iterator[Counts]:
    """Count what launches on the emulator do inside the ``with`` block; gives the counts, which grow as they run.

    Counted are the instructions of warps, of launches by any thread: the 32-byte sectors that accesses to global memory
    ask for and the fewest possible, the passes over the banks of shared memory and the fewest possible, branches and
    how many diverge, barriers and collectives; all of them by kernel and line. Kernels are compiled once more for this,
    and run some twenty times slower. Without this block nothing is counted, and nothing slower.

    Parameters
    ----------
    blocks : int, optional
        Run at most so many blocks of each launch, spread over the grid, for launches that would take long. What the
        others would write stays as it was, so results are wrong; counts are those of the blocks that ran. Whole numbers
        that a kernel changes, such as tickets, are put back.

    Notes
    -----
    Fibers run one lane at a time, so what lanes do together is put together afterwards: of the places that the lanes
    of a warp have come to, the first goes next, with all lanes that are there, by the order in which basic blocks
    lead to each other. Lanes that took different ways meet where the ways meet; a lane that has left a loop waits
    for the others.

    A pass over shared memory gives each of 32 banks of 4 bytes one word, to all lanes that want that word. Accesses of
    8 bytes a lane are made by 16 lanes at a time, of 16 bytes by 8. The fewest sectors are those that as many different
    bytes would fill; the fewest passes, one for each group of lanes that has any.

    The accesses are those that g++ makes of the source: a GPU's compiler may keep more in registers, or make one access
    of several. Branches are those that went more than one way; a GPU may run a short one as predicated instructions,
    which cost both sides without diverging. Caches are not modelled: a sector that is asked for again counts again.
    Lanes that change one word atomically count as one access, though a GPU makes the changes one by one.

    Raises
    ------
    UsageError
        If ``blocks`` is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.emulator import Argument, compile_module, counting
    >>> text = 'extern "C" __global__ void copy(float* y, const float* x) { y[threadIdx.x] = x[2 * threadIdx.x]; }'
    >>> module = compile_module(text, "copy.cu", {})
    >>> arguments = [Argument(np.zeros(32, np.float32), "out", "y"), Argument(np.ones(64, np.float32), "in", "x")]
    >>> with counting() as counts:
    ...     module.launch("copy", (1, 1, 1), (32, 1, 1), arguments)
    >>> [(line.kind, line.asked, line.least) for line in counts.kernels["copy"].lines]  # doctest: +SKIP
    [('global load', 8, 4), ('global store', 4, 4)]
    """
    global _counts
    if blocks is not None and blocks < 1:
        raise UsageError(f"counting(): expected at least 1 block of each launch; got blocks={blocks}.")
    before, _counts = _counts, Counts(blocks)
    try:
        yield _counts
    finally:
        _counts = before


def current() -> Counts | None:
    """The counts of the innermost ``counting()`` block, None outside."""
    return _counts
