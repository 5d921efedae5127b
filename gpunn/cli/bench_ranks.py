"""``gpunn bench --ranks 1,2,4``: training steps of several processes beside one, side by side in one run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpunn.errors import UsageError, shortened

if TYPE_CHECKING:
    from gpunn._device import Device
    from gpunn.bench.case import Case

_MOST_SIZES, _MOST_RANKS = 8, 256
# Options of the other benchmarks, with the value that each has when it is not given.
_OTHERS: dict[str, Any] = {"against": "", "memory": False, "list": False}


def ranks(args: argparse.Namespace, cases: str) -> int:
    """Print a table as it grows; ``cases`` is what --cases is when it is not given."""
    for name, value in _OTHERS.items():
        if getattr(args, name) != value:
            raise UsageError(f"--{name}: it is for benchmarks without --ranks; leave one of the two out.")
    sizes = _sizes(args.ranks)
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out: expected a file; {args.out} is a folder.")
    if args.quick and args.out is not None:
        raise UsageError("--out: the results of --quick are not worth keeping; leave one of the two out.")
    from gpunn._device import device as get_device
    from gpunn.bench import scaling
    from gpunn.bench.machine import DISTURBED
    from gpunn.bench.records import append

    launcher = scaling.mpiexec()
    device = get_device(args.device)
    size = args.size or ("full" if device.ordinal is not None else "tiny" if device.name == "emulator" else "cpu")
    chosen = _steps("steps" if args.cases == cases else args.cases, size, args.dtype, sizes[-1])
    cores = _cores()
    threads = args.threads or max(1, cores // sizes[-1])
    samples: dict[str, Any] = {"least": 3, "most": 3, "least_ms": 0.0} if args.quick else {}
    link = args.link or scaling.LINK
    # "cuda" is each rank's own GPU, and "cuda:0" one that they would share.
    where = args.device if args.device != "auto" else device.name
    settings = scaling.Settings(
        tuple(case.id for case in chosen), sizes, size, args.dtype, where, threads, args.seconds, **samples
    )
    for text in _about(settings, device, cores, link):
        print(text)
    disturbed = done = 0
    for case, found in zip(chosen, scaling.results(settings, launcher), strict=False):
        record = scaling.record(case, found, settings, device, link)
        for text in table(record):
            print(text)
        busy = (found["others_share_of_cpu"] or 0.0) > DISTURBED
        disturbed += busy
        done += 1
        if busy:
            print(f"  other processes took {found['others_share_of_cpu']:.0%} of the machine: do not trust this")
        elif args.out is not None:
            append(args.out, [record])
    if args.out is not None:
        left = f"; {disturbed} not kept: run them again when nothing else does" if disturbed else ""
        print(f"{done - disturbed} of {done} results appended to {args.out}{left}")
    return int(bool(disturbed and args.out is not None))


# -- what is asked for ------------------------------------------------------------------------------


def _sizes(text: str) -> tuple[int, ...]:
    """The numbers of ranks in ascending order; 1 is always one of them."""
    words = [word.strip() for word in text.split(",")]
    good = 0 < len(words) <= _MOST_SIZES and all(word.isdecimal() and len(word) < 6 for word in words)
    found = sorted({1, *map(int, words)}) if good else []
    if not good or found[0] < 1 or not 1 < found[-1] <= _MOST_RANKS:
        raise UsageError(
            f"--ranks: expected up to {_MOST_SIZES} numbers of processes from 1 to {_MOST_RANKS} with commas, one of "
            f"them above 1, such as 1,2,4; got {shortened(text, 60)!r}."
        )
    return tuple(found)


def _steps(names: str, size: str, dtype: str, ranks: int) -> list[Case]:
    """The training steps among the cases of these names.

    Raises
    ------
    UsageError
        If there is none, or its batch has fewer images than there are ranks.
    """
    from gpunn.bench.cases import all_cases, select

    words = [word.strip() for word in names.split(",") if word.strip()]
    cases = all_cases(size, dtype)
    chosen = [case for case in (cases if "all" in words else select(words, cases)) if case.network is not None]
    if not chosen:
        raise UsageError(f"--cases: --ranks is for training steps; none is called {shortened(names, 60)!r}. Try steps.")
    small = next((case for case in chosen if case.items < ranks), None)
    if small is not None:
        raise UsageError(f"--ranks: the batch of {small.id} has {small.items} images, too few for {ranks} ranks.")
    return chosen


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- what is said -----------------------------------------------------------------------------------


def _about(settings: Any, device: Device, cores: int, link: float) -> list[str]:
    from gpunn.bench import scaling

    sizes, threads = settings.ranks, settings.threads
    each = f"{threads} thread{'s' * (threads > 1)} a rank"
    said = [
        f"{settings.device}, {settings.dtype}, {each} on {cores} core{'s' * (cores > 1)}; "
        f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]} ranks in turns"
    ]
    crowded = [n for n in sizes if n * threads > cores]
    if crowded and device.ordinal is None:
        said.append(f"From {crowded[0]} ranks on there are more threads than cores: that is no scaling of machines.")
    if device.name == "emulator":
        said.append("The emulator checks kernels; its times say nothing about a GPU.")
    if device.ordinal is not None and device.xp.cuda.runtime.getDeviceCount() < sizes[-1]:
        said.append("Ranks share GPUs here: that is no scaling of cards, and their arrays travel over the host.")
    said.append(
        f"On paper: cards as fast as one rank here, {link:g} GB/s from each to the next, {1e6 * scaling.LATENCY:g} µs "
        "a bucket. That is a model: none of it was measured."
    )
    return said


def table(record: dict[str, Any]) -> list[str]:
    """The lines of a case."""
    sides, items, buckets = record["sides"], record["items"], record["buckets"]
    said = [
        f"{record['case']}  ({record['name']}; error {record['error']:.0e}{'; captured' * record['captured']}; "
        f"gradients {sum(buckets) / 1e6:.2f} MB in {_buckets(buckets)}; {record['backend']})",
        f"  {'ranks':14}{'batch':>11}{'ms':>14}{'images/s':>16}{'speed-up':>10}{'efficiency':>12}{'MB sent':>10}"
        f"{'alone ms':>11}{'after ms':>11}{'hidden':>14}",
        _row("1", f"{items:,}", sides["1"]),
    ]
    for scaling in ("strong", "weak"):
        for n in record["ranks"][1:]:
            name = f"{n} {scaling}"
            rows = f"{items:,} × {n}" if scaling == "weak" else f"{items:,} / {n}"
            said.append(_row(name, rows, sides[name], sides[f"{name} alone"], sides[f"{name} after"]))
    for paper in record["paper"]:
        n, one = paper["ranks"], sides["1"]["ms"]
        said.append(
            f"  on paper {n:3}: strong {_range(paper['strong_ms'])} ms, speed-up "
            f"{_range([one / ms for ms in reversed(paper['strong_ms'])])}; weak {_range(paper['weak_ms'])} ms, "
            f"efficiency {_range([100 * one / ms for ms in reversed(paper['weak_ms'])], 1)} %"
        )
    return said


def _row(name: str, batch: str, numbers: dict[str, Any], alone: dict[str, Any] | None = None, after: Any = None) -> str:
    low, high = numbers["ms_quartiles"]
    text = f"  {name:14}{batch:>11}{numbers['ms']:11.3f} ±{(high - low) / 2 / numbers['ms']:4.0%}".ljust(43)
    text += f"{numbers['items_per_second']:12,.0f}"
    text += f"{numbers['speedup']:10.2f}{numbers['efficiency']:12.0%}"
    if alone is not None:
        text += f"{numbers['bytes_moved'] / 1e6:10.2f}{alone['ms']:11.3f}{after['ms']:11.3f}{_hidden(numbers):>14}"
    return text


def _hidden(numbers: dict[str, Any]) -> str:
    found = numbers["hidden"]
    if found["share"] is None:
        return "in the noise"
    return f"{'' if found['sure'] else '~'}{found['share']:.0%}"


def _range(ends: Sequence[float], digits: int = 2) -> str:
    low, high = (f"{end:.{digits}f}" for end in ends)
    return low if low == high else f"{low} to {high}"


def _buckets(buckets: Sequence[int]) -> str:
    if len(buckets) == 1:
        return "1 bucket"
    return f"{len(buckets)} buckets ({' + '.join(f'{size / 1e6:.2f}' for size in buckets)})"
