"""Which of several ways to compute the same a launch takes: its rule's, or the fastest that was measured on this card.

A rule goes by shapes alone, so every card computes the same bits. ``gpunn tune`` times the other ways too, and keeps
the fastest in a file of this card's (:func:`path_of`); from then on it is taken. Ways differ in speed, and where they
cut a sum into other slices, in its last bits. So two machines, of which one was tuned, may differ by rounding errors.
``GPUNN_TUNED=0`` leaves all choices to the rules.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from gpunn._capture_state import capturing
from gpunn._device import Device
from gpunn.gpu.launcher import KernelSource

Way = tuple[int, ...]  # what a kernel's launches call it, as (tile, slices); (4, megabytes) by Winograd's algorithm
Facts = tuple["int | str", ...]  # what the time depends on most: sizes, dtype, vectors
Key = tuple[str, Facts]  # of which kernel
_T = TypeVar("_T")

FORMAT = 1
VARIABLE = "GPUNN_TUNED"


class Entry(NamedTuple):
    """What was measured of one kernel with such arguments.

    Attributes
    ----------
    way : tuple of int
        The fastest.
    source : str
        The kernel's text, as a hash: what was measured of another text is forgotten.
    us, rule_us : float
        Microseconds of this way, and of the rule's.
    """

    way: Way
    source: str
    us: float
    rule_us: float


class Tuner(Protocol):
    """What tries all ways; see ``gpunn.bench.tune``."""

    def choose(
        self,
        device: Device,
        key: Key,
        source: KernelSource,
        rule: Way,
        others: Sequence[Way],
        run: Callable[[Way], Any],
    ) -> Way:
        """The way to take, of the rule's and the others."""
        ...

    def known(self, key: Key, rule: Way) -> Way:
        """The way to take of what was tried, else the rule's."""
        ...


class _Tuning(threading.local):
    """The tuner of this thread, if it is tuning."""

    tuner: Tuner | None = None


tuning = _Tuning()
_tables: dict[Device, dict[Key, Entry]] = {}


def best(
    device: Device,
    source: KernelSource,
    kernel: str,
    facts: Facts,
    rule: Way,
    others: Callable[[], Sequence[Way]],
    run: Callable[[Way], _T],
) -> _T:
    """``run(way)`` by the way that was measured to be the fastest, else the rule's.

    Parameters
    ----------
    device : Device
    source : KernelSource
    kernel : str
    facts : tuple
        What the time of a launch depends on most.
    rule : tuple of int
    others : callable
        Gives all ways that may be taken; with or without the rule's.
    run : callable
        Launches the kernel by the way that it is given. It may be called many times, and is only to allocate and
        launch: all calls together must leave what one leaves.
    """
    device = device.origin
    table = _tables.get(device)
    if table is None:
        table = table_of(device)
    tuner = tuning.tuner
    if tuner is not None:
        if capturing() is not None:
            return run(tuner.known((kernel, facts), rule))
        return run(tuner.choose(device, (kernel, facts), source, rule, others(), run))
    found = table.get((kernel, facts)) if table else None
    # Of a file that somebody has edited a way may be none.
    if found is None or found.source != source.digest or found.way not in others():
        return run(rule)
    return run(found.way)


@contextlib.contextmanager
def tuned_by(tuner: Tuner) -> Iterator[None]:
    """Within the block this thread's launches ask the tuner, and no plan is made or followed."""
    outer, tuning.tuner = tuning.tuner, tuner
    try:
        yield
    finally:
        tuning.tuner = outer


# -- what is kept ---------------------------------------------------------------------------------


def folder() -> Path:
    """Where the files are: ``GPUNN_TUNED``, else a folder in the user's cache."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "gpunn" / "tuned"


def path_of(device: Device) -> Path:
    """The file of a device's card: one for all cards of a name."""
    return folder() / f"{_card(device)}.json"


def _card(device: Device) -> str:
    if device.ordinal is None:
        return device.name
    name = device.xp.cuda.runtime.getDeviceProperties(device.ordinal).get("name", "")
    text = name.decode() if isinstance(name, bytes) else str(name)
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def table_of(device: Device) -> dict[Key, Entry]:
    """What is known of a device's card."""
    if device in _tables:
        return dict(_tables[device])
    if device.ordinal is None:  # of the CPU nothing is read, and a device that only lists launches would never be freed
        return {}
    return dict(_tables.setdefault(device, _load(device)))


def use(device: Device, table: dict[Key, Entry]) -> None:
    """Take the ways of this table from now on; plans that were made before go on as they are."""
    _tables[device] = dict(table)


def _load(device: Device) -> dict[Key, Entry]:
    if os.environ.get(VARIABLE) == "0" or not _card(device):
        return {}
    path = path_of(device)
    try:
        return read(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"{path} is not read ({error}): kernels are chosen by rule. Make it anew with gpunn tune, or remove it "
            "with gpunn tune --clear.",
            stacklevel=2,
        )
        return {}


def read(path: Path) -> dict[Key, Entry]:
    """A file's table.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError, KeyError, TypeError
        If it is no such file.
    """
    whole = json.loads(path.read_text(encoding="utf-8"))
    if whole["format"] != FORMAT:
        raise ValueError(f"it has format {whole['format']!r}; expected {FORMAT}")
    return {
        (row["kernel"], tuple(row["facts"])): Entry(
            tuple(map(int, row["way"])), str(row["source"]), float(row["us"]), float(row["rule_us"])
        )
        for row in whole["ways"]
    }


def write(path: Path, table: dict[Key, Entry]) -> None:
    """Keep a table, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    rows = [{"kernel": kernel, "facts": list(facts), **entry._asdict()} for (kernel, facts), entry in table.items()]
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.write_text(f'{{"format": {FORMAT}, "ways": [\n{lines}\n]}}\n', encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
