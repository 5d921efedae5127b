"""Write the guide and the API reference as HTML pages. Needs pdoc: pip install 'gpunn[docs]'.

Open DIR/index.html in a browser. The pages need no server; a folder of a web server will do as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("--out", type=Path, required=True, metavar="DIR", help="where to write; pages that are there are replaced")


def run(args: argparse.Namespace) -> int:
    """Write all pages."""
    from gpunn.guide._build import write

    write(args.out)
    print(f"wrote {args.out / 'index.html'}")
    return 0
