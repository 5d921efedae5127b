"""Train a network and test it after every epoch.

The run is kept in --out, or else in a new folder runs/NAME-TIME. After every epoch it holds model.safetensors (the
weights), metrics.jsonl (one line per epoch, see gpunn plot --help), config.json (what is needed to run again, to
evaluate and to predict) and checkpoints, from which --resume goes on bit for bit after a crash, a full disk or Ctrl-C.
A seed determines weights, order, augmentation and dropout, the same on every device.

mpiexec -n 4 gpunn train ..., or srun, trains with several processes, each on a GPU or cores of its own: every batch is
divided among them, and the first one shows and writes what there is.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gpunn.cli import ranks
from gpunn.cli.arguments import number, one_of, whole
from gpunn.cli.datasets import DATA, add_data_arguments, defaults_for, folder_of, open_data
from gpunn.cli.models import MODEL_HELP, absolute, resolve
from gpunn.cli.precision import add_precision_arguments, products_in
from gpunn.cli.recipe import (
    AUGMENTATIONS,
    OPTIMIZERS,
    SCHEDULES,
    augmentation,
    check_recipe,
    make_optimizer,
    make_schedule,
    schedule_text,
)
from gpunn.cli.resume import saved_arguments
from gpunn.cli.watching import add_watch_arguments, callbacks, check_watch_arguments, new_folder
from gpunn.errors import UsageError

if TYPE_CHECKING:
    from gpunn.models import ModelEntry
    from gpunn.train.trainer import Trainer

_TEST_BATCH = 500
_FLAGS = [
    *("epochs", "batch_size", "lr", "optimizer", "schedule", "lr_decay", "momentum", "weight_decay"),
    *("label_smoothing", "augment", "seed", "max_steps", "accumulate", "clip_grad_norm", "not_finite"),
    *("precision", "autocast", "checkpoint_every", "keep", "patience", "monitor"),
]
# What ends training after the running step; a closed terminal sends the third.
_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""

    def default(field: str) -> str:
        return ", ".join(f"{getattr(d, field)} for {name}" for name, d in DATA.items())

    add("model", nargs="?", help=MODEL_HELP)
    add_data_arguments(add, default="digits")
    add("--epochs", type=whole(1), metavar="N", help=f"passes over the data (default: {default('epochs')})")
    add(
        "--batch-size",
        type=whole(1),
        metavar="N",
        help=f"images per step, of all processes (default: {default('batch_size')})",
    )
    add(
        "--optimizer",
        type=one_of(OPTIMIZERS),
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: sgd)",
    )
    add(
        "--lr",
        type=number(positive=True),
        metavar="X",
        help=f"learning rate (default: for sgd {default('lr')}; for the others "
        f"{', '.join(f'{lr:g} for {name}' for name, lr in OPTIMIZERS.items() if lr is not None)})",
    )
    add(
        "--schedule",
        type=one_of(SCHEDULES),
        metavar="NAME",
        help="; ".join(f"{name}: {text}" for name, text in SCHEDULES.items()) + " (default: exponential)",
    )
    add(
        "--lr-decay",
        type=number(positive=True),
        metavar="X",
        help=f"the factor of exponential, step and plateau (default: {default('lr_decay')} for exponential, else 0.1)",
    )
    add("--momentum", type=number(positive=False), metavar="X", help="of sgd and rmsprop (default: 0.9 for sgd)")
    add(
        "--weight-decay",
        type=number(positive=False),
        metavar="X",
        help="on weights, not on biases and norms (default: 0)",
    )
    add("--label-smoothing", type=number(positive=False), metavar="X", help="of the loss (default: 0)")
    add(
        "--augment",
        metavar="NAMES",
        help=f"change training images at random: {', '.join(AUGMENTATIONS)}; several with commas",
    )
    add("--clip-grad-norm", type=number(positive=True), metavar="X", help="scale larger gradients down to this norm")
    add(
        "--accumulate",
        type=whole(1),
        metavar="N",
        help="make each step in N pieces of the batch, which need an Nth of the memory (default: 1)",
    )
    add(
        "--not-finite",
        type=one_of(("stop", "skip")),
        metavar="NAME",
        help="where a loss or gradient is not finite: stop (the default), or skip the step",
    )
    add_precision_arguments(add)
    add("--seed", type=whole(0, None), metavar="N", help="default: 0")
    add(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1, emulator, ... or auto: a GPU if there is one (the default)",
    )
    add("--out", type=Path, metavar="DIR", help="keep the run here (default: a new folder in runs/)")
    add_watch_arguments(add)
    add("--overwrite", action="store_true", help="let the run take the place of an earlier one in --out")
    add("--resume", type=Path, metavar="RUN", help="go on with the run in this folder, from its last whole checkpoint")
    add("--trust", action="store_true", help="with --resume: run the Python file that the run names")
    add("--checkpoint-every", type=whole(1), metavar="N", help="a checkpoint every N steps too, not only every epoch")
    add("--keep", type=whole(1), metavar="N", help="how many checkpoints stay, beside the best epoch's (default: 2)")
    add("--max-steps", type=whole(1), metavar="N", help="stop after so many steps")
    add(
        "--resident",
        action="store_true",
        help="keep all images on the device; shuffle and augment them there, in the captured step",
    )
    add("--workers", type=whole(0), metavar="N", help="threads that prepare batches (default: 0)")
    add("--no-capture", action="store_true", help="launch every kernel by itself, not a step as one graph")


def run(args: argparse.Namespace) -> int:
    """Check everything that was requested, then train."""
    resumed: Path | None = args.resume
    if resumed is not None:
        args, entry = saved_arguments(args, add_arguments)
    elif args.model is None:
        raise UsageError(f"expected {MODEL_HELP}; or --resume RUN.")
    elif args.trust:
        raise UsageError("--trust: it is for --resume; a network that you name yourself is trusted.")
    else:
        entry = resolve(args.model)
    fill(args)
    check_watch_arguments(args)
    if args.resident and args.workers:
        raise UsageError("--workers: its threads prepare batches on the host; --resident has them on the device.")
    check_recipe(args, defaults_for(args.data))

    from gpunn._device import device
    from gpunn.train._forward import half_of
    from gpunn.train.run_folder import RunFolder

    home = device(args.device)
    half_of(args.autocast)  # refuses one that is not here
    train_set, test_set = ranks.first_then_others(lambda: open_data(args))
    change = augmentation(args.augment, train_set)
    # Last, as it makes the folder.
    if args.out is not None and ranks.is_first():
        RunFolder(args.out).check_free(args.overwrite or resumed is not None)

    parts = make_parts(args, entry, home, train_set, test_set, change)
    watching = callbacks(args, train_set, home)
    named = args.out is not None
    if not named and not args.no_save:
        args.out = ranks.from_first(lambda: new_folder(args.model))
    # Killed before its first checkpoint, a resumed run begins anew.
    trainer = make_trainer(
        args, parts, home, config_of(args, train_set), watching, overwrite=args.overwrite or resumed is not None
    )
    if resumed is not None:
        complaints = trainer.resume()
        for complaint in complaints if ranks.is_first() else ():
            print(f"gpunn: warning: {complaint}", file=sys.stderr)
    epochs = args.epochs - trainer.epoch
    steps = None if args.max_steps is None else args.max_steps - trainer.step
    if epochs < 1 or steps == 0 or trainer.stop_reason is not None:
        print(f"The run in {args.out} is complete: {_outcome(trainer, args.epochs)}")
        return 0
    kept = "" if named or args.no_save else f" It is kept in {args.out}."
    print(_announcement(args, train_set, test_set, home, trainer) + kept, flush=True)
    try:
        with products_in(args):
            trainer.fit(parts.train_loader, parts.test_loader, epochs, steps)
    except KeyboardInterrupt as stopped:
        if ranks.is_first():
            print(f"gpunn: interrupted; {_outcome(trainer, args.epochs)}{_how_to_go_on(trainer)}", file=sys.stderr)
        return 128 + getattr(stopped, "signum", signal.SIGINT)
    print(_outcome(trainer, args.epochs))
    return 0


class Parts(NamedTuple):
    """What a trainer trains, and on what."""

    model: Any
    optimizer: Any
    schedule: Any
    schedule_every: str
    train_loader: Any
    test_loader: Any


def make_parts(
    args: argparse.Namespace, entry: ModelEntry, home: Any, train_set: Any, test_set: Any, change: Any
) -> Parts:
    """Seed the generators, and build what the filled-in arguments ask for; ``change`` is the augmentation or None."""
    from gpunn.data import DataLoader, DeviceLoader
    from gpunn.random import manual_seed

    manual_seed(args.seed)
    model = entry.build(train_set.input_shape, len(train_set.classes))
    train_loader: Any
    test_loader: Any
    if args.resident:
        train_loader = DeviceLoader(train_set, args.batch_size, True, transform=change, device=home)
        test_loader = DeviceLoader(test_set, _TEST_BATCH, device=home)
    else:
        train_loader = DataLoader(
            train_set, args.batch_size, shuffle=True, device=home, num_workers=args.workers, transform=change
        )
        test_loader = DataLoader(test_set, _TEST_BATCH, device=home, num_workers=args.workers)
    optimizer = make_optimizer(args, model)
    schedule, every = make_schedule(args, optimizer, len(train_loader))
    return Parts(model, optimizer, schedule, every, train_loader, test_loader)


def make_trainer(
    args: argparse.Namespace,
    parts: Parts,
    home: Any,
    config: dict[str, Any],
    watching: Sequence[Any],
    *,
    overwrite: bool,
    log: str | None = "auto",
) -> Trainer:
    """The trainer of these parts, which keeps its run in ``args.out`` and ends after the running step on a signal."""
    from gpunn.nn import CrossEntropyLoss
    from gpunn.train import Trainer

    trainer = Trainer(
        parts.model,
        parts.optimizer,
        CrossEntropyLoss(label_smoothing=args.label_smoothing),
        device=home,
        scheduler=parts.schedule,
        scheduler_every=parts.schedule_every,
        capture=not args.no_capture,
        out=args.out,
        log=log,
        callbacks=watching,
        config=config,
        overwrite=overwrite,
        checkpoint_every=args.checkpoint_every,
        keep=args.keep,
        accumulate=args.accumulate,
        clip_grad_norm=args.clip_grad_norm,
        not_finite=args.not_finite,
        autocast=args.autocast,
    )
    trainer.stop_signals = tuple(_STOPPING)
    return trainer


def fill(args: argparse.Namespace) -> None:
    """Fill in what does not depend on the data; until then None says that it was not given."""
    defaults = {
        "data": "digits",
        "optimizer": "sgd",
        "schedule": "exponential",
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "seed": 0,
        "device": "auto",
        "workers": 0,
        "accumulate": 1,
        "not_finite": "stop",
        "keep": 2,
    }
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def _announcement(args: argparse.Namespace, train_set: Any, test_set: Any, home: Any, trainer: Trainer) -> str:
    """What is about to be trained, in one line."""
    parameters = sum(p.numel() for p in trainer.model.parameters())
    momentum = "" if args.momentum is None else f", momentum {args.momentum:g}"
    begin = "Training"
    if trainer.step:
        begin = f"Going on with {args.out} after step {trainer.step} (epoch {trainer.epoch + 1}): training"
    return (
        f"{begin} {args.model} ({parameters:,} parameters) on {args.data} ({len(train_set):,} training and "
        f"{len(test_set):,} test images) on {home}{_on_ranks()}: {args.epochs} epochs in batches of {args.batch_size}, "
        f"{type(trainer.optimizer).__name__} with learning rate {args.lr:g}{schedule_text(args)}{momentum}, "
        f"weight decay {args.weight_decay:g}, seed {args.seed}{_in_precision(args)}."
    )


def _in_precision(args: argparse.Namespace) -> str:
    found = [args.autocast] if args.autocast else []
    found += [f"float32 products by {args.precision}"] if args.precision not in (None, "fp32") else []
    return f", in {' and '.join(found)}" if found else ""


def _on_ranks() -> str:
    count = ranks.count()
    return "" if count == 1 else f" and {count - 1} more process{'es' if count > 2 else ''}"


def _outcome(trainer: Trainer, epochs: int) -> str:
    """The result and where it was saved, in one line."""
    if not trainer.history:
        return "no epoch was complete, so no weights were saved."
    last = trainer.history[-1]
    reached = f"test accuracy {last.test_accuracy_percent:.2f} %"
    if trainer.stop_reason is not None:
        reached = f"{trainer.stop_reason}; {reached}"
    text = f"{reached} after epoch {last.epoch} of {epochs} (step {last.step}); "
    if trainer.folder is None:
        return text + "nothing was saved."
    files = trainer.folder
    names = ", ".join(path.name for path in (files.weights, files.metrics, files.config))
    return f"{text}{files.path} holds {names}."


def _how_to_go_on(trainer: Trainer) -> str:
    if trainer.folder is None:
        return ""
    steps = trainer.folder.steps()
    after = f" after step {steps[-1]}" if steps else " from the beginning"
    return f" gpunn train --resume {shlex.quote(str(trainer.folder.path))} goes on{after}."


def config_of(args: argparse.Namespace, train_set: Any) -> dict[str, Any]:
    """What ``config.json`` keeps of the command line: ``gpunn`` followed by ``command`` runs it again.

    Mean and deviation of the training images are kept with the model, because predictions need them.
    """
    folder = folder_of(args)
    data = args.data if args.data in DATA else str(Path(args.data).resolve())
    command = ["train", absolute(args.model), "--data", data]
    if folder is not None:
        command += ["--data-dir", str(folder.resolve())]
    if args.image_size is not None:
        command += ["--image-size", str(args.image_size)]
    if args.max_pixels is not None:
        command += ["--max-pixels", str(args.max_pixels)]
    for flag in _FLAGS:
        value = getattr(args, flag)
        if value is not None:
            command += [f"--{flag.replace('_', '-')}", str(value)]
    command += [f"--{flag}" for flag in ("tensorboard", "health", "resident") if getattr(args, flag)]
    command += ["--device", args.device, *(["--no-capture"] if args.no_capture else [])]
    return {
        "command": command,
        "model": {
            "name": absolute(args.model),
            "input_shape": list(train_set.input_shape),
            "classes": len(train_set.classes),
        },
        "data": {
            "name": data,
            "image_size": args.image_size,
            "folder": None if folder is None else str(folder.resolve()),
            "classes": list(train_set.classes),
            "mean": _numbers(train_set.mean),
            "std": _numbers(train_set.std),
        },
    }


def _numbers(value: Any) -> list[float]:
    return [float(v) for v in (value if hasattr(value, "__len__") else (value,))]
