"""Convert weights between files of gpunn and PyTorch: .safetensors, .npz and .pt.

The suffixes say what the files are (.pth and .bin are .pt). Nothing in a .pt file is run: tensors and containers of
them are read, anything else is refused. Where the weights lie inside a checkpoint, --key says under which name.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.errors import DataError, UsageError, quoted, shortened

_TORCH = (".pt", ".pth", ".bin")
SUFFIXES = (".safetensors", ".npz", *_TORCH)


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("source", type=Path, metavar="FROM", help=f"a file of weights: {', '.join(SUFFIXES)}")
    add("target", type=Path, metavar="TO", help="the file to write; its suffix says in which format")
    add("--key", metavar="NAME", help="of a .pt file that holds more: under which name the weights are")
    add("--overwrite", action="store_true", help="replace TO if it exists")


def run(args: argparse.Namespace) -> int:
    """Read, check, write, and say what was written."""
    for path in (args.source, args.target):
        if path.suffix not in SUFFIXES:
            raise UsageError(f"convert: expected a file named {', '.join(SUFFIXES)}; got {quoted(str(path), 200)}.")
    if args.key is not None and args.source.suffix not in _TORCH:
        raise UsageError(f"--key: it is for {', '.join(_TORCH)} files; got {quoted(str(args.source), 200)}.")
    if args.target.exists() and not args.overwrite:
        raise UsageError(f"convert: {args.target} exists. Give another name, or --overwrite.")
    arrays = read_weights(args.source, args.key)
    _write(args.target, arrays)
    numbers = sum(array.size for array in arrays.values())
    print(f"{args.target}: {len(arrays):,} arrays, {numbers:,} numbers, {args.target.stat().st_size / 1e6:,.1f} MB")
    return 0


def read_weights(path: Path, key: str | None) -> dict[str, np.ndarray]:
    """The weights in a file of one of the formats; ``key``: under which name they are in a .pt file.

    Raises
    ------
    UsageError
        If there is nothing of that name.
    DataError
        If the file cannot be read, or holds something else.
    """
    if path.suffix == ".safetensors":
        from gpunn._safetensors import read_arrays

        return read_arrays(path)[0]
    if path.suffix == ".npz":
        from gpunn.data._npz_file import read_arrays as read_npz

        return read_npz(path)
    from gpunn._torch_file import load

    return _weights(path, load(path), key)


def _weights(path: Path, found: Any, key: str | None) -> dict[str, np.ndarray]:
    """The state_dict in what a .pt file held."""
    if key is not None:
        if not isinstance(found, Mapping) or key not in found:
            names = ", ".join(map(str, found)) if isinstance(found, Mapping) else f"a {type(found).__name__}"
            raise UsageError(f"--key: {path} has no {quoted(key)}; it holds {shortened(names, 200)}.")
        found = found[key]
    if isinstance(found, Mapping) and found and all(isinstance(v, np.ndarray) for v in found.values()):
        return {str(name): np.array(array) for name, array in found.items()}
    held = f"a {type(found).__name__}"
    if isinstance(found, Mapping):
        held = ", ".join(f"{name} ({type(value).__name__})" for name, value in found.items()) or "nothing"
    raise DataError(
        f"{shortened(path, 160)}: expected names and tensors, as of a state_dict(); it holds {shortened(held, 200)}. "
        "Give --key NAME if one of these is it."
    )


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    from gpunn.serialize import save_file, write_atomically

    if path.suffix == ".safetensors":
        save_file(arrays, path)
    elif path.suffix == ".npz":
        # Not numpy.savez, to which an array cannot have any name, and which writes the time.
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        write_atomically(path, packed.getbuffer())
    else:
        from gpunn._torch_file import save

        save(dict(arrays), path)
