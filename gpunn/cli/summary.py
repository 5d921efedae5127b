"""Show a network's layers: shapes, parameters, work and memory.

For one image. "Fused" layers run within the one before them and store nothing of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from gpunn.cli.arguments import image_shape


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", help="a network's name, such as lenet5")
    add("--input", type=image_shape, metavar="C,H,W", help="shape of one image (default: the network's own)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from gpunn.models import find
    from gpunn.nn.summary import summarize

    entry = find(args.model)
    input_shape = args.input or entry.input_shape
    summary = summarize(entry.build(input_shape, 10), input_shape)

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{args.model}: {entry.description}; input {_shape(input_shape)}", title_justify="left")
    for heading in ("layer", "type", "output"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "multiply-adds", "activation"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("notes")
    for layer in summary.layers:
        table.add_row(
            layer.name,
            layer.kind,
            _shape(layer.output_shape),
            _count(layer.parameters),
            _count(layer.multiply_adds),
            _bytes(layer.activation_bytes),
            "; ".join(layer.notes),
        )
    table.add_section()
    table.add_row(
        "total",
        "",
        "",
        _count(summary.parameters),
        _count(summary.multiply_adds),
        _bytes(summary.activation_bytes),
        "",
    )
    # Elsewhere than on a terminal rich would cut the table at 80 columns.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _count(n: int) -> str:
    return f"{n:,}" if n else "-"


def _bytes(n: int) -> str:
    if n < 1024:
        return f"{n} B" if n else "-"
    return f"{n / 1024:,.1f} KiB"
