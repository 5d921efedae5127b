"""The same networks on several devices in one run: throughput by batch size, and where another device starts to pay.

A device's part of a comparison is a batch that lies on it already: what moving it there takes is not counted.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpunn._device import Device
from gpunn.bench.case import Arrays, Case, Run, as_host, difference, tensors
from gpunn.bench.machine import Ceilings, describe, processor_seconds, share_of_others
from gpunn.bench.networks import Network, gpunn_network, gpunn_step
from gpunn.bench.runner import numbers_of
from gpunn.bench.sides import CallSide, Clock, CupyClock, HostClock, Side, interleave
from gpunn.cpu.threads import get_num_threads
from gpunn.errors import ShapeError, shortened

MODES = ("train", "inference")
_SLOW = 2.0  # a call of at least this many seconds warms itself up
# Losses that are compared: the first one, and that after an update, which the gradients have a part in. With each
# further step batch norm of few images makes more of the rounding.
_STEPS = 2
# Of the largest element: float32 sums of another order, once through an update; a mistake is off by far more.
_TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
_NO_CEILINGS = Ceilings(math.inf, math.inf)


@dataclass(frozen=True)
class Point:
    """One network at one batch size.

    Attributes
    ----------
    network, mode : str
        The network's name; "train" or "inference".
    batch : int
    sides : dict
        By device its times, as in a record: ``ms``, ``ms_quartiles``, ``items_per_second``, ...
    missing : dict of str to str
        By device why it has none: memory that does not suffice, or a batch that the network cannot take.
    error : float or None
        The largest difference between the devices' losses or scores; None where fewer than two computed any.
    wrong : str
        What differs by more than rounding, "" if nothing does; then nothing was timed.
    others_share_of_cpu : float or None
        Other processes' share of the machine meanwhile.
    """

    network: str
    mode: str
    batch: int
    sides: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    error: float | None = None
    wrong: str = ""
    others_share_of_cpu: float | None = None

    def throughput(self, device: str) -> float | None:
        """Images per second, None where there is no time."""
        found = self.sides.get(device)
        return None if found is None else float(found["items_per_second"])

    def ratio(self, device: str, first: str) -> float | None:
        """How many times as many images ``device`` does as ``first``."""
        mine, other = self.throughput(device), self.throughput(first)
        return None if mine is None or other is None else mine / other


def case_of(network: Network, batch: int, mode: str, dtype: str) -> Case:
    """A training step (loss) or a forward pass in evaluation mode (scores) on a batch."""
    c, h, w = network.input_shape

    def ours(device: Device, arrays: Arrays) -> Run:
        import gpunn

        net = gpunn_network(network, device, dtype)
        given = tensors(device, arrays)
        if mode == "train":
            step = gpunn.capture(gpunn_step(net))
            return lambda: [step(given["x"], given["target"])._physical]
        net.eval()

        def forward(x: Any) -> Any:
            with gpunn.no_grad():
                return net(x)

        captured = gpunn.capture(forward)
        return lambda: [captured(given["x"])._physical]

    return Case(
        key=f"{network.key}-b{batch}",
        direction=mode,
        name=f"{network.title}, batch {batch}",
        group="compare",
        shapes={"x": (batch, h, w, c), "target": (batch,)},
        flop=0.0,
        traffic=0.0,
        ours=ours,
        theirs=_nobody,
        dtype=dtype,
        items=batch,
        classes=network.classes,
        checked=_STEPS if mode == "train" else 1,
        tolerance=_TOLERANCE[dtype],
    )


def _nobody(torch: Any, arrays: Arrays, channels_last: bool) -> Run:
    raise NotImplementedError("devices are compared, not libraries")


def measure_all(
    networks: Sequence[Network],
    batches: Sequence[int],
    modes: Sequence[str],
    devices: Sequence[Device],
    *,
    dtype: str = "float32",
    seconds: float = 3.0,
    least: int = 9,
    most: int = 200,
) -> Iterator[Point]:
    """Each network at each batch size, smallest first, on all devices in turns.

    Where a batch does not fit into a device's memory, larger ones are not tried there.
    """
    for mode in modes:
        for network in networks:
            full: dict[str, str] = {}
            for batch in sorted(batches):
                case = case_of(network, batch, mode, dtype)
                yield _measure(case, network, mode, devices, full, seconds, least, most)


def _measure(
    case: Case,
    network: Network,
    mode: str,
    devices: Sequence[Device],
    full: dict[str, str],
    seconds: float,
    least: int,
    most: int,
) -> Point:
    missing = dict(full)
    runs: dict[str, Run] = {}
    results: dict[str, list[list[Any]]] = {}
    start = time.monotonic()
    try:
        for device in devices:
            if str(device) not in missing:
                _first_calls(case, device, runs, results, missing, full)
        slow = time.monotonic() - start > _SLOW * max(1, len(runs)) * case.checked
        error, wrong = _compared(case, results)
        point = Point(case.key.rpartition("-b")[0], mode, case.items, {}, missing, error, wrong)
        if wrong or not runs:
            return point
        threads = get_num_threads()
        sides: dict[str, Side] = {
            str(device): CallSide(
                runs[str(device)],
                _clock(device),
                not slow,
                threads if device.ordinal is None else None,
            )
            for device in devices
            if str(device) in runs
        }
        before = processor_seconds()
        interleave(sides, seconds, min(3, least) if slow else least, most)
        others = share_of_others(before, processor_seconds())
        found = {name: _plain(numbers_of(case, side, _NO_CEILINGS)) for name, side in sides.items()}
        return Point(point.network, mode, case.items, found, missing, error, "", others)
    finally:
        runs.clear()
        results.clear()
        _free(devices)


def _first_calls(
    case: Case,
    device: Device,
    runs: dict[str, Run],
    results: dict[str, list[list[Any]]],
    missing: dict[str, str],
    full: dict[str, str],
) -> None:
    """Build the device's side and note its first results; or note why it has none."""
    name = str(device)
    try:
        run = case.prepare(device)
        # One more than is compared, so that the captured step has run as a graph.
        seen = [[_host(array) for array in run()] for _ in range(case.checked + 1)]
    except MemoryError as error:
        missing[name] = f"does not fit: {shortened(error, 120) or 'out of memory'}"
        full[name] = f"batch {case.items} did not fit"
    except ShapeError as error:  # such as batch norm's, of one image
        missing[name] = f"cannot be computed: {shortened(error, 120)}"
    else:
        runs[name], results[name] = run, seen[: case.checked]
        return
    _free([device])


def _host(array: Any) -> Any:
    return as_host(array).copy()  # the next call may write to the same memory


def _compared(case: Case, results: dict[str, list[list[Any]]]) -> tuple[float | None, str]:
    """The largest difference from the first device, and what is wrong if it is more than rounding."""
    names = list(results)
    if len(names) < 2:
        return None, ""
    worst = 0.0
    for name in names[1:]:
        for call, (ours, theirs) in enumerate(zip(results[names[0]], results[name], strict=True), 1):
            error = difference(theirs, ours)
            worst = max(worst, error)
            if not error <= case.tolerance:
                return worst, (
                    f"{names[0]} and {name} differ by {error:.1e} in call {call}; {case.tolerance:.0e} is allowed"
                )
    return worst, ""


def _clock(device: Device) -> Clock:
    return HostClock() if device.ordinal is None else CupyClock(device)


def _plain(numbers: dict[str, Any]) -> dict[str, Any]:
    """Times and throughput; FLOP are not counted for networks of the user's."""
    return {key: value for key, value in numbers.items() if key not in ("gflops", "gbs", "share_of_ceiling")}


def _free(devices: Sequence[Device]) -> None:
    gc.collect()  # graphs and closures are in cycles
    for device in devices:
        if device.ordinal is not None:
            device.xp.get_default_memory_pool().free_all_blocks()


# -- where it pays ----------------------------------------------------------------------------------


def pays_from(points: Sequence[Point], device: str, first: str) -> float | None:
    """From which batch size on ``device`` is faster than ``first``, up to the largest one.

    Between two batch sizes it is where straight lines cross on logarithmic axes, as in the picture. The smallest batch
    size if it is faster at all of them; None if it is not faster at the largest one that both have.
    """
    ratios = [(point.batch, ratio) for point in points if (ratio := point.ratio(device, first)) is not None]
    if not ratios or ratios[-1][1] <= 1:
        return None
    place = len(ratios) - 1
    while place and ratios[place - 1][1] > 1:
        place -= 1
    if not place:
        return float(ratios[0][0])
    (low, below), (high, above) = ratios[place - 1], ratios[place]
    share = math.log(1 / below) / math.log(above / below)
    return low * (high / low) ** share


def record(point: Point, devices: Sequence[Device], dtype: str, threads: int) -> dict[str, Any]:
    """A point as a line of JSON: what ``records`` says, of several devices."""
    first = devices[0]
    # A GPU, where there is one, has a name and CuPy's version; the rest is the same for all.
    found = describe(next((device for device in devices if device.ordinal is not None), first))
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "case": f"{point.network}-b{point.batch}.{point.mode}",
        "name": f"{point.network}, batch {point.batch}",
        "group": "compare",
        "size": "full",
        "dtype": dtype,
        "device": ",".join(str(device) for device in devices),
        "threads": threads,
        "items": point.batch,
        "error": point.error,
        "others_share_of_cpu": point.others_share_of_cpu,
        "sides": {name: {**numbers, "ratio": _ratio(point, name, str(first))} for name, numbers in point.sides.items()},
        "missing": point.missing,
        **found,
    }


def _ratio(point: Point, name: str, first: str) -> float | None:
    """The side's time over the first one's, as in all records."""
    ratio = point.ratio(name, first)
    return None if ratio is None else 1 / ratio
