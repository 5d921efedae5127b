"""Show what the lectures claim: short programs that print figures and draw a slide.

Without a name: the list. A picture goes to demos/NAME.png below the current folder, or to --out, whose name ends in
.png, .svg or .pdf. 'all' runs every one and writes a page, index.html, with all pictures, figures and programs into
the folder --out (default: demos). Each takes seconds to two minutes on two cores. Needs matplotlib and scikit-learn:
pip install 'gpunn[demo]'.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn.cli.arguments import one_of, whole
from gpunn.demos import NAMES, summary
from gpunn.errors import UsageError

FOLDER = Path("demos")


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add(
        "name",
        nargs="?",
        type=one_of((*NAMES, "all")),
        metavar="NAME",
        help="a demonstration, or all (default: list them)",
    )
    add("--out", type=Path, metavar="PATH", help="the picture; of all: the folder (default: demos/NAME.png, demos)")
    add("--seed", type=whole(0), default=None, metavar="N", help="other random numbers (default: 0)")
    add("--device", default=None, metavar="NAME", help="cpu (the default), cuda, cuda:1, emulator, ... or auto")


def run(args: argparse.Namespace) -> int:
    """List the demonstrations, or run one or all."""
    if args.name is None:
        for flag in ("out", "seed", "device"):
            if getattr(args, flag) is not None:
                raise UsageError(f"--{flag}: it is about a demonstration; got none. Name one, as {NAMES[0]}, or all.")
        return _list()
    from gpunn._device import device
    from gpunn.cli import gallery, pictures
    from gpunn.plots.style import need_matplotlib

    need_matplotlib("demo")
    home, seed = device(args.device or "cpu").name, args.seed or 0
    if args.name == "all":
        whole_page = gallery.write_gallery(args.out or FOLDER, seed=seed, device=home, told=_print)
        return 0 if whole_page else 1
    path = args.out or FOLDER / f"{args.name}.png"
    pictures.check_place(path, asked=args.out is not None)
    _print(summary(args.name))
    pictures.make(args.name, path, seed=seed, device=home, told=_print)
    _print(f"The picture is {path}.")
    return 0


def _list() -> int:
    width = max(map(len, NAMES))
    for name in NAMES:
        print(f"{name:<{width}}  {summary(name)}")
    print("\ngpunn demo NAME runs one of them, gpunn demo all makes a page of them all.")
    return 0


def _print(line: str) -> None:
    print(line, flush=True)  # the next one may take a minute
