"""LeNet trained on real digits, through the Trainer: does it learn what it should, and how fast."""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

from benchmarks._report.book import Section

# What the epochs reach, with room for an unlucky one: five give 99 % and a little more.
_MNIST_LEAST = {1: 97.0, 2: 97.5, 3: 97.5, 4: 97.5, 5: 98.7}
_DIGITS_LEAST = 90.0  # after five epochs


def run(section: Section, options: argparse.Namespace) -> None:
    """Up to five epochs, as many as there is time for."""
    import gpunn
    from gpunn._device import device
    from gpunn.models import LeNet5

    home = device(options.device)
    tiny = home.name == "emulator"  # a step of the real LeNet takes it minutes
    train, test, name = _data(section, options, tiny)
    if train is None:
        return
    gpunn.manual_seed(0)
    model = LeNet5(channels=(2, 3), hidden=8) if tiny else LeNet5()
    section.value("data", f"{name}: {len(train)} training and {len(test)} test images")
    section.value("model", f"LeNet5, {sum(p.numel() for p in model.parameters())} parameters")
    if tiny:
        _few_steps(section, model, train, home)
    else:
        _epochs(section, options, model, train, test, name, home)


def _data(section: Section, options: argparse.Namespace, tiny: bool) -> tuple[Any, Any, str]:
    """Training and test set: MNIST where it is, else Digits, else nothing (and that is recorded)."""
    from gpunn.data import MNIST, Digits
    from gpunn.errors import DataError

    folder = options.data_dir or os.environ.get("GPUNN_DATA")
    if folder and not tiny:
        inner = Path(folder) / "mnist"
        root = inner if inner.is_dir() else Path(folder)
        try:
            return MNIST(root, train=True), MNIST(root, train=False), "MNIST"
        except DataError as error:
            section.cut(f"MNIST: {error}")
    elif not tiny:
        section.cut("MNIST: neither --data-dir nor $GPUNN_DATA says where it is")
    try:
        return Digits(train=True), Digits(train=False), "Digits"
    except DataError as error:
        section.cut(f"Digits: {error}")
        return None, None, ""


def _few_steps(section: Section, model: Any, train: Any, home: Any) -> None:
    """What the emulator has time for: that steps run, captured, and give finite losses."""
    trainer = _trainer(model, home, 0.02)
    start = time.perf_counter()
    record = trainer.fit(_loader(train, 4, home, shuffle=True), max_steps=3)[-1]
    section.value("steps", record.step)
    section.value("loss", record.train_loss)
    section.value("seconds", time.perf_counter() - start)
    if not math.isfinite(record.train_loss):
        section.fail(f"the loss of {record.step} steps is {record.train_loss}")


def _epochs(
    section: Section, options: argparse.Namespace, model: Any, train: Any, test: Any, name: str, home: Any
) -> None:
    batch, lr = (128, 0.05) if name == "MNIST" else (32, 0.02)
    trainer = _trainer(model, home, lr)
    loaders = _loader(train, batch, home, shuffle=True), _loader(test, 500, home, shuffle=False)
    wanted = 1 if options.quick and name == "MNIST" else 5
    seconds = _estimate(train, batch, lr, home)
    section.value("seconds expected for an epoch", seconds)
    for epoch in range(1, wanted + 1):
        if seconds > section.remaining:
            section.cut(f"epochs {epoch} to {wanted}: one takes {seconds:.0f} s, {section.remaining:.0f} s were left")
            return
        record = trainer.fit(loaders[0], loaders[1], epochs=1)[-1]
        seconds = record.seconds
        section.row(
            "epochs",
            epoch=epoch,
            **{"training loss": record.train_loss, "test accuracy %": record.test_accuracy_percent},
            **{"images/s": record.images_per_second, "seconds with the test": record.seconds},
        )
        least = _MNIST_LEAST[epoch] if name == "MNIST" else _DIGITS_LEAST if epoch == wanted else 0.0
        if not record.test_accuracy_percent >= least:
            section.fail(f"{name}: {record.test_accuracy_percent:.2f} % after epoch {epoch}; expected {least} %")


def _trainer(model: Any, home: Any, lr: float) -> Any:
    from gpunn import Trainer
    from gpunn.optim import SGD

    return Trainer(model, SGD(model.parameters(), lr=lr, momentum=0.9), device=home, log=None)


def _loader(dataset: Any, batch: int, home: Any, shuffle: bool) -> Any:
    from gpunn.data import DataLoader

    return DataLoader(dataset, batch, shuffle=shuffle, device=home)


def _estimate(train: Any, batch: int, lr: float, home: Any) -> float:
    """Seconds that an epoch will take, from 20 steps of another model after 5 that compile and record."""
    from gpunn.models import LeNet5

    trainer = _trainer(LeNet5(), home, lr)
    loader = _loader(train, batch, home, shuffle=True)
    trainer.fit(loader, max_steps=5)
    record = trainer.fit(loader, max_steps=20)[-1]
    return 1.2 * record.seconds * len(loader) / 20  # and the test
