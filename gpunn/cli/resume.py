"""``gpunn train --resume RUN``: the arguments that the run in a folder was started with."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gpunn.cli.arguments import why_no_folder
from gpunn.cli.config import read_config
from gpunn.cli.models import is_file, resolve_saved
from gpunn.errors import DataError, UsageError, shortened

if TYPE_CHECKING:
    from gpunn.models import ModelEntry

# What may be given anew, because it changes neither the network nor what it learns.
_AGAIN = ("model", "resume", "trust", "device", "workers", "no_capture", "checkpoint_every", "keep", "download")


class _Saved(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def saved_arguments(
    args: argparse.Namespace, add_arguments: Callable[[Callable[..., Any]], None]
) -> tuple[argparse.Namespace, ModelEntry]:
    """The arguments of the run in ``args.resume``, with what was given anew; and its network.

    A run folder is data, and may come from anybody: its command is parsed as one typed by hand, and a Python file that
    it names is run only at the user's own word.

    Parameters
    ----------
    args : Namespace
        Of ``gpunn train``, where what was not given is None or False.
    add_arguments : callable
        Declares the arguments of ``gpunn train``.

    Raises
    ------
    UsageError
        If there is no run, an option was given that a run keeps, or its network is in a file that is not trusted.
    DataError
        If its ``config.json`` is not what ``gpunn train`` writes.
    """
    folder = Path(args.resume)
    path = folder / "config.json"
    if not path.is_file():
        what = "has no config.json" if folder.is_dir() else why_no_folder(folder)
        raise UsageError(f"--resume: expected the folder of a run; {shortened(folder, 200)} {what}.")
    for name, value in vars(args).items():
        if name not in (*_AGAIN, "command", "run") and value not in (None, False):
            raise UsageError(
                f"--{name.replace('_', '-')}: a resumed run keeps its own. With --resume expected at most --device, "
                "--workers, --no-capture, --checkpoint-every and --keep."
            )
    command = list(read_config(path).command)
    try:
        parser = _Saved(add_help=False, allow_abbrev=False)
        add_arguments(parser.add_argument)
        saved = parser.parse_args(command[1:])
    except UsageError as error:
        raise DataError(
            f"{shortened(path, 200)}: its command is none that gpunn train takes: {shortened(error, 200)}"
        ) from error
    if command[:1] != ["train"] or saved.resume is not None or saved.model is None:
        raise DataError(f"{shortened(path, 200)}: its command is none that gpunn train writes.")
    entry = resolve_saved(saved.model, args.model, args.trust)
    if args.model is not None and not is_file(args.model) and args.model != saved.model:
        raise UsageError(f"model: the run in {folder} trains {saved.model}; got {args.model}. Leave it out.")
    for name in _AGAIN:
        given = getattr(args, name)
        if given not in (None, False):
            setattr(saved, name, given)
    saved.out = folder
    return saved, entry
