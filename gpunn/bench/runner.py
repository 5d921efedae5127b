"""One case on one device, alone or beside others: checked, timed, and turned into a record."""

from __future__ import annotations

import contextlib
import importlib
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import REGISTRY, Device
from gpunn._device import device as get_device
from gpunn.bench.case import Arrays, Case, Run, difference, import_dezero
from gpunn.bench.graphs import GpunnGraph, TorchGraph, torch_or_none, torch_stream
from gpunn.bench.machine import Ceilings, processor_seconds, share_of_others
from gpunn.bench.sides import CallSide, Clock, CupyClock, GraphSide, HostClock, Side, TorchClock, interleave
from gpunn.cpu.threads import get_num_threads, set_num_threads
from gpunn.errors import CaptureError, GpunnError, UsageError

OURS = "gpunn"
ONE_THREAD = f"{OURS} one thread"
OTHERS = ("torch", "dezero", "one-thread")
_SLOW = 2.0  # a call of at least this many seconds warms itself up
_CALL_BYTES = 4e9  # the most memory that the sets of one case may take on a GPU


class WrongResult(GpunnError, ArithmeticError):
    """Two sides of a case do not compute the same, so neither is timed."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes
    ----------
    device : Device
    against : tuple of str
        "torch", "dezero", "one-thread" (gpunn on one thread of the CPU) or names of devices.
    size, dtype : str
        See ``cases.all_cases``.
    seconds : float
        Time for each side of a case.
    least : int
        Fewest samples of each side.
    most : int
        Most samples of each side.
    """

    device: Device
    against: tuple[str, ...] = ()
    size: str = "cpu"
    dtype: str = "float32"
    seconds: float = 3.0
    least: int = 9
    most: int = 200


def check_against(against: tuple[str, ...], device: Device) -> None:
    """Refuse sides that are not available.

    Raises
    ------
    UsageError
        If a name is unknown, a library is not installed, or it cannot use the device.
    DeviceError
        If this machine does not have a device.
    """
    for name in against:
        if name == "one-thread":
            if device.loader is not None:
                raise UsageError(f"against: {name} is for the CPU; this device is {device}.")
        elif name in OTHERS:
            try:
                torch = import_dezero()[0] if name == "dezero" else importlib.import_module(name)
            except Exception as error:  # an old package may fail in any way under a new NumPy
                raise UsageError(
                    f"against: {name} cannot be imported ({error}); install it with pip install {name}."
                ) from error
            if name == "torch" and device.ordinal is not None and not torch.cuda.is_available():
                raise UsageError(f"against: this PyTorch ({torch.__version__}) finds no GPU; install one with CUDA.")
            if name == "dezero" and device.ordinal is not None:
                raise UsageError("against: dezero is compared on the CPU only; use --device cpu.")
        elif name.split(":")[0] in REGISTRY:
            if get_device(name) is device:
                raise UsageError(f"against: {name} is the device that is measured.")
        else:
            raise UsageError(
                f"against: expected {', '.join(OTHERS)} or a device ({', '.join(REGISTRY)}); got {name!r}."
            )


def sides_of(case: Case, settings: Settings) -> list[str]:
    """The names of all sides that this case can have, gpunn first."""
    names = [OURS]
    gpu = settings.device.ordinal is not None
    if gpu and case.eager is not None:
        names.append(f"{OURS} eager")
    for other in settings.against:
        if other == "torch":
            layouts = ["", " channels_last"] if case.layouts else [""]
            names += [f"torch{layout}" for layout in layouts]
            names += [f"torch graph{layout}" for layout in layouts] if gpu and case.group == "steps" else []
        elif other == "one-thread":
            names.append(ONE_THREAD)
        elif other != "dezero" or case.dezero is not None:
            names.append(other)
    return names


def prepare(case: Case, side: str, settings: Settings, seed: int = 0) -> Run:
    """The function of one side; every call makes it new arrays with the same numbers."""
    if side in (OURS, ONE_THREAD):
        return case.prepare(settings.device, seed)
    if side == f"{OURS} eager":
        assert case.eager is not None
        return case.eager(settings.device, case.arrays(settings.device, seed))
    if side.startswith("torch"):
        return case.prepare_torch(settings.device, "channels_last" in side, seed)
    if side == "dezero":
        assert case.dezero is not None
        return case.dezero(case.host_arrays(seed))
    return case.prepare(get_device(side), seed)


def reference(case: Case, size: str, seed: int = 0) -> Run:
    """The plain bodies in float64 on the same numbers: for comparison where there is no other side."""
    from gpunn.bench.cases import by_id

    plain = Device("reference", np)
    arrays: Arrays = {
        name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in case.host_arrays(seed).items()
    }
    return by_id(case.id, size, "float64").ours(plain, arrays)


def check(case: Case, runs: dict[str, Run], size: str) -> float | None:
    """The largest relative difference between gpunn's results and the others'; None if there is nothing to compare.

    Raises
    ------
    WrongResult
        If it is more than the case allows.
    """
    others = {side: run for side, run in runs.items() if side != OURS}
    if not others:
        if not case.reference:
            return None
        others = {"the plain bodies in float64": reference(case, size)}
    worst = 0.0
    for call in range(case.checked):
        ours = runs[OURS]()
        for side, run in others.items():
            error = difference(ours, run())
            worst = max(worst, error)
            if not error <= case.tolerance:
                raise WrongResult(
                    f"{case.id} ({case.name}): gpunn and {side} differ by {error:.1e} of the largest element in call "
                    f"{call + 1}; {case.tolerance:.0e} is allowed. Nothing was timed."
                )
    return worst


def measure(case: Case, settings: Settings, ceilings: Ceilings) -> dict[str, Any]:
    """Check a case and time all its sides in turns.

    Returns
    -------
    dict
        The case's part of a record: see ``records``.

    Raises
    ------
    WrongResult
        If the sides do not compute the same.
    """
    runs = {name: prepare(case, name, settings) for name in sides_of(case, settings)}
    captured = True
    start = time.monotonic()
    try:
        error = check(case, runs, settings.size)
    except CaptureError:
        # Noted in the record: a step with an op that has no kernel yet runs kernel by kernel.
        captured = False
        runs = {name: prepare(case, name, settings) for name in runs if name != f"{OURS} eager"}
        runs[OURS] = prepare(case, f"{OURS} eager", settings)
        error = check(case, runs, settings.size)
    slow = time.monotonic() - start > _SLOW * len(runs) * case.checked
    with contextlib.ExitStack() as stack:
        threads = get_num_threads()
        stack.callback(set_num_threads, threads)
        sides = {name: _side(case, name, runs, settings, stack, not slow, threads) for name in runs}
        before = processor_seconds()
        # A call that takes seconds is timed only a few times.
        interleave(sides, settings.seconds, min(3, settings.least) if slow else settings.least, settings.most)
        others = share_of_others(before, processor_seconds())
    found = {name: numbers_of(case, side, ceilings) for name, side in sides.items()}
    for numbers in found.values():
        numbers["ratio"] = numbers["ms"] / found[OURS]["ms"]
    return {
        "case": case.id,
        "name": case.name,
        "group": case.group,
        "shapes": {name: list(shape) for name, shape in case.shapes.items()} if len(case.shapes) < 10 else {},
        "items": case.items,
        "flop": case.flop,
        "bytes": case.traffic,
        "error": error,
        "captured": captured and settings.device.loader is not None and case.group == "steps",
        "others_share_of_cpu": others,
        "sides": found,
    }


def _side(
    case: Case,
    name: str,
    runs: dict[str, Run],
    settings: Settings,
    stack: contextlib.ExitStack,
    warm: bool,
    threads: int,
) -> Side:
    """One side with its clock: CUDA graphs for single ops, calls for everything else."""
    run, theirs = runs[name], name.startswith("torch")
    device = settings.device if theirs or name.startswith(OURS) else None if name == "dezero" else get_device(name)
    if device is None or device.ordinal is None:
        return CallSide(run, HostClock(), warm, 1 if name == ONE_THREAD else threads)
    torch = torch_or_none() if theirs else None
    if name.startswith("torch graph"):
        return GraphSide(TorchGraph(torch, stack.enter_context(torch_stream(torch)), [run], True))
    if case.group == "layers" and (theirs or device.loader is not None):
        # Each call of the graph has its own arrays, enough of them that none is still in the L2 cache.
        sets = _sets(case, device)
        many = [run, *(prepare(case, name, settings, seed) for seed in range(1, sets))]
        many = [many[i % sets] for i in range(sets * max(1, 16 // sets))]
        keep = case.traffic * sets < _CALL_BYTES / 2
        if theirs:
            return GraphSide(TorchGraph(torch, stack.enter_context(torch_stream(torch)), many, keep))
        return GraphSide(GpunnGraph(device, many, keep))
    clock: Clock = TorchClock(torch) if theirs else CupyClock(device)
    return CallSide(run, clock, warm)


def _sets(case: Case, device: Device) -> int:
    l2 = device.xp.cuda.runtime.getDeviceProperties(device.ordinal)["l2CacheSize"]
    return max(1, min(16, math.ceil(2 * l2 / case.traffic), int(_CALL_BYTES / case.traffic)))


def numbers_of(case: Case, side: Side, ceilings: Ceilings) -> dict[str, Any]:
    """What a record has of one side: the median of its times, their spread, and the rates that follow."""
    samples = side.samples
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    found: dict[str, Any] = {
        "ms": median,
        "ms_quartiles": [low, high],
        "ms_least": min(samples),
        "samples": len(samples),
        "gflops": case.flop / median / 1e6,
        "gbs": case.traffic / median / 1e6,
        "share_of_ceiling": ceilings.share(case.flop, case.traffic, median),
    }
    if case.items:
        found["items_per_second"] = 1e3 * case.items / median
    if isinstance(side, GraphSide):
        found["eager_ms"] = side.eager_ms
    return found


def measure_all(
    cases: list[Case], settings: Settings, ceilings: Ceilings
) -> Iterator[tuple[Case, dict[str, Any] | WrongResult]]:
    """Each case with what :func:`measure` found, or why it was not timed; GPU memory is freed in between."""
    for case in cases:
        try:
            found: dict[str, Any] | WrongResult = measure(case, settings, ceilings)
        except WrongResult as error:
            found = error
        yield case, found
        if settings.device.ordinal is not None:
            settings.device.xp.get_default_memory_pool().free_all_blocks()
