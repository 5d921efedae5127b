"""Training steps of several ranks, ``gpunn bench --ranks 1,2,4``: their start, their figures, and a model of cards.

All sizes take turns in one run (``scaling_worker``): mpiexec starts as many processes as the largest one has, and the
first n of them train while the others sleep.

Strong scaling divides the case's batch over the ranks, weak scaling gives each rank the whole batch. One rank does
without any communication. Of every other size three ways are timed:

- *overlapped*: buckets of gradients are summed while the backward pass is still at work, as ``gpunn train`` does;
- *after*: the same buckets, all begun behind the backward pass;
- *alone*: no communication, so that ranks grow apart. What it takes longer than its share of one rank's time is what
  ranks on one machine take from each other, and what does not shrink with a batch, such as the update.

The share of communication that overlapping hides is (after - overlapped) / (after - alone).
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpunn._device import Device
from gpunn._launch import launched
from gpunn.bench.case import Case
from gpunn.bench.machine import describe
from gpunn.errors import DataError, DeviceError, DistributedError, UsageError, shortened

STRONG, WEAK = "strong", "weak"
OVERLAPPED, AFTER, ALONE = "overlapped", "after", "alone"
LINK = (
    50.0  # GB/s from card to card, for the model: about one direction of a card's link within a machine, or 400 Gbit/s
)
LATENCY = 20e-6  # seconds that a bucket's sum takes however small it is, for the model
ON_PAPER = (2, 4, 8, 16)
_LAST_WORDS = 5  # lines of what a start that failed has said


@dataclass(frozen=True)
class Settings:
    """What the ranks measure.

    Attributes
    ----------
    cases : tuple of str
        Ids of training steps.
    ranks : tuple of int
        Sizes in ascending order; the first is 1.
    size, dtype, device : str
        See ``cases.all_cases``; the device's name.
    threads : int
        Of each rank.
    seconds : float
        For each side of a case.
    least, most : int
        Rounds.
    least_ms : float
        A shorter sample repeats the step.
    """

    cases: tuple[str, ...]
    ranks: tuple[int, ...]
    size: str
    dtype: str
    device: str
    threads: int
    seconds: float = 3.0
    least: int = 9
    most: int = 200
    least_ms: float = 20.0


# -- starting the ranks -----------------------------------------------------------------------------


def mpiexec() -> str:
    """The launcher: that beside this Python, or else the path's.

    Raises
    ------
    UsageError
        If it or mpi4py is missing, or has started this process itself.
    """
    started = launched()
    if started is not None:
        raise UsageError(f"--ranks: the command starts its ranks itself; run it without {started.launcher}.")
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = shutil.which("mpiexec", path=places)
    missing = [] if importlib.util.find_spec("mpi4py") is not None else ["mpi4py"]
    missing += [] if found is not None else ["mpiexec"]
    if found is None or missing:
        raise UsageError(
            f"--ranks: several processes need MPI; no {' and no '.join(missing)}: pip install mpi4py mpich."
        )
    return found


def results(settings: Settings, launcher: str) -> Iterator[dict[str, Any]]:
    """Start the ranks, and yield what they find of each case.

    Raises
    ------
    DistributedError
        If a rank fails, with what it says. A DeviceError or UsageError of a rank's stays one.
    """
    threads = str(settings.threads)
    env = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    # The ranks import what this process has imported, installed or not.
    root = str(Path(__file__).parents[2])
    env["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [env.get("PYTHONPATH")])])
    words = [launcher, "-n", str(settings.ranks[-1]), sys.executable, "-m", "gpunn.bench.scaling_worker"]
    process = subprocess.Popen(
        [*words, json.dumps(asdict(settings))], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        yield from _read(process.stdout, settings, process)
    finally:
        if process.poll() is None:
            process.terminate()  # mpiexec ends its ranks
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read(lines: Any, settings: Settings, process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    came, said = 0, []
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            said.append(line.strip())
        elif "failed" in found:
            kinds = {kind.__name__: kind for kind in (DataError, DeviceError, UsageError)}
            kind = kinds.get(found["kind"], DistributedError)
            raise kind(f"rank {found['rank']}: {found['failed']}")
        else:
            came += 1
            yield found
    status = process.wait()
    if status or came < len(settings.cases):
        words = " ".join(filter(None, said[-_LAST_WORDS:])) or "nothing"
        raise DistributedError(
            f"--ranks: the ranks ended with status {status} before they were done. The last that came from them: "
            f"{shortened(words, 300)}"
        )
    for text in filter(None, said):
        print(text, file=sys.stderr)


# -- what was found ---------------------------------------------------------------------------------


def key(ranks: int, scaling: str = STRONG, way: str = OVERLAPPED) -> str:
    """A side's name in records: ``1``, ``2 strong``, ``2 weak after``."""
    return "1" if ranks == 1 else f"{ranks} {scaling}" + (f" {way}" if way != OVERLAPPED else "")


def keys(ranks: Sequence[int]) -> list[tuple[int, str, str]]:
    """The sides of a case in the order of their turns: number of ranks, scaling, way."""
    made = [(1, STRONG, ALONE)]
    for n in ranks:
        if n > 1:
            made += [(n, scaling, way) for scaling in (STRONG, WEAK) for way in (OVERLAPPED, AFTER, ALONE)]
    return made


def moved(buckets: Sequence[int], ranks: int) -> float:
    """Bytes that each rank sends for these buckets in a ring, where each part goes round twice but for a hop."""
    return 2 * (ranks - 1) / ranks * sum(buckets)


@dataclass(frozen=True)
class Hidden:
    """How much of the communication happens behind the backward pass.

    Attributes
    ----------
    ms : float
        What communication takes behind a finished backward pass: after - alone.
    share : float or None
        Of that, what overlapping saves, from 0 to 1; None where ``ms`` is within the noise.
    sure : bool
        Whether what overlapping saves is more than the noise.
    """

    ms: float
    share: float | None
    sure: bool


def hidden(overlapped: Sequence[float], after: Sequence[float], alone: Sequence[float]) -> Hidden:
    """What overlapping saves, from samples of the same rounds.

    Differences are taken within rounds, whose samples other load on the machine affects alike. A difference is within
    the noise if the middle half of the rounds' differences has 0 in it.
    """
    costs = [a - b for a, b in zip(after, alone, strict=True)]
    saved = [a - b for a, b in zip(after, overlapped, strict=True)]
    low, ms, _ = _quartiles(costs)
    least, gain, most = _quartiles(saved)
    if low <= 0:
        return Hidden(ms, None, False)
    return Hidden(ms, min(1.0, max(0.0, gain / ms)), least > 0 or most < 0)


def _quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
    return low, median, high


def sides(found: dict[str, Any], ranks: Sequence[int], items: int) -> dict[str, dict[str, Any]]:
    """By side its times, as in other records, and how it compares with one rank.

    ``speedup`` is images per second over those of one rank, ``efficiency`` that by the number of ranks. ``ratio`` is
    the step's time over that of one rank.
    """
    made: dict[str, dict[str, Any]] = {}
    for n, scaling, way in keys(ranks):
        name = key(n, scaling, way)
        samples = found["samples"][name]
        low, ms, high = _quartiles(samples)
        images = items * (n if scaling == WEAK else 1)
        numbers: dict[str, Any] = {
            "ms": ms,
            "ms_quartiles": [low, high],
            "ms_least": min(samples),
            "samples": len(samples),
            "items_per_second": 1e3 * images / ms,
        }
        made[name] = numbers
        one = made["1"]
        numbers["ratio"] = ms / one["ms"]
        numbers["speedup"] = numbers["items_per_second"] / one["items_per_second"]
        numbers["efficiency"] = numbers["speedup"] / n
        if n > 1 and way == OVERLAPPED:
            numbers["bytes_moved"] = moved(found["buckets"], n)
            parts = [found["samples"][key(n, scaling, w)] for w in (OVERLAPPED, AFTER, ALONE)]
            numbers["hidden"] = asdict(hidden(*parts))
    return made


@dataclass(frozen=True)
class Paper:
    """What the model says of ``ranks`` cards; times in milliseconds, the least and the most.

    Attributes
    ----------
    ranks : int
    communication_ms : float
        Of all buckets.
    strong_ms, weak_ms : tuple of float
        A step.
    """

    ranks: int
    communication_ms: float
    strong_ms: tuple[float, float]
    weak_ms: tuple[float, float]


def on_paper(ms: float, buckets: Sequence[int], ranks: int, link: float = LINK, latency: float = LATENCY) -> Paper:
    """A step on so many cards that are as fast as the measured rank: a model.

    A bucket takes ``latency`` and its share of the ring at ``link`` GB/s. At most nothing of that is hidden. At least
    all buckets but the last are, as that one begins when the backward pass ends. Part of a batch is taken to need the
    same part of the time, which small parts do not reach.

    Parameters
    ----------
    ms : float
        The measured step of one rank.
    buckets : sequence of int
        Bytes of each, the last one last.
    ranks : int
    link : float
        GB/s in each direction.
    latency : float
        Seconds.
    """
    each = [1e3 * (latency + moved([size], ranks) / (link * 1e9)) for size in buckets]

    def step(computing: float) -> tuple[float, float]:
        return max(computing, sum(each[:-1])) + each[-1], computing + sum(each)

    return Paper(ranks, sum(each), step(ms / ranks), step(ms))


def record(case: Case, found: dict[str, Any], settings: Settings, device: Device, link: float = LINK) -> dict[str, Any]:
    """A case as a line of JSON: what ``records`` says, of several sizes.

    Beside what other records have: ``ranks``, ``backend``, ``buckets`` (bytes of gradients), ``link_gbs``,
    ``latency_us``, and ``paper``, which is the model's and not measured.
    """
    times = sides(found, settings.ranks, case.items)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "case": case.id,
        "name": case.name,
        "group": "scaling",
        "size": settings.size,
        "dtype": settings.dtype,
        "device": settings.device,
        "threads": settings.threads,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "ranks": list(settings.ranks),
        "items": case.items,
        "error": found["error"],
        "captured": found["captured"],
        "backend": found["backend"],
        "others_share_of_cpu": found["others_share_of_cpu"],
        "buckets": found["buckets"],
        "sides": times,
        "link_gbs": link,
        "latency_us": 1e6 * LATENCY,
        "paper": [asdict(on_paper(times["1"]["ms"], found["buckets"], n, link)) for n in ON_PAPER],
        **describe(device),
    }
