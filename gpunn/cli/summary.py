"""Show a network's layers: shapes, parameters, work, memory, receptive fields.

For one item. "Fused" layers run inside the one before them and store nothing of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from gpunn.cli.models import MODEL_HELP, known_shape, resolve
from gpunn.errors import UsageError, quoted


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", help=MODEL_HELP)
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from gpunn.nn.summary import HEADINGS, NUMBERS, shape_text, summarize

    model, input_shape, description = model_and_shape(args.model, args.input)
    summary = summarize(model, input_shape)
    title = f"{args.model}: {description}; input {shape_text(input_shape)}"
    if not sys.stdout.isatty():
        print(title, summary, sep="\n")
        return 0

    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        justify: Any = "right" if heading in NUMBERS else "left"
        table.add_column(heading, justify=justify, overflow="fold")  # so that a narrow terminal loses no digit
    for layer in summary.layers:
        table.add_row(*layer.cells())
    table.add_section()
    table.add_row(*summary.total())
    Console().print(table)
    return 0


def model_and_shape(text: str, given: tuple[int, ...] | None) -> tuple[Any, tuple[int, ...], str]:
    """The module that ``text`` names, the shape of its input and a description."""
    entry = resolve(text)
    shape = known_shape(entry) if given is None else given
    if shape is None:
        raise UsageError(f"{text}: give the shape of one item with --input, such as --input 1,28,28.")
    if len(shape) != 3 and ".py:" not in text:
        numbers = ",".join(map(str, shape))
        raise UsageError(f"--input: expected channels,height,width such as 1,28,28; got '{numbers}'")
    build: Any = entry.build  # a user's network may take any shape
    return build(shape, 10), shape, entry.description


def lengths(text: str) -> tuple[int, ...]:
    """``C,H,W``, or as many lengths as the model's input has."""
    parts = [part.strip() for part in text.replace("x", ",").split(",")]
    if not all(part.isascii() and part.isdigit() and int(part[:99]) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected channels,height,width such as 1,28,28; got {quoted(text, 60)}")
    return tuple(int(part[:99]) for part in parts)
