"""Where data sets are stored on this machine, and the error for a missing one."""

from __future__ import annotations

import os
from pathlib import Path

from gpunn.errors import DataError


def data_folder() -> Path:
    """Where data sets are stored, a folder for each: ``$GPUNN_DATA``, else ``gpunn`` in the user's cache folder."""
    given = os.environ.get("GPUNN_DATA")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path there is invalid and must be ignored (XDG Base Directory Specification).
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "gpunn"


def dataset_folder(name: str, root: str | os.PathLike[str] | None) -> Path:
    """The folder given, or the data set's own in the data folder."""
    return data_folder() / name if root is None else Path(root)


def files_missing(
    dataset: str, wanted: str, missing: str, folder: Path, root: str | os.PathLike[str] | None, name: str
) -> DataError:
    """The error for missing files: what, where, and the ways out."""
    state = f"has no {missing}" if os.path.isdir(folder) else "does not exist"
    unset = "" if root is not None or os.environ.get("GPUNN_DATA") else " ($GPUNN_DATA is not set)"
    return DataError(
        f"{dataset}: expected {wanted} in {os.path.abspath(folder)}, which {state}{unset}. Fetch it with "
        f"download=True or --download, give the folder that contains {name}/ with --data-dir DIR or $GPUNN_DATA, or "
        "pass root=, the folder of the files itself."
    )
