"""Show a network's layers: shapes, parameters, work, memory, receptive fields.

For one item. "Fused" layers run inside the one before them and store nothing of their own. --graph also draws ops,
parameters and shapes, and says where; pictures need matplotlib: pip install 'gpunn[plot]', .dot does not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn.cli.arguments import whole
from gpunn.cli.models import MODEL_HELP, known_shape, resolve
from gpunn.errors import UsageError, quoted


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", help=MODEL_HELP)
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")
    add("--graph", type=Path, metavar="FILE", help="draw the graph: a file that ends in .svg, .png, .pdf or .dot")
    add(
        "--classes",
        type=whole(1),
        metavar="N",
        help="how many (default: 1000 where the network is for ImageNet, else 10)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from gpunn.nn.summary import shape_text, summarize

    if args.graph is not None:
        _check_graph(args.graph)
    model, input_shape, description = model_and_shape(args.model, args.input, args.classes)
    summary = summarize(model, input_shape)
    title = f"{args.model}: {description}; input {shape_text(input_shape)}"
    _print(title, summary)
    if args.graph is not None:
        _draw(model, input_shape, args.model, args.graph)
        print(f"{args.graph} shows the graph.")
    return 0


def _check_graph(path: Path) -> None:
    """Raise before any work if no such picture can be drawn."""
    from gpunn.plots.style import check_suffix, need_matplotlib

    if check_suffix(path, "--graph", (".dot",)) != "dot":
        need_matplotlib()


def _draw(model: Any, input_shape: tuple[int, ...], name: str, path: Path) -> None:
    from gpunn._creation import zeros
    from gpunn.nn.graph import graph_of
    from gpunn.plots.graph import write_graph

    parameter = next(model.parameters(), None)
    kind = {} if parameter is None else {"dtype": parameter.dtype}
    write_graph(graph_of(model, zeros(1, *input_shape, **kind)), path, name)


def _print(title: str, summary: Any) -> None:
    from gpunn.nn.summary import HEADINGS, NUMBERS

    if not sys.stdout.isatty():
        print(title, summary, sep="\n")
        return

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


def model_and_shape(
    text: str, given: tuple[int, ...] | None, classes: int | None = None
) -> tuple[Any, tuple[int, ...], str]:
    """The module that ``text`` names, the shape of its input and a description.

    Without ``classes`` it has its customary number of them.
    """
    entry = resolve(text)
    shape = known_shape(entry) if given is None else given
    if shape is None:
        raise UsageError(f"{text}: give the shape of one item with --input, such as --input 1,28,28.")
    if len(shape) != 3 and ".py:" not in text:
        numbers = ",".join(map(str, shape))
        raise UsageError(f"--input: expected channels,height,width such as 1,28,28; got '{numbers}'")
    build: Any = entry.build  # a user's network may take any shape
    return build(shape, entry.classes if classes is None else classes), shape, entry.description


def lengths(text: str) -> tuple[int, ...]:
    """``C,H,W``, or as many lengths as the model's input has."""
    parts = [part.strip() for part in text.replace("x", ",").split(",")]
    if not all(part.isascii() and part.isdigit() and int(part[:99]) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected channels,height,width such as 1,28,28; got {quoted(text, 60)}")
    return tuple(int(part[:99]) for part in parts)
