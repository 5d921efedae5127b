"""Look whether everything works here: libraries, driver, compilers, caches, and a small step on every device.

What is broken is told with the command that mends it, and makes the exit status 1. What is not here is told too; it is
a failure only if --device needs it. Each check that may hang or crash runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from gpunn.cli.arguments import number
from gpunn.errors import UsageError, nearest, quoted

_SIGNS = {"ok": "ok", "absent": "-", "broken": "BROKEN"}


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add(
        "--device",
        default="auto",
        metavar="NAME",
        help="what has to work: cpu, cuda, cuda:1, cuda-plain, emulator; then nothing else is looked at (default: all, "
        "and what is not here is no failure)",
    )
    add("--json", action="store_true", help="print the findings as one JSON object")
    add("--limit", type=number(positive=True), default=90.0, metavar="S", help="seconds for each check (default: 90)")


def run(args: argparse.Namespace) -> int:
    """Print what was found."""
    kinds = ("auto", "cpu", "cuda", "cuda-plain", "emulator")
    kind, colon, ordinal = args.device.partition(":")
    if kind not in kinds or (colon and not (kind.startswith("cuda") and ordinal.isascii() and ordinal.isdigit())):
        raise UsageError(
            f"--device: expected one of {', '.join(kinds)}, or a numbered GPU such as cuda:1; "
            f"got {quoted(args.device, 60)}{nearest(args.device[:99], kinds)}"
        )
    from gpunn.doctor import examine

    examination = examine(args.device, args.limit, None if args.json else _show)
    failures = examination.failures
    if args.json:
        print(json.dumps(examination.as_dict(), indent=2))
        return int(bool(failures))
    works = [name for name, right in examination.works.items() if right]
    print(f"Works: {', '.join(works) or 'nothing'}.")
    if failures:
        print(f"To mend: {', '.join(finding.name for finding in failures)}.")
    return int(bool(failures))


def _show(finding: Any) -> None:
    print(f"{_SIGNS[finding.status]:6}  {finding.name}: {finding.text}", flush=True)
    if finding.fix and finding.status != "ok":
        print(f"{'':8}{finding.fix}", flush=True)
