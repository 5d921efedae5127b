"""Time layers, training steps and data loading, alone or beside PyTorch, DeZero or another device.

Sides are checked against each other before anything is timed (alone: against plain code in float64), and take turns.
Shown for gpunn: milliseconds and half the interquartile range, images per second, GFLOP/s, GB/s, and the share of
the machine's peak (a large matrix product and a large copy, measured in the same run). A ratio is the other side's
time over gpunn's: above 1 gpunn is faster.

  gpunn bench --compare cpu,cuda --networks lenet5,resnet20 --batch-sizes 1,8,64,512

times whole networks on several devices side by side: one table, and one picture of the throughput by batch size, with
the place from which the second device is faster than the first. Batches are on the devices already. A device that
this machine has not is left out, and what is missing is said.

  gpunn bench --cases steps --ranks 1,2,4

times training steps of several processes, which it starts by mpiexec, beside one: the case's batch divided over them
(strong scaling) and a whole one for each (weak scaling). Shown are what is sent, how much of that happens behind the
backward pass, and what a model says of cards joined by --link.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn.cli.arguments import number, one_of, whole
from gpunn.cli.bench_compare import BATCHES, NETWORKS, check_alone, compare
from gpunn.cli.bench_ranks import ranks
from gpunn.errors import UsageError

_DEFAULT = "lenet*"
_SIZES, _DTYPES = ("full", "cpu", "tiny"), ("float32", "float64")


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add(
        "--cases",
        default=_DEFAULT,
        metavar="NAMES",
        help="names or patterns, separated by commas: conv06, 'conv*.forward', layers, steps, data, all "
        f"(default: {_DEFAULT!r})",
    )
    add("--list", action="store_true", help="show all names, with FLOP and bytes, and time nothing")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, emulator, ... or auto (the default)")
    add(
        "--against",
        default="",
        metavar="SIDES",
        help="separated by commas: torch (both memory formats), dezero, one-thread (of the CPU), or devices such as "
        "cuda-plain or cpu",
    )
    add(
        "--size",
        type=one_of(_SIZES),
        metavar="SIZE",
        help="full (default on a GPU), cpu: batches of images divided by 16 (default on the CPU), or tiny",
    )
    add("--dtype", type=one_of(_DTYPES), default="float32", metavar="TYPE", help="float32 (the default) or float64")
    add(
        "--threads",
        type=whole(1),
        metavar="N",
        help="of each side on the CPU (default: all cores this process may use)",
    )
    add("--seconds", type=number(positive=True), default=3.0, metavar="S", help="of timing for each side of a case (3)")
    add("--quick", action="store_true", help="three samples of each side and rough ceilings: only to see that it works")
    add("--memory", action="store_true", help="also the peak memory of each side, in a process of its own")
    add("--compare", metavar="DEVICES", help="whole networks on several devices, such as cpu,cuda")
    add(
        "--networks",
        metavar="NAMES",
        help=f"with --compare: names of gpunn train, or file.py:Net, separated by commas (default: {NETWORKS})",
    )
    add("--batch-sizes", metavar="LIST", help=f"with --compare: images in a batch (default: {BATCHES})")
    add(
        "--mode",
        type=one_of(("train", "inference", "both")),
        metavar="NAME",
        help="with --compare: train: whole training steps (the default); inference: scores; or both",
    )
    add("--picture", type=Path, metavar="FILE", help="with --compare: .png, .svg or .pdf (default: compare.png)")
    add("--ranks", metavar="LIST", help="training steps of so many processes beside one, such as 1,2,4; needs MPI")
    add(
        "--link",
        type=number(positive=True),
        metavar="GB/S",
        help="with --ranks: between cards, in each direction, for the model of them (default: 50)",
    )
    add("--out", type=Path, metavar="FILE", help="append the results to this file, a JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Print a table as it grows."""
    if args.compare is not None:
        return compare(args, _DEFAULT)
    check_alone(args)
    if args.ranks is not None:
        return ranks(args, _DEFAULT)
    if args.link is not None:
        raise UsageError("--link: it is for --ranks LIST, such as --ranks 1,2,4.")
    from gpunn._device import device as get_device
    from gpunn.bench.cases import all_cases, select
    from gpunn.bench.machine import DISTURBED, measure_ceilings
    from gpunn.bench.runner import Settings, WrongResult, check_against, measure_all
    from gpunn.bench.sides import limited_threads
    from gpunn.cpu.threads import get_num_threads

    device = get_device(args.device)
    gpu = device.ordinal is not None
    size = args.size or ("full" if gpu else "tiny" if device.name == "emulator" else "cpu")
    names = _words(args.cases)
    cases = all_cases(size, args.dtype)
    cases = cases if "all" in names else select(names, cases)
    if args.list:
        _list(cases if args.cases != _DEFAULT else all_cases(size, args.dtype))
        return 0
    against = tuple(_words(args.against))
    check_against(against, device)
    if args.quick and args.out is not None:
        raise UsageError("--out: the results of --quick are not worth keeping; leave one of the two out.")
    if args.out is not None and args.out.is_dir():
        raise UsageError(f"--out: expected a file; {args.out} is a folder.")
    samples = {"least": 3, "most": 3} if args.quick else {}
    settings = Settings(device, against, size, args.dtype, args.seconds, **samples)
    threads = args.threads or get_num_threads()
    torch = importlib.import_module("torch") if "torch" in against else None
    with limited_threads(threads, torch):
        ceilings = measure_ceilings(device, args.dtype, args.quick)
        where = f"{device}" if gpu else f"{device}, {threads} thread{'s' * (threads > 1)}"
        print(f"{where}, {args.dtype}; at most {ceilings.gflops:,.0f} GFLOP/s and {ceilings.gbs:,.1f} GB/s")
        if device.name == "emulator":
            print("The emulator checks kernels; its times say nothing about a GPU.")
        disturbed = wrong = 0
        for case, found in measure_all(cases, settings, ceilings):
            if isinstance(found, WrongResult):
                wrong += 1
                print(f"{case.id}  WRONG: {found}")
                continue
            if args.memory:
                _add_memory(found, settings, threads)
            _show(case, found)
            busy = (found["others_share_of_cpu"] or 0.0) > DISTURBED
            disturbed += busy
            if busy:
                print(f"  other processes took {found['others_share_of_cpu']:.0%} of the machine: do not trust this")
            elif args.out is not None:
                from gpunn.bench import records

                records.append(args.out, [records.complete(found, settings, ceilings, threads)])
    if device.type == "cuda":
        from gpunn.bench import host

        print("The host's part, with captured steps and without; L is a launch by CuPy:")
        for row in host.measure(device, 0.3):
            print(host.line(row))
    if args.out is not None:
        left = f"; {disturbed} not kept: run them again when nothing else does" if disturbed else ""
        print(f"{len(cases) - disturbed - wrong} of {len(cases)} results appended to {args.out}{left}")
    if wrong:
        print(f"{wrong} of {len(cases)} cases compute something else than the other side")
    return int(bool(wrong or (disturbed and args.out is not None)))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _add_memory(found: dict[str, Any], settings: Any, threads: int) -> None:
    from gpunn.bench.memory import peak_memory
    from gpunn.bench.runner import ONE_THREAD

    for side, numbers in found["sides"].items():
        if side == ONE_THREAD:  # the same
            continue
        # A device's name stands for gpunn on that device.
        where = side if side.split(":")[0] in ("cpu", "cuda", "cuda-plain", "emulator") else str(settings.device)
        asked = "gpunn" if where == side else side
        numbers.update(peak_memory(found["case"], asked, settings.size, settings.dtype, where, threads))


def _show(case: Any, found: dict[str, Any]) -> None:
    """A case's line, and one for each other side."""
    ours = found["sides"]["gpunn"]
    error = "unchecked" if found["error"] is None else f"error {found['error']:.0e}"
    print(f"{case.id}  ({case.name}; {error}{'; captured' * found['captured']})")
    for side, numbers in found["sides"].items():
        low, high = numbers["ms_quartiles"]
        text = f"  {side:28}{numbers['ms']:10.3f} ms ±{(high - low) / 2 / numbers['ms']:4.0%}"
        text += f"{numbers['items_per_second']:12,.0f} images/s" if case.items else " " * 21
        text += f"{numbers['gflops']:9,.1f} GFLOP/s" if case.flop else " " * 17
        text += f"{numbers['gbs']:8,.1f} GB/s{numbers['share_of_ceiling']:6.0%} of ceiling"
        text += f"  peak {numbers['peak_mb']:,.0f} MB" if "peak_mb" in numbers else ""
        text += "" if numbers is ours else f"  ratio {numbers['ratio']:.2f}"
        print(text)


def _list(cases: list[Any]) -> None:
    print(f"{'name':26}{'what':62}{'GFLOP':>9}{'MB':>11}")
    for case in cases:
        print(f"{case.id:26}{case.name:62}{case.flop / 1e9:9.2f}{case.traffic / 1e6:11.1f}")
