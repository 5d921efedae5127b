"""Show the CUDA kernels behind a network's layers, and judge them without a GPU.

Without a layer: every launch of a training step's forward and backward pass. With one: its kernels in full, and what
the emulator counts of some of their blocks: 32-byte sectors of global memory that warps ask for beside the fewest
possible, conflicts of shared memory's banks, branches that diverge, and the lines that waste most. Registers are those
of the compile gate's table. Occupancy and times are predictions from a card's published numbers: no launch of this
kind can be faster, and most are slower. With --predict they are worked out from the compiled code: what each unit of
the GPU has to do, which of them limits the launch, and its share of the roofline. What is not in the package's table
of machine code is compiled and disassembled: pip install 'gpunn[sass]'.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpunn.cli.arguments import whole
from gpunn.cli.models import MODEL_HELP
from gpunn.cli.summary import lengths, model_and_shape

if TYPE_CHECKING:
    from gpunn.bench.cards import Card
    from gpunn.bench.explain import LayerLaunch
    from gpunn.bench.predict import Prediction
    from gpunn.emulator import KernelCount

_HEADINGS = (
    "layer", "pass", "kernel", "times", "grid", "block", "regs", "shared", "occupancy", "MB", "MFLOP", "least µs",
)  # fmt: skip
_PREDICTED = (
    "layer", "pass", "kernel", "times", "occupancy", "waves", "least µs", "limit", "of roofline", "of copy",
)  # fmt: skip
_LINES = ("place", "what", "by warps", "lanes", "asked", "least")
_TEXT = ("layer", "pass", "kernel", "place", "what", "limit")  # to the left; numbers to the right
_DISPENSABLE = ("shared", "block", "grid", "regs", "MFLOP", "times", "MB")
_BLOCKS = 8
_WORST = 6


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", help=MODEL_HELP)
    add("layer", nargs="?", help="a layer's name, such as conv1 or layer1.0 (default: all, in short)")
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")
    add("--batch-size", type=whole(1), default=128, metavar="N", help="items a step (default: 128)")
    add(
        "--card",
        default="H100",
        metavar="NAME",
        help="T4, A100, RTX3090, A6000, RTX4090, H100 (the default), H200, B200, ...",
    )
    add("--predict", action="store_true", help="least time and what limits it, from the compiled code")
    add(
        "--blocks",
        type=whole(1),
        default=_BLOCKS,
        metavar="N",
        help=f"blocks of a launch to count (default: {_BLOCKS})",
    )
    add("--no-counts", action="store_true", help="of a layer, do not count on the emulator, which takes a while")
    add("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the kernels."""
    from gpunn.bench.cards import card as find_card
    from gpunn.bench.explain import count, launches_of, list_launches
    from gpunn.errors import DeviceError
    from gpunn.nn.summary import shape_text

    card = find_card(args.card)
    model, shape, description = model_and_shape(args.model, args.input)
    names = [name for name, _ in model.named_modules()]
    launches = list_launches(model, shape, args.batch_size)
    if args.layer is not None:
        launches = launches_of(launches, args.layer, names)
        if not args.no_counts:
            if sys.stderr.isatty():
                print("counting on the emulator, which compiles what is new to it", file=sys.stderr, flush=True)
            try:
                count(launches, args.blocks)
            except DeviceError as error:
                raise DeviceError(f"explain: {error}. With --no-counts nothing is counted.") from error
    predictions = _predictions(launches, card) if args.predict else None
    if args.json:
        print(json.dumps(_record(args, card, shape, launches, predictions), indent=1))
        return 0
    what = args.model if args.layer is None else f"{args.layer} of {args.model}"
    print(f"{what}: {description}; input {shape_text(shape)}, batch {args.batch_size}")
    print(
        f"{card.name}: sm_{card.sm}, {card.sms} SMs, {card.tflops:g} TFLOP/s float32, {card.gbs:,g} GB/s, "
        "as published; occupancy and times are predictions"
    )
    if args.layer is None and predictions is not None:
        rows = [_predicted_cells(one, card, found) for one, found in zip(launches, predictions, strict=True)]
        us = sum(one.times * found.us for one, found in zip(launches, predictions, strict=True) if found is not None)
        times = f"{sum(one.times for one in launches)}"
        _show(_PREDICTED, rows, ("total", "", "", times, "", "", _short(us), "", "", ""))
        return 0
    if args.layer is None:
        _show(_HEADINGS, [_cells(one, card) for one in launches], _total(launches, card))
        return 0
    for number, one in enumerate(launches):
        _explain(one, card, None if predictions is None else predictions[number])
    return 0


def _predictions(launches: Sequence[LayerLaunch], card: Card) -> list[Prediction | None]:
    """One of each launch, with what the emulator counted of it; None where registers are not known."""
    from gpunn.bench.machine_code import MachineCodeError
    from gpunn.bench.predict import access_of, predict
    from gpunn.errors import DeviceError

    if sys.stderr.isatty():
        print("reading machine code, which is compiled where it is new", file=sys.stderr, flush=True)
    try:
        return [predict(one, card, access_of(one.counts)) for one in launches]
    except MachineCodeError as error:
        raise DeviceError(f"explain --predict: {error}") from error


def _predicted_cells(one: LayerLaunch, card: Card, found: Prediction | None) -> tuple[str, ...]:
    held = one.occupancy(card)
    who = one.layer or "(model)", one.phase, one.kernel, f"{one.times}", "?" if held is None else f"{held.share:.0%}"
    if found is None:
        return *who, "?", "?", "?", "?", "?"
    shares = f"{found.roofline:.0%}", f"{found.copy:.0%}"
    return *who, _short(found.waves), _short(one.times * found.us), found.limit, *shares


def _cells(one: LayerLaunch, card: Card) -> tuple[str, ...]:
    needs, held = one.resources(card), one.occupancy(card)
    return (
        one.layer or "(model)",
        one.phase,
        one.kernel,
        f"{one.times}",
        _shape(one.grid),
        _shape(one.block),
        "?" if needs is None else f"{needs.registers}",
        "?" if needs is None else f"{needs.shared + one.shared:,}",
        "?" if held is None else f"{held.share:.0%}",
        _short(one.times * one.traffic / 1e6),
        _short(one.times * one.flop / 1e6) if one.flop else "-",
        _short(one.times * one.least_us(card)),
    )


def _total(launches: Sequence[LayerLaunch], card: Card) -> tuple[str, ...]:
    times = sum(one.times for one in launches)
    traffic, flop = (sum(one.times * getattr(one, name) for one in launches) / 1e6 for name in ("traffic", "flop"))
    least = sum(one.times * one.least_us(card) for one in launches)
    return "total", "", "", f"{times}", *[""] * 5, _short(traffic), _short(flop), _short(least)


def _explain(one: LayerLaunch, card: Card, found: Prediction | None) -> None:
    """Everything about one kind of launch."""
    from gpunn.bench.resources import kernel_path

    file, line = one.place
    print(f"\n{one.layer or '(model)'}, {one.phase}: {one.kernel}, {kernel_path(file)}:{line}")
    rows = [*_needed(one, card), *_work(one, card)]
    if found is not None:
        rows[-1:] = list(_predicted(found))  # instead of the roofline's
    worst = []
    if one.counts is not None:
        rows += _counted(one.counts)
        worst = one.counts.worst(_WORST)
    elif one.uncounted:
        rows.append(("not counted", f"on made-up numbers it fails: {one.uncounted}"))
    for name, text in rows:
        print(textwrap.fill(text, min(_columns(), 120), initial_indent=f"  {name:<15}", subsequent_indent=" " * 17))
    if worst:
        print("  lines that waste most:")
        _show(_LINES, [_line(w) for w in worst], None, indent=4)


def _needed(one: LayerLaunch, card: Card) -> Iterator[tuple[str, str]]:
    """How it is launched, and what it takes of the card."""
    yield "compiled with", " ".join(f"{name}={value}" for name, value in one.macros.items()) or "no macros"
    warps = _number(-(-one.threads // 32), "warp")
    times = _number(one.times, "launch")
    yield "launch", f"{times}; grid {_shape(one.grid)}, block {_shape(one.block)}: {warps}"
    needs, held = one.resources(card), one.occupancy(card)
    if needs is None or held is None:
        yield "resources", f"the compile gate's table does not know this source for sm_{card.sm}"
        return
    spills = needs.stack + needs.spill_stores + needs.spill_loads
    yield "registers", f"{needs.registers} a thread; {f'{spills:,} bytes of spills' if spills else 'no spills'}"
    yield "shared memory", f"{needs.shared:,} bytes of static, {one.shared:,} of dynamic a block"
    most = f"{_number(held.blocks, 'block')} of {warps} an SM, limited by {held.limit}"
    waves = f"; the grid fills the card {one.blocks / (held.blocks * card.sms):,.2f} times" if held.blocks else ""
    yield "occupancy", f"{held.share:.0%}: {most}{waves}"


def _work(one: LayerLaunch, card: Card) -> Iterator[tuple[str, str]]:
    """What it does at least, and the time that takes at least."""
    work = f"{_short(one.traffic / 1e6)} MB"
    if one.flop:
        density = one.flop / one.traffic
        bound = "arithmetic" if density > card.ridge else "memory"
        work += f", {_short(one.flop / 1e6)} MFLOP: {_short(density)} FLOP a byte, bound by {bound}"
        work += f" (by arithmetic from {card.ridge:,.1f} on)"
    else:
        work += ", no matrix product: bound by memory"
    yield "work", work
    yield "prediction", f"at least {_short(one.least_us(card))} µs a launch"


def _predicted(found: Prediction) -> Iterator[tuple[str, str]]:
    """What the compiled code needs."""
    of = f"{found.roofline:.0%} of the roofline, {found.copy:.0%} of a copy's bandwidth"
    yield "prediction", f"at least {_short(found.us)} µs a launch, limited by {found.limit}: {of}"
    busy = sorted(found.units.items(), key=lambda item: -item[1])
    text = ", ".join(f"{name} {_short(us)}" for name, us in busy if us >= found.us / 100)
    yield "units, µs", f"{text}; {found.instructions:,.0f} instructions a warp, loads from {found.loads.upper()}"


def _counted(found: KernelCount) -> Iterator[tuple[str, str]]:
    """What the emulator counted."""
    memory, shared, branches = found.global_memory, found.shared_memory, found.branches
    yield "counted", f"on the emulator, {found.counted_blocks:,} of {found.blocks:,} blocks"
    if memory.asked:
        yield (
            "sectors",
            f"{memory.least / memory.asked:.1%} of ideal: {memory.asked:,} of 32 bytes asked for, {memory.least:,} at "
            "least",
        )
    if shared.asked:
        conflicts = f"{shared.wasted:,}" if shared.wasted else "none"
        yield "bank conflicts", f"{conflicts}: {shared.asked:,} passes over the banks, {shared.least:,} at least"
    if branches.executions:
        yield "branches", f"{branches.asked / branches.executions:.1%} of {branches.executions:,} diverge"


def _line(one: Any) -> tuple[str, ...]:
    place = one.file if one.line is None else f"{one.file}:{one.line}"
    what = f"{one.kind} of {one.array}" if one.array else one.kind
    least = "" if one.kind == "branch" else f"{one.least:,}"
    asked = f"{one.asked:,} diverge" if one.kind == "branch" else f"{one.asked:,}"
    return place, what, f"{one.executions:,}", f"{one.lanes / one.executions:.1f}", asked, least


def _shape(index: tuple[int, ...]) -> str:
    lengths = list(index)
    while len(lengths) > 1 and lengths[-1] == 1:
        lengths.pop()
    return "x".join(f"{n}" for n in lengths)


def _short(value: float) -> str:
    """Three digits, and at most three behind the point."""
    if value < 0.001:
        return "<0.001" if value else "0"
    return f"{value:,.{min(3, max(0, 2 - math.floor(math.log10(value))))}f}"


def _number(n: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{n} {what}{'' if n == 1 else plural}"


def _show(headings: Sequence[str], rows: list[tuple[str, ...]], total: tuple[str, ...] | None, indent: int = 0) -> None:
    """Print a table; of one that is wider than the terminal without the columns that matter least."""
    shown = [tuple(headings), *rows, *([total] if total else [])]
    left_out = []
    for heading in _DISPENSABLE:
        if heading in headings and _width(shown) + indent > _columns():
            at = shown[0].index(heading)
            shown = [row[:at] + row[at + 1 :] for row in shown]
            left_out.append(heading)
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        cells = zip(shown[0], row, widths, strict=True)
        text = "  ".join(c.ljust(w) if h in _TEXT else c.rjust(w) for h, c, w in cells)
        lines.append((" " * indent + text).rstrip())
    rule = " " * indent + "-" * (_width(shown))
    tail = [rule, lines[-1]] if total else [lines[-1]]
    print("\n".join([lines[0], rule, *lines[1:-1], *tail]))
    if left_out:
        print(f"A wider terminal shows {', '.join(left_out)} too.")


def _width(rows: list[tuple[str, ...]]) -> int:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def _columns() -> int:
    """How wide a line may be: as the terminal, any number in a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6


def _record(
    args: argparse.Namespace,
    card: Card,
    shape: Sequence[int],
    launches: Sequence[LayerLaunch],
    predictions: Sequence[Prediction | None] | None,
) -> Any:
    from dataclasses import asdict

    records = [_launch_record(one, card) for one in launches]
    for record, found in zip(records, predictions or (), strict=bool(predictions)):
        record["prediction"] = None if found is None else asdict(found)

    return {
        "model": args.model,
        "layer": args.layer,
        "input": list(shape),
        "batch_size": args.batch_size,
        "card": asdict(card),
        "launches": records,
    }


def _launch_record(one: LayerLaunch, card: Card) -> dict[str, Any]:
    from dataclasses import asdict

    needs, held, (file, line) = one.resources(card), one.occupancy(card), one.place
    return {
        "layer": one.layer,
        "type": one.kind,
        "pass": one.phase,
        "kernel": one.kernel,
        "file": file,
        "line": line,
        "macros": one.macros,
        "launches": one.times,
        "grid": list(one.grid),
        "block": list(one.block),
        "dynamic_shared": one.shared,
        "resources": None if needs is None else asdict(needs),
        "occupancy": None if held is None else asdict(held),
        "bytes": one.traffic,
        "flop": one.flop,
        "predicted_least_us": one.least_us(card),
        "counts": None if one.counts is None else _counts_record(one.counts),
        "uncounted": one.uncounted or None,
    }


def _counts_record(found: KernelCount) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "blocks": found.blocks,
        "counted_blocks": found.counted_blocks,
        "sector_efficiency": found.sector_efficiency,
        "bank_conflicts": found.bank_conflicts,
        "lines": [
            asdict(line) for line in sorted(found.lines, key=lambda line: (line.file, line.line or 0, line.kind))
        ],
    }
