"""Show where a training step's time goes: each layer's forward and backward, its work, its share of the ceilings.

The network is trained for a few steps on random numbers: forward, mean cross-entropy, backward, SGD. FLOP and bytes are
for forward and backward together, each array moved once. "Of ceiling" is the time that a large matrix product or copy
on this machine would need for the same work, as a share of the layer's time. Steps run kernel by kernel, not captured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from gpunn.cli.arguments import whole
from gpunn.cli.models import MODEL_HELP
from gpunn.cli.summary import lengths, model_and_shape

HEADINGS = ("layer", "type", "forward ms", "backward ms", "share", "GFLOP", "MB", "of ceiling", "notes")


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", help=MODEL_HELP)
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")
    add("--batch-size", type=whole(1), default=128, metavar="N", help="items a step (default: 128)")
    add("--steps", type=whole(1), default=10, metavar="N", help="steps to time, after two that are not (default: 10)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, emulator, ... or auto (the default)")
    add("--threads", type=whole(1), metavar="N", help="on the CPU (default: all cores this process may use)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    import gpunn
    from gpunn._device import device as get_device
    from gpunn.bench.machine import measure_ceilings
    from gpunn.bench.profile import profile, random_batch
    from gpunn.bench.sides import limited_threads
    from gpunn.cpu.threads import get_num_threads
    from gpunn.errors import UsageError
    from gpunn.nn.summary import shape_text
    from gpunn.tape import no_grad

    device = get_device(args.device)
    model, shape, description = model_and_shape(args.model, args.input)
    gpunn.manual_seed(0)
    model = model.to(device)
    threads = args.threads or get_num_threads()
    with limited_threads(threads):
        x, _ = random_batch((args.batch_size, *shape), 1, device)
        with no_grad():
            scores = model.eval()(x[:1])
        model.train()
        if not isinstance(scores, gpunn.Tensor):
            raise UsageError(f"{args.model}: expected a network that returns one tensor; got {type(scores).__name__}.")
        # Class scores are trained as such; for anything else the sum is differentiated.
        classes = scores.shape[1] if scores.ndim == 2 and scores.shape[1] > 1 else 0
        labels = random_batch((args.batch_size, 1), classes, device)[1] if classes else None
        ceilings = measure_ceilings(device, quick=device.name == "emulator")
        found = profile(model, x, labels, steps=args.steps)
    where = str(device) if device.ordinal is not None else f"{device}, {threads} thread{'s' * (threads > 1)}"
    print(f"{args.model}: {description}; input {shape_text(shape)}, batch {found.batch}, on {where}")
    rate = 1e3 * found.batch / found.step_ms
    print(
        f"a step takes {found.step_ms:.3f} ms ({rate:,.0f} items/s), median of {args.steps}; at most "
        f"{ceilings.gflops:,.0f} GFLOP/s and {ceilings.gbs:,.1f} GB/s"
    )
    if device.name == "emulator":
        print("The emulator checks kernels; its times say nothing about a GPU.")
    _show([HEADINGS, *(_cells(row, found, ceilings) for row in found.layers), _total(found)])
    return 0


def _cells(row: Any, found: Any, ceilings: Any) -> tuple[str, ...]:
    share = found.share_of_ceiling(row, ceilings)
    return (
        row.name,
        row.kind,
        _number(row.forward_ms, 3),
        _number(row.backward_ms, 3),
        f"{row.ms / found.step_ms:.1%}" if row.ms else "-",
        _number(row.flop / 1e9, 3),
        _number(row.traffic / 1e6, 1),
        "-" if share is None else f"{share:.0%}",
        row.note,
    )


def _total(found: Any) -> tuple[str, ...]:
    rows = found.layers
    forward, backward = sum(r.forward_ms for r in rows), sum(r.backward_ms for r in rows)
    flop, traffic = sum(r.flop for r in rows) / 1e9, sum(r.traffic for r in rows) / 1e6
    return "total", "", f"{forward:.3f}", f"{backward:.3f}", "", f"{flop:.3f}", f"{traffic:.1f}", "", ""


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}" if value else "-"


def _show(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = HEADINGS[:2] + HEADINGS[-1:]
    lines = []
    for row in rows:
        cells = zip(HEADINGS, row, widths, strict=True)
        lines.append("  ".join(c.ljust(w) if h in text else c.rjust(w) for h, c, w in cells).rstrip())
    rule = "-" * max(map(len, lines))
    sys.stdout.write("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]) + "\n")
