"""How the command line trains: optimisers, schedules and augmentations by name."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gpunn.cli.datasets import Defaults
from gpunn.errors import UsageError, nearest

# Name -> customary learning rate; None: that of the data.
OPTIMIZERS: dict[str, float | None] = {
    "sgd": None,
    "adam": 1e-3,
    "adamw": 1e-3,
    "adagrad": 1e-2,
    "rmsprop": 1e-3,
    "lamb": 2e-3,
}
SCHEDULES = {
    "constant": "the same throughout",
    "exponential": "times --lr-decay after every epoch",
    "step": "times --lr-decay after each third of the epochs",
    "cosine": "half a cosine down to 0, step by step",
    "warmup-cosine": "up in the first epoch, then cosine",
    "one-cycle": "up to --lr in the first 30 %, then down to almost 0, step by step",
    "plateau": "times --lr-decay when the test loss has not fallen for 2 epochs",
}
AUGMENTATIONS = {
    "crop": "shifted by up to an eighth of the size, edges zero",
    "flip": "mirrored left to right, every second one",
    "cutout": "a square of a quarter of the size set to zero",
    "jitter": "brightness, contrast and saturation changed by up to 20 %",
}
_DECAYING = ("exponential", "step", "plateau")
_WITH_MOMENTUM = {"sgd": 0.9, "rmsprop": 0.0}


def check_recipe(args: argparse.Namespace, defaults: Defaults) -> None:
    """Fill in what the command line left open, and refuse incompatible options."""
    for field in ("epochs", "batch_size"):
        if getattr(args, field) is None:
            setattr(args, field, getattr(defaults, field))
    if args.lr is None:
        customary = OPTIMIZERS[args.optimizer]
        args.lr = defaults.lr if customary is None else customary
    if args.schedule not in _DECAYING and args.lr_decay is not None:
        raise UsageError(f"--lr-decay: it is for the schedules {', '.join(_DECAYING)}; got --schedule {args.schedule}.")
    if args.schedule in _DECAYING and args.lr_decay is None:
        args.lr_decay = defaults.lr_decay if args.schedule == "exponential" else 0.1
    if args.optimizer not in _WITH_MOMENTUM and args.momentum is not None:
        raise UsageError(f"--momentum: it is for sgd and rmsprop; got --optimizer {args.optimizer}.")
    if args.momentum is None:
        args.momentum = _WITH_MOMENTUM.get(args.optimizer)
    if args.label_smoothing > 1:
        raise UsageError(f"--label-smoothing: expected a number from 0 to 1; got {args.label_smoothing:g}.")


def is_used(field: str, optimizer: str | None, schedule: str | None) -> bool:
    """Whether a hyper-parameter has a meaning with this optimiser and schedule (None: the default ones)."""
    if field == "momentum":
        return (optimizer or "sgd") in _WITH_MOMENTUM
    return field != "lr_decay" or (schedule or "exponential") in _DECAYING


def make_optimizer(args: argparse.Namespace, model: Any) -> Any:
    """The optimiser for a model's parameters, with weight decay on weights only (lecture, T3)."""
    from gpunn import optim

    groups = optim.decay_groups(model, args.weight_decay)
    options = {} if args.momentum is None else {"momentum": args.momentum}
    classes = {
        "sgd": optim.SGD,
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "adagrad": optim.Adagrad,
        "rmsprop": optim.RMSprop,
        "lamb": optim.LAMB,
    }
    return classes[args.optimizer](groups, lr=args.lr, **options)


def make_schedule(args: argparse.Namespace, optimizer: Any, steps: int) -> tuple[Any, str]:
    """The schedule, None for a constant rate, and when it steps: "epoch" or "step"; an epoch has ``steps``."""
    from gpunn.optim import lr_scheduler as schedules

    name, total = args.schedule, args.epochs * steps
    if name == "constant" or (name == "exponential" and args.lr_decay == 1):
        return None, "epoch"
    if name == "exponential":
        return schedules.ExponentialLR(optimizer, args.lr_decay), "epoch"
    if name == "step":
        return schedules.StepLR(optimizer, max(1, -(-args.epochs // 3)), args.lr_decay), "epoch"
    if name == "plateau":
        return schedules.ReduceLROnPlateau(optimizer, factor=args.lr_decay, patience=2), "epoch"
    if name == "cosine":
        return schedules.CosineAnnealingLR(optimizer, total), "step"
    if name == "one-cycle":
        return schedules.OneCycleLR(optimizer, args.lr, total_steps=total), "step"
    warm = schedules.LinearLR(optimizer, start_factor=0.1, total_iters=steps)
    rest = schedules.CosineAnnealingLR(optimizer, max(1, total - steps))
    return schedules.SequentialLR(optimizer, [warm, rest], [steps]), "step"


def schedule_text(args: argparse.Namespace) -> str:
    """The schedule in words, for the line that describes the run."""
    if args.schedule == "constant" or (args.schedule == "exponential" and args.lr_decay == 1):
        return ""
    if args.schedule == "exponential":
        return f" (times {args.lr_decay:g} after every epoch)"
    return f" (schedule {args.schedule}{f', factor {args.lr_decay:g}' if args.schedule in _DECAYING else ''})"


def augmentation(names: str | None, dataset: Any) -> Any:
    """The random changes of a data set's training images, or None."""
    if names is None:
        return None
    from gpunn.data import transforms

    _, height, width = dataset.input_shape
    size = min(height, width)
    made: dict[str, Callable[[], Any]] = {
        "crop": lambda: transforms.RandomCrop((height, width), padding=max(1, size // 8)),
        "flip": transforms.RandomHorizontalFlip,
        "cutout": lambda: transforms.Cutout(max(1, size // 4)),
        "jitter": lambda: transforms.ColorJitter(0.2, 0.2, 0.2, mean=dataset.mean, std=dataset.std),
    }
    chosen = []
    for name in names.split(","):
        if name not in made:
            raise UsageError(
                f"--augment: expected some of {', '.join(AUGMENTATIONS)}; got {name!r}{nearest(name, AUGMENTATIONS)}"
            )
        chosen.append(made[name]())
    return transforms.Compose(chosen)
