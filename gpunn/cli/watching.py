"""Watching a run: where it is kept by default, early stopping, TensorBoard's files, layer health."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn.cli.arguments import one_of, whole
from gpunn.errors import UsageError, shortened

FOLDER = Path("runs")
MONITORS = ("test_loss", "test_accuracy_percent", "train_loss", "train_accuracy_percent")
_EXAMINED = 200  # images: enough to tell a dead unit from one that is seldom needed


def add_watch_arguments(add: Callable[..., Any]) -> None:
    """``--no-save``, ``--patience``, ``--monitor``, ``--tensorboard``, ``--health``."""
    add("--no-save", action="store_true", help="keep nothing: neither --out nor a new folder in runs/")
    add("--patience", type=whole(1), metavar="N", help="stop after N epochs without an improvement of --monitor")
    add(
        "--monitor",
        type=one_of(MONITORS),
        metavar="NAME",
        help=f"what --patience watches: {', '.join(MONITORS)} (default: test_loss)",
    )
    add("--tensorboard", action="store_true", help="write files for TensorBoard to the run's folder too")
    add(
        "--health",
        action="store_true",
        help="look at the layers before training and after each epoch: gradients that vanish or explode, dead units, "
        "saturated activations",
    )


def check_watch_arguments(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises
    ------
    UsageError
    """
    if args.monitor is not None and args.patience is None:
        raise UsageError("--monitor: it says what --patience N watches; give both.")
    if args.no_save and args.out is not None:
        raise UsageError("--no-save: it keeps nothing, and --out says where to keep it; give one of them.")
    if args.no_save and args.tensorboard:
        raise UsageError("--tensorboard: its files are in the run's folder, and --no-save keeps nothing.")


def callbacks(args: argparse.Namespace, train_set: Any, device: Any) -> list[Any]:
    """The trainer's callbacks that the options ask for.

    Raises
    ------
    UsageError
        If TensorBoard's package is missing.
    """
    from gpunn.train import EarlyStopping, HealthCheck, TensorBoard

    found: list[Any] = []
    if args.health:
        batches = sample(train_set, args.batch_size, args.batch_size if device.name == "emulator" else _EXAMINED)
        found.append(HealthCheck(batches, max_batches=len(batches)))
    if args.tensorboard:
        found.append(TensorBoard())
    if args.patience is not None:
        found.append(EarlyStopping(args.monitor or "test_loss", patience=args.patience))
    return found


def sample(dataset: Any, batch_size: int, images: int = _EXAMINED) -> list[Any]:
    """Batches of images spread over a dataset, as arrays: always the same ones, and no generator is used."""
    import numpy as np

    numbers = np.unique(np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int))
    return [dataset.batch(numbers[start : start + batch_size]) for start in range(0, len(numbers), batch_size)]


def new_folder(model: str) -> Path:
    """Make ``runs/<name>-<time>`` for a network's name or ``file.py:Net``; no other process gets the same.

    Raises
    ------
    UsageError
        If the system refuses.
    """
    name = re.sub(r"[^\w.-]+", "-", model.rpartition(":")[2]).strip(".-") or "run"
    stem = f"{name[:60]}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 1000):
        path = FOLDER / (stem if number == 1 else f"{stem}-{number}")
        try:
            FOLDER.mkdir(exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not FOLDER.is_dir():
                raise UsageError("runs: expected a folder to keep the run in; it is a file. Give --out DIR.") from None
            continue
        except OSError as error:
            raise UsageError(
                f"{shortened(Path.cwd() / path, 300)}: could not be made: {error.strerror or error}. Give --out DIR, "
                "or --no-save to keep nothing."
            ) from error
        return path
    raise UsageError(f"{FOLDER / stem}: a thousand runs began in this second. Give --out DIR.")
