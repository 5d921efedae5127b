"""Train a network and test it after every epoch.

Without --out nothing is saved. With it, after every epoch the folder holds model.safetensors (the
weights), metrics.jsonl (one line per epoch) and config.json (what is needed to run again, to evaluate
and to predict). A seed determines weights, order, augmentation and dropout, the same on every device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.cli.arguments import number, one_of, whole
from gpunn.cli.datasets import DATA, add_data_arguments, defaults_for, folder_of, open_data
from gpunn.cli.models import MODEL_HELP, absolute, resolve
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

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer

_TEST_BATCH = 500
_FLAGS = [
    *("epochs", "batch_size", "lr", "optimizer", "schedule", "lr_decay", "momentum", "weight_decay"),
    *("label_smoothing", "augment", "seed", "max_steps"),
]


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""

    def default(field: str) -> str:
        return ", ".join(f"{getattr(d, field)} for {name}" for name, d in DATA.items())

    add("model", help=MODEL_HELP)
    add_data_arguments(add)
    add("--epochs", type=whole(1), metavar="N", help=f"passes over the data (default: {default('epochs')})")
    add("--batch-size", type=whole(1), metavar="N", help=f"images per step (default: {default('batch_size')})")
    add(
        "--optimizer",
        type=one_of(OPTIMIZERS),
        default="sgd",
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
        default="exponential",
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
        default=0.0,
        metavar="X",
        help="on weights, not on biases and norms (default: 0)",
    )
    add("--label-smoothing", type=number(positive=False), default=0.0, metavar="X", help="of the loss (default: 0)")
    add(
        "--augment",
        metavar="NAMES",
        help=f"change training images at random: {', '.join(AUGMENTATIONS)}; several with commas",
    )
    add("--seed", type=whole(0, None), default=0, metavar="N", help="default: 0")
    add(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda, cuda:1, emulator, ... or auto: a GPU if there is one (the default)",
    )
    add("--out", type=Path, metavar="DIR", help="save weights, metrics and configuration here")
    add("--max-steps", type=whole(1), metavar="N", help="stop after so many steps")
    add("--workers", type=whole(0), default=0, metavar="N", help="threads that prepare batches (default: 0)")
    add("--no-capture", action="store_true", help="launch every kernel by itself, not a step as one graph")


def run(args: argparse.Namespace) -> int:
    """Check everything that was requested, then train."""
    entry = resolve(args.model)
    check_recipe(args, defaults_for(args.data))

    from gpunn._device import device
    from gpunn.serialize import check_writable_folder

    home = device(args.device)
    train_set, test_set = open_data(args)
    change = augmentation(args.augment, train_set)
    # Last, as it makes the folder.
    if args.out is not None:
        check_writable_folder(args.out)

    from gpunn.data import DataLoader
    from gpunn.nn import CrossEntropyLoss
    from gpunn.random import manual_seed
    from gpunn.train import Trainer

    manual_seed(args.seed)
    model = entry.build(train_set.input_shape, len(train_set.classes))
    train_loader = DataLoader(
        train_set, args.batch_size, shuffle=True, device=home, num_workers=args.workers, transform=change
    )
    test_loader = DataLoader(test_set, _TEST_BATCH, device=home, num_workers=args.workers)
    optimizer = make_optimizer(args, model)
    schedule, every = make_schedule(args, optimizer, len(train_loader))
    trainer = Trainer(
        model,
        optimizer,
        CrossEntropyLoss(label_smoothing=args.label_smoothing),
        device=home,
        scheduler=schedule,
        scheduler_every=every,
        capture=not args.no_capture,
        out=args.out,
        config=_config(args, train_set),
    )
    parameters = sum(p.numel() for p in model.parameters())
    momentum = "" if args.momentum is None else f", momentum {args.momentum:g}"
    print(
        f"Training {args.model} ({parameters:,} parameters) on {args.data} ({len(train_set):,} training and "
        f"{len(test_set):,} test images) on {home}: {args.epochs} epochs in batches of {args.batch_size}, "
        f"{type(optimizer).__name__} with learning rate {args.lr:g}{schedule_text(args)}{momentum}, "
        f"weight decay {args.weight_decay:g}, seed {args.seed}.",
        flush=True,
    )
    try:
        trainer.fit(train_loader, test_loader, args.epochs, args.max_steps)
    except KeyboardInterrupt:
        print(f"gpunn: interrupted; {_outcome(trainer, args.epochs)}", file=sys.stderr)
        return 130
    print(_outcome(trainer, args.epochs))
    return 0


def _outcome(trainer: Trainer, epochs: int) -> str:
    """The result and where it was saved, in one line."""
    if not trainer.history:
        return "no epoch was complete, so nothing was saved."
    last = trainer.history[-1]
    reached = f"test accuracy {last.test_accuracy_percent:.2f} %"
    text = f"{reached} after epoch {last.epoch} of {epochs} (step {last.step}); "
    if trainer.folder is None:
        return text + "nothing was saved: give --out DIR to keep the weights."
    files = trainer.folder
    names = ", ".join(path.name for path in (files.weights, files.metrics, files.config))
    return f"{text}{files.path} holds {names}."


def _config(args: argparse.Namespace, train_set: Any) -> dict[str, Any]:
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
