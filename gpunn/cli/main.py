"""Parsing, errors and exit status; what a command does is in the module of its name.

Exit status: 0 done; 2 wrong usage, or something requested is missing (a model, a file,
a device, a writable folder); 1 anything else that went wrong, such as a loss that is no longer
finite; 130 stopped by Ctrl-C. Errors are one line on standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gpunn import __version__
from gpunn.cli import bench, eval, predict, profile, summary, train, warmup
from gpunn.errors import DataError, DeviceError, GpunnError, UsageError, nearest

_COMMANDS = {
    "train": train,
    "eval": eval,
    "predict": predict,
    "summary": summary,
    "bench": bench,
    "profile": profile,
    "warmup": warmup,
}


class _Parser(argparse.ArgumentParser):
    """Reports errors by an exception, which :func:`main` turns into one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (the process's own if None); returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except (UsageError, DataError, DeviceError) as error:
        return _complain(error, 2)
    except GpunnError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        print("gpunn: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone. Python flushes once more at exit, which must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _complain(error: GpunnError, status: int) -> int:
    # Messages that list keys have several lines; here they are one.
    print("gpunn: error: " + " ".join(str(error).split()), file=sys.stderr)
    return status


def _run(words: list[str]) -> int:
    parser = _Parser(
        prog="gpunn",
        description="Neural-network layers on NumPy and CuPy: train networks, and look into them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gpunn {__version__}")
    commands = parser.add_subparsers(metavar="command", dest="command")
    flags: dict[str, list[str]] = {}
    for name, module in _COMMANDS.items():
        short = (module.__doc__ or "").split("\n")[0].rstrip(".")
        sub = commands.add_parser(
            name,
            help=short,
            description=module.__doc__,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        flags[name] = []
        module.add_arguments(_recording(sub, flags[name]))
        sub.set_defaults(run=module.run)
    if words and not words[0].startswith("-") and words[0] not in _COMMANDS:
        raise UsageError(
            f"unknown command {words[0]!r}: expected one of {', '.join(_COMMANDS)}" + nearest(words[0], _COMMANDS)
        )
    args, unknown = parser.parse_known_args(words)
    if unknown:
        program, known = "gpunn", ["--help", "--version"]
        if args.command is not None:
            program, known = f"gpunn {args.command}", ["--help", *flags[args.command]]
        raise UsageError(f"unknown option {unknown[0]!r} (see {program} --help){nearest(unknown[0], known)}")
    if args.command is None:
        parser.print_help()
        return 0
    status: int = args.run(args)
    return status


def _recording(parser: argparse.ArgumentParser, flags: list[str]) -> Callable[..., Any]:
    """``parser.add_argument``, noting the flags for suggestions."""

    def add(*names: str, **options: Any) -> None:
        options["help"] = options["help"].replace("%", "%%")  # argparse formats it
        flags.extend(parser.add_argument(*names, **options).option_strings)

    return add
