"""``python -m benchmarks.cifar10``: two trainings on CIFAR-10 from images that lie on the device.

    python -m benchmarks.cifar10 --recipe resnet9 --data-dir DIR    # 24 epochs; meant for 94 %
    python -m benchmarks.cifar10 --recipe speed --data-dir DIR      # 10 epochs, in the manner of arXiv:2404.00498

``resnet9`` is a small residual network with SGD: Nesterov's momentum, the rate up to 0.4 in the first fifth and down
to 0, label smoothing, crops, mirrored images, cutout. ``speed`` is ``CifarSpeedNet`` with a whitened first layer, a
rate 64 times as high for biases of batch norms, Lookahead, images mirrored in turns, and a test on six views of each.
Neither has run on a GPU yet, so nothing is said of accuracies and times there. Smaller runs: ``--train``, ``--epochs``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gpunn
from gpunn import nn, optim
from gpunn.cli.arguments import whole
from gpunn.data import CIFAR10, DeviceLoader, Subset
from gpunn.data.transforms import Compose, Cutout, RandomCrop, RandomHorizontalFlip
from gpunn.models import CifarSpeedNet, ResNet9
from gpunn.models.cifar_speed import flipped_and_shifted_scores
from gpunn.train import Callback, Trainer

_TEST_BATCH = 1000
_WHITENING_IMAGES = 5000


@dataclass
class Parts:
    """What a recipe trains, and how."""

    model: nn.Module
    optimizer: optim.Optimizer
    schedule: Any
    loss: Any
    transform: Any
    callbacks: list[Callback]
    drop_last: bool


def _triangle(steps: int, begin: float, peak: float, end: float) -> Callable[[int], float]:
    """A factor that rises from ``begin`` to 1 until the share ``peak`` of all steps, and falls to ``end``."""
    return lambda step: float(np.interp(step, [0, int(peak * steps), max(steps, 1)], [begin, 1, end]))


def resnet9(train_set: Any, classes: int, batch: int, steps: int, width: int | None) -> Parts:
    """The residual network."""
    model = ResNet9(train_set.input_shape[0], classes, width or 64)
    rate = 0.4 * batch / 512
    optimizer = optim.SGD(optim.decay_groups(model, 5e-4), lr=rate, momentum=0.9, nesterov=True)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, _triangle(steps, 0.0, 0.2, 0.0))
    height, across = train_set.input_shape[1:]
    transform = Compose([RandomCrop((height, across), padding=4), RandomHorizontalFlip(), Cutout(8)])
    return Parts(model, optimizer, schedule, nn.CrossEntropyLoss(label_smoothing=0.1), transform, [], False)


class _SpeedSchedule(optim.lr_scheduler.LambdaLR):
    """The rate, and with it how far Lookahead's slow weights go: all the way at first, a quarter at the end."""

    def __init__(self, optimizer: optim.Lookahead, steps: int) -> None:
        self._steps, self._lookahead = steps, optimizer
        super().__init__(optimizer, _triangle(steps, 0.2, 0.23, 0.07))

    def step(self, epoch: int | None = None) -> None:
        super().step() if epoch is None else super().step(epoch)
        self._lookahead.alpha = 1 - 0.95**5 * min(1.0, self.last_epoch / max(self._steps, 1)) ** 3


class _FreezeBias(Callback):
    """The whitening layer's bias is trained for three epochs."""

    def __init__(self, model: CifarSpeedNet) -> None:
        self._model = model

    def on_epoch_end(self, trainer: Any, record: Any) -> None:
        if record.epoch >= 3 and self._model.whiten.bias is not None:
            self._model.whiten.bias.requires_grad_(False)


class _EndOnSlow(Callback):
    """At the end the weights are Lookahead's slow ones, also between two looks."""

    def __init__(self, optimizer: optim.Lookahead, epochs: int) -> None:
        self._optimizer, self._epochs = optimizer, epochs

    def on_epoch_end(self, trainer: Any, record: Any) -> None:
        if record.epoch == self._epochs:
            with gpunn.no_grad():
                for group in self._optimizer.param_groups:
                    for p in group["params"]:
                        if p in self._optimizer.state and "slow_buffer" in self._optimizer.state[p]:
                            p.copy_(self._optimizer.state[p]["slow_buffer"])


def speed(train_set: Any, classes: int, batch: int, steps: int, width: int | None) -> Parts:
    """The fast network; the paper's rate and decay are for 1,024 images and gradients that are sums over them."""
    widths = (64, 256, 256) if width is None else (width, 4 * width, 4 * width)
    model = CifarSpeedNet(train_set.input_shape[0], classes, widths)
    images = train_set.batch(np.arange(min(_WHITENING_IMAGES, len(train_set))))[0]
    model.whiten_(gpunn.tensor(images))
    momentum, faster = 0.85, 64
    share = batch / 1024 / (1 + 1 / (1 - momentum))  # of a step, as momentum makes it longer
    rate, decay = 11.5 * share, 0.0153 * share
    norms = [p for name, p in model.named_parameters() if "norm" in name and p.requires_grad]
    others = [p for name, p in model.named_parameters() if "norm" not in name and p.requires_grad]
    groups = [
        {"params": norms, "lr": faster * rate, "weight_decay": decay / (faster * rate)},
        {"params": others, "lr": rate, "weight_decay": decay / rate},
    ]
    optimizer = optim.Lookahead(optim.SGD(groups, lr=rate, momentum=momentum, nesterov=True), k=5, alpha=1.0)
    height, across = train_set.input_shape[1:]
    transform = Compose(
        [RandomCrop((height, across), padding=2, padding_mode="reflect"), RandomHorizontalFlip(alternate=True)]
    )
    return Parts(
        model,
        optimizer,
        _SpeedSchedule(optimizer, steps),
        nn.CrossEntropyLoss(label_smoothing=0.2),
        transform,
        [_FreezeBias(model)],
        True,
    )


RECIPES: dict[str, tuple[Callable[..., Parts], int, int]] = {"resnet9": (resnet9, 24, 512), "speed": (speed, 10, 1024)}
"""Name -> the recipe, its epochs and its batch size."""


def accuracy(model: nn.Module, loader: DeviceLoader, several_views: bool) -> float:
    """Percent right, of six views of each image or of the images alone."""
    model.eval()
    right = images = 0
    with gpunn.no_grad():
        for x, y in loader:
            scores = flipped_and_shifted_scores(model, x) if several_views else model(x)
            right += int((scores.argmax(1) == y).sum().item())
            images += len(y)
    model.train()
    return 100 * right / images


def run(
    recipe: str,
    train_set: Any,
    test_set: Any,
    *,
    device: str = "auto",
    epochs: int | None = None,
    batch: int | None = None,
    width: int | None = None,
    seed: int = 0,
    log: str | None = None,
) -> dict[str, Any]:
    """Train by a recipe; returns what came out, fit for a line of JSON."""
    make, usual_epochs, usual_batch = RECIPES[recipe]
    epochs, batch = epochs or usual_epochs, min(batch or usual_batch, len(train_set))
    gpunn.manual_seed(seed)
    per_epoch = len(train_set) // batch if make is speed else -(-len(train_set) // batch)
    parts = make(train_set, len(test_set.classes), batch, epochs * per_epoch, width)
    home = gpunn.device(device)
    begun = time.perf_counter()
    train = DeviceLoader(train_set, batch, True, drop_last=parts.drop_last, transform=parts.transform, device=home)
    test = DeviceLoader(test_set, _TEST_BATCH, device=home)
    uploaded = time.perf_counter()
    trainer = Trainer(
        parts.model,
        parts.optimizer,
        parts.loss,
        device=home,
        scheduler=parts.schedule,
        scheduler_every="step",
        log=log,
        callbacks=parts.callbacks,
    )
    if isinstance(parts.optimizer, optim.Lookahead):
        trainer.callbacks.append(_EndOnSlow(parts.optimizer, epochs))
    trainer.fit(train, epochs=epochs)
    home.synchronize()
    trained = time.perf_counter()
    plain, views = (accuracy(parts.model, test, several) for several in (False, True))
    return {
        "gpunn": gpunn.__version__,
        "recipe": recipe,
        "device": str(home),
        "seed": seed,
        "training_images": len(train_set),
        "epochs": epochs,
        "batch": batch,
        "losses": [round(record.train_loss, 4) for record in trainer.history],
        "train_accuracy_percent": round(trainer.history[-1].train_accuracy_percent, 2),
        "test_accuracy_percent": round(plain, 2),
        "test_accuracy_percent_of_six_views": round(views, 2),
        "upload_seconds": round(uploaded - begun, 2),
        "training_seconds": round(trained - uploaded, 2),
    }


def main(arguments: list[str] | None = None) -> int:
    """Train, and print a line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cifar10", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", choices=list(RECIPES), default="speed")
    parser.add_argument("--data-dir", type=Path, required=True, help="the folder of cifar-10-batches-bin, or itself")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--train", type=whole(1), metavar="N", help="only the first N training images")
    parser.add_argument("--test", type=whole(1), metavar="N", help="only the first N test images")
    parser.add_argument("--epochs", type=whole(1), metavar="N", help="24 for resnet9, 10 for speed")
    parser.add_argument("--batch-size", type=whole(1), metavar="N", help="512 for resnet9, 1024 for speed")
    parser.add_argument("--width", type=whole(1), metavar="N", help="channels of the first stage or block (default 64)")
    parser.add_argument("--seed", type=whole(0), metavar="N", default=0)
    options = parser.parse_args(arguments)
    parts = []
    for train, count in ((True, options.train), (False, options.test)):
        whole_set = CIFAR10(options.data_dir, train=train)
        parts.append(whole_set if count is None else Subset(whole_set, np.arange(min(count, len(whole_set)))))
    found = run(
        options.recipe,
        *parts,
        device=options.device,
        epochs=options.epochs,
        batch=options.batch_size,
        width=options.width,
        seed=options.seed,
        log="lines",
    )
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
