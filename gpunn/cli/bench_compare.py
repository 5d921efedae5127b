"""``gpunn bench --compare cpu,cuda``: the same networks on several devices, side by side in one run."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.cli.models import known_shape, resolve
from gpunn.errors import DeviceError, UsageError, shortened

if TYPE_CHECKING:
    from gpunn._device import Device
    from gpunn.bench.compare import Point
    from gpunn.bench.networks import Network

NETWORKS, BATCHES = "lenet5,resnet20", "1,8,64,512"
_MOST_NETWORKS, _MOST_BATCHES = 6, 16
_PICTURE = Path("compare.png")
# Options of the other benchmarks, with the value that each has when it is not given.
_OTHERS: dict[str, Any] = {"against": "", "size": None, "memory": False, "list": False, "ranks": None, "link": None}
_OWN = ("networks", "batch_sizes", "mode", "picture")


def check_alone(args: argparse.Namespace) -> None:
    """Refuse what is for comparisons where nothing is compared.

    Raises
    ------
    UsageError
    """
    for name in _OWN:
        if getattr(args, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')}: it is for --compare DEVICES, such as --compare cpu,cuda.")


def compare(args: argparse.Namespace, cases: str) -> int:
    """Print a table as it grows, and draw a picture; ``cases`` is what --cases is when it is not given."""
    for name, value in {**_OTHERS, "cases": cases, "device": "auto"}.items():
        if getattr(args, name) != value:
            raise UsageError(f"--{name}: it is for benchmarks without --compare; leave one of the two out.")
    names, batches = _words(args.networks or NETWORKS), _batches(args.batch_sizes or BATCHES)
    if not 0 < len(names) <= _MOST_NETWORKS:
        raise UsageError(f"--networks: expected 1 to {_MOST_NETWORKS} names with commas; got {args.networks!r:.80}.")
    networks = [_network(name) for name in names]
    modes = {"both": ("train", "inference"), None: ("train",)}.get(args.mode, (args.mode,))
    picture: Path = args.picture or _PICTURE
    if args.picture is not None:
        _check_picture(picture)
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out: expected a file; {args.out} is a folder.")
    if args.quick and args.out is not None:
        raise UsageError("--out: the results of --quick are not worth keeping; leave one of the two out.")
    devices, left_out = _devices(args.compare)

    from gpunn.bench.compare import measure_all, record
    from gpunn.bench.machine import DISTURBED
    from gpunn.bench.records import append
    from gpunn.bench.sides import limited_threads
    from gpunn.cpu.threads import get_num_threads

    threads = args.threads or get_num_threads()
    what = {str(device): _what(device, threads) for device in devices}
    for name, text in what.items():
        print(f"{name}: {text}")
    for text in left_out.values():
        print(f"Left out: {text}")
    points: list[Point] = []
    disturbed = 0
    samples = {"least": 3, "most": 3} if args.quick else {}
    print(_heading(list(what), args.dtype), flush=True)
    with limited_threads(threads):
        for point in measure_all(networks, batches, modes, devices, dtype=args.dtype, seconds=args.seconds, **samples):
            points.append(point)
            busy = (point.others_share_of_cpu or 0.0) > DISTURBED
            disturbed += busy
            print(_row(point, list(what)) + _remarks(point, busy), flush=True)
            if args.out is not None and point.sides and not busy:
                append(args.out, [record(point, devices, args.dtype, threads)])
    for line in _conclusions(points, list(what)):
        print(line)
    _draw(points, what, left_out, picture)
    if args.out is not None:
        kept = sum(bool(point.sides) for point in points) - disturbed
        left = f"; {disturbed} not kept: run them again when nothing else does" if disturbed else ""
        print(f"{kept} of {len(points)} results appended to {args.out}{left}")
    wrong = sum(bool(point.wrong) for point in points)
    return int(bool(wrong or (disturbed and args.out is not None)))


# -- what is asked for ------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _batches(text: str) -> list[int]:
    words = _words(text)
    if not 0 < len(words) <= _MOST_BATCHES or not all(word.isdecimal() and 0 < len(word) < 8 for word in words):
        raise UsageError(
            f"--batch-sizes: expected up to {_MOST_BATCHES} whole numbers from 1 to 9,999,999 with commas; got "
            f"{shortened(text, 60)!r}."
        )
    if "0" in (word.strip("0") or "0" for word in words):
        raise UsageError(f"--batch-sizes: expected whole numbers of at least 1; got {shortened(text, 60)!r}.")
    return sorted({int(word) for word in words})


def _network(name: str) -> Network:
    from gpunn.bench.networks import Network

    entry = resolve(name)
    shape = known_shape(entry)
    if shape is None:
        raise UsageError(
            f"--networks: {shortened(name, 120)}: the size of its images is not known: give it an attribute "
            "input_shape = (C, H, W)."
        )
    title = name.rpartition(":")[2]
    return Network(title, title, shape, entry.classes, lambda: entry.build(shape, entry.classes), _no_twin, ())


def _no_twin(torch: Any) -> Any:
    raise NotImplementedError("devices are compared, not libraries")


def _devices(text: str) -> tuple[list[Device], dict[str, str]]:
    """The devices that this machine has, and of the others why not.

    Raises
    ------
    UsageError
        If fewer than two are named, or one twice or wrongly.
    DeviceError
        If this machine has none of them.
    """
    from gpunn._device import REGISTRY, device

    names = [word.strip() for word in text.split(",")]
    known = ", ".join(REGISTRY)
    for name in names:
        kind, _, number = name.partition(":")
        if kind not in REGISTRY or (number and not (number.isdecimal() and kind.startswith("cuda"))):
            raise UsageError(f"--compare: expected devices of {known}, or cuda:1; got {shortened(text, 60)!r}.")
    if len(names) < 2:
        raise UsageError(f"--compare: expected at least two devices such as cpu,cuda; got {shortened(text, 60)!r}.")
    found: list[Device] = []
    left_out: dict[str, str] = {}
    for name in names:
        try:
            home = device(name)
        except DeviceError as error:
            if len(left_out) + 1 == len(names):
                raise
            left_out[name] = str(error)
            continue
        if home in found:
            raise UsageError(f"--compare: {name} is there twice.")
        found.append(home)
    return found, left_out


def _check_picture(path: Path) -> None:
    from gpunn.plots.style import SUFFIXES, need_matplotlib

    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise UsageError(f"--picture: expected a file name that ends in {', '.join(SUFFIXES)}; got {path}.")
    need_matplotlib()


def _what(device: Device, threads: int) -> str:
    """What a device is, for readers."""
    from gpunn.bench.machine import describe

    found = describe(device)
    if device.ordinal is not None:
        return f"{found['gpu']}{', plain CuPy' * (device.name == 'cuda-plain')}"
    if device.name == "emulator":
        return "the kernels on the CPU, checked: its times say nothing about a GPU"
    return f"{found['processor']}, {threads} thread{'s' * (threads > 1)}"


# -- what was found ---------------------------------------------------------------------------------


def _heading(devices: Sequence[str], dtype: str) -> str:
    text = f"{dtype + ', images/s':34}{'batch':>9}"
    text += "".join(f"{device:>18}" for device in devices)
    return text + "".join(f"{device + '/' + devices[0]:>17}" for device in devices[1:])


def _row(point: Point, devices: Sequence[str]) -> str:
    text = f"{shortened(point.network, 22) + ' ' + point.mode:34}{point.batch:9,}"
    for device in devices:
        found = point.sides.get(device)
        if found is None:
            short = "does not fit" if "fit" in point.missing.get(device, "") else "-"
            text += f"{short:>18}"
            continue
        low, high = found["ms_quartiles"]
        rate = found["items_per_second"]
        text += f"{rate:12,.{0 if rate >= 100 else 1}f} ±{(high - low) / 2 / found['ms']:4.0%}"
    for device in devices[1:]:
        ratio = point.ratio(device, devices[0])
        text += f"{'' if ratio is None else f'{ratio:.2f}':>17}"
    return text


def _remarks(point: Point, busy: bool) -> str:
    said = [f"WRONG: {point.wrong}"] if point.wrong else []
    said += [f"{device}: {why}" for device, why in point.missing.items()]
    if busy and point.others_share_of_cpu is not None:
        said.append(f"other processes took {point.others_share_of_cpu:.0%} of the machine: do not trust this")
    return "".join(f"\n  {text}" for text in said)


def _conclusions(points: Sequence[Point], devices: Sequence[str]) -> list[str]:
    """For each network, from which batch size on the other devices are faster than the first."""
    from gpunn.bench.compare import pays_from

    found = []
    for key in dict.fromkeys((point.network, point.mode) for point in points):
        line = [point for point in points if (point.network, point.mode) == key]
        for device in devices[1:]:
            if device == "emulator" or devices[0] == "emulator":
                continue  # a comparison of results, not of speed
            ratios = [(p.batch, ratio) for p in line if (ratio := p.ratio(device, devices[0])) is not None]
            if not ratios:
                continue
            where = pays_from(line, device, devices[0])
            batch, ratio = ratios[-1]
            if where is None:
                text = f"is not faster than {devices[0]}"
            elif where == ratios[0][0]:
                text = f"is faster than {devices[0]} at every batch size"
            else:
                text = f"is faster than {devices[0]} from a batch of about {math.ceil(where):,} on"
            found.append(f"{key[0]}, {key[1]}: {device} {text} ({ratio:.2f} times as fast at {batch:,})")
    return found


def _draw(points: Sequence[Point], devices: dict[str, str], left_out: dict[str, str], path: Path) -> None:
    from gpunn.plots.style import drawing, need_matplotlib, write

    try:
        need_matplotlib()
    except UsageError as error:
        print(f"No picture: {error}")
        return
    from gpunn.plots.compare import draw_comparison

    note = f"without {', '.join(left_out)}, which this machine has not" if left_out else ""
    if "emulator" in devices:
        note = "the emulator checks kernels, its times say nothing about a GPU"
    with drawing():
        write(draw_comparison(points, devices, note), path)
    print(f"{path} shows it.")
