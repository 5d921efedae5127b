"""Running one demonstration: its figures to somebody, its picture to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpunn.demos import load
from gpunn.errors import DataError, UsageError
from gpunn.plots.style import check_suffix, drawing, write

# What the files of a demonstration say they are from; files that say something else are not overwritten unasked.
MARK = "gpunn demo"
# The packages of the extra "demo", by the names they are imported by.
_EXTRA = {"matplotlib": "matplotlib", "sklearn": "scikit-learn", "PIL": "pillow"}


def make(
    name: str,
    path: Path,
    *,
    seed: int,
    device: str,
    told: Callable[[str], None],
    sizes: Mapping[str, Any] | None = None,
) -> None:
    """Run a demonstration, tell its lines one by one, and write its picture.

    Parameters
    ----------
    name : str
        One of :data:`gpunn.demos.NAMES`.
    path : Path
        The picture's file; .png, .svg or .pdf.
    seed, device, sizes
        As its ``run`` takes them; None: its own sizes.
    told : callable
        Is given each line.

    Raises
    ------
    UsageError
        If a package is missing, with the extra that brings it; or the name or the suffix is none we know.
    DataError
        If the picture cannot be written.
    """
    check_suffix(path)
    try:
        demonstration = load(name)
        result = demonstration.run(seed=seed, device=device, **(sizes or {}))
        for line in demonstration.lines(result):
            told(line)
        with drawing(formulas=True):
            write(demonstration.draw(result), path, origin=f"{MARK} {name}")
    except ModuleNotFoundError as error:
        package = _EXTRA.get((error.name or "").split(".")[0])
        if package is None:
            raise
        raise UsageError(f"gpunn demo {name} needs {package} ({error}): pip install 'gpunn[demo]'.") from error


def check_place(path: Path, *, asked: bool) -> None:
    """See before the work that a picture can be written there.

    Parameters
    ----------
    path : Path
    asked : bool
        Whether the user named this file. Else a file there must be a demonstration's.

    Raises
    ------
    UsageError
        If the name is that of a folder or of no kind of picture, or a file there is not ours to overwrite.
    DataError
        If there is no such folder and it cannot be made, or nothing can be written into it.
    """
    check_suffix(path)
    check_folder(path.parent, "FILE.png")
    if not asked:
        keep_others(path, f"--out FILE.png; --out {path} overwrites it")


def check_folder(folder: Path, kind: str) -> None:
    """Make the folder, and see that files can be written into it; ``kind`` is what ``--out`` wants.

    Raises
    ------
    DataError
        If not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"--out: the folder {folder} could not be made: {error.strerror or error}. "
            f"Give another place with --out {kind}."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"--out: nothing may be written into {folder}. Give another place with --out {kind}.")


def keep_others(path: Path, way_out: str) -> None:
    """Raise UsageError where ``path`` exists and was not written by ``gpunn demo``."""
    try:
        with open(path, "rb") as file:
            ours = MARK.encode() in file.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(
            f"{path}: could not be read: {error.strerror or error}. Give another place with {way_out}."
        ) from error
    if not ours:
        raise UsageError(f"{path} exists, and gpunn demo did not write it. Give another place with {way_out}.")
