"""The options that say in which precision a command computes."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from gpunn.cli.arguments import one_of

_PRECISIONS = ("fp32", "tf32", "tf32x3", "bf16")
_HALVES = ("float16", "bfloat16")


def add_precision_arguments(add: Callable[..., Any]) -> None:
    """Declare ``--precision`` and ``--autocast``."""
    add(
        "--precision",
        type=one_of(_PRECISIONS),
        metavar="NAME",
        help="of large float32 products and convolutions, by tensor cores: fp32 (without them, the default), tf32, "
        "tf32x3, bf16",
    )
    add(
        "--autocast",
        type=one_of(_HALVES),
        metavar="TYPE",
        help="float16 or bfloat16: what layers compute in, as gpunn.amp.autocast; parameters stay float32",
    )


@contextlib.contextmanager
def products_in(args: argparse.Namespace) -> Iterator[None]:
    """A block in which float32 products are computed as ``--precision`` says."""
    from gpunn._precision import get_precision, set_precision

    before = get_precision()
    set_precision(args.precision or before)
    try:
        yield
    finally:
        set_precision(before)
