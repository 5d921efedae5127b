"""Parsing, errors and exit status; what a command does is in the module of its name.

Exit status: 0 done; 2 wrong usage, or something requested is missing (a model, a file,
a device, a writable folder); 1 anything else that went wrong, such as a loss that is no longer
finite; 130 stopped by Ctrl-C; 141 the reader of the output has gone. Errors are one line on standard error; with
GPUNN_TRACEBACK=1 the traceback comes before it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gpunn import __version__
from gpunn.cli import (
    bench,
    convert,
    demo,
    doctor,
    eval,
    explain,
    export,
    guide,
    health,
    lockstep,
    plot,
    predict,
    profile,
    ranks,
    streams,
    summary,
    sweep,
    train,
    tune,
    warmup,
)
from gpunn.errors import UsageError, nearest, quoted

_COMMANDS = {
    "train": train,
    "eval": eval,
    "predict": predict,
    "plot": plot,
    "sweep": sweep,
    "demo": demo,
    "summary": summary,
    "bench": bench,
    "profile": profile,
    "health": health,
    "explain": explain,
    "lockstep": lockstep,
    "warmup": warmup,
    "tune": tune,
    "convert": convert,
    "export": export,
    "doctor": doctor,
    "guide": guide,
}


class _Parser(argparse.ArgumentParser):
    """Reports errors by an exception, which :func:`main` turns into one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (the process's own if None); returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and not streams.prepare():
        streams.say("gpunn: error: standard output is closed. Redirect it to a file, or to /dev/null.")
        return 1
    try:
        ranks.join(words)
        status = _run(words)
        failed = streams.failure()
        return status if failed is None else _cannot_write(failed)
    except KeyboardInterrupt:
        streams.failure()
        ranks.fail(lambda: streams.say("gpunn: interrupted"), 130)
        return 130
    except SystemExit:  # of --help and --version
        failed = streams.failure()
        if failed is None:
            raise
        return _cannot_write(failed)
    except Exception as error:  # the last resort: whatever it is, the user is told in one message
        failed = streams.failure()
        if failed is not None and isinstance(error, OSError):
            return _cannot_write(failed)
        return _complain(error)
    finally:
        if argv is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # From here on Python only tidies up; a Ctrl-C ends that without a traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _cannot_write(error: OSError) -> int:
    """The status where standard output takes no more."""
    if isinstance(error, BrokenPipeError):  # the reader (head, less) has gone, which it may
        return 141
    streams.say(f"gpunn: error: cannot write to standard output: {error.strerror}.")
    return 1


def _complain(error: BaseException) -> int:
    from gpunn.cli import failures

    text, status = failures.describe(error)
    said = f"gpunn: error: {text}"
    if os.environ.get(failures.TRACEBACK, "0") not in ("", "0"):
        said = "".join(traceback.format_exception(error)).rstrip() + f"\n{said}"
    ranks.fail(lambda: streams.say(said), status)
    return status


def _run(words: list[str]) -> int:
    parser = _Parser(
        prog="gpunn",
        description="Neural-network layers on NumPy and CuPy: train networks, and look into them.",
        epilog="With GPUNN_TRACEBACK=1 in the environment an error comes with its traceback.",
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
    _check_words(words)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        program, known = "gpunn", ["--help", "--version"]
        if args.command is not None:
            program, known = f"gpunn {args.command}", ["--help", *flags[args.command]]
        raise UsageError(f"unknown option {unknown[0]!r} (see {program} --help){nearest(unknown[0], known)}")
    if args.command is None:
        parser.print_help()
        return 0
    try:
        status: int = args.run(args)
    except SystemExit as error:  # no command of ours ends like this
        return _complain(error)
    return status


def _check_words(words: list[str]) -> None:
    """Refuse what argparse would take, or say less well."""
    for before, word in zip(["gpunn", *words], words, strict=False):
        flag, is_option, value = word.partition("=")
        if not word or (is_option and not value and flag.startswith("--")):
            place = flag if word else before
            raise UsageError(f"after {place!r}: expected a value; got ''. Is a variable of the shell's not set?")
    if words and (words[0] == "--" or not words[0].startswith("-")) and words[0] not in _COMMANDS:
        word = words[0]
        meant = f"; did you mean '--{word}'?" if word in ("help", "version") else nearest(word[:99], _COMMANDS)
        raise UsageError(f"unknown command {quoted(word, 60)}: expected one of {', '.join(_COMMANDS)}{meant}")


def _recording(parser: argparse.ArgumentParser, flags: list[str]) -> Callable[..., Any]:
    """``parser.add_argument``, noting the flags for suggestions."""

    def add(*names: str, **options: Any) -> None:
        options["help"] = options["help"].replace("%", "%%")  # argparse formats it
        flags.extend(parser.add_argument(*names, **options).option_strings)

    return add
