"""Trainer: epochs of steps, each step one captured launch where the device supports that."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gpunn._capture import capture as capture_step
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._tensor import Tensor
from gpunn.errors import TrainingError, UsageError
from gpunn.nn.loss import CrossEntropyLoss
from gpunn.nn.module import Module
from gpunn.optim.lr_scheduler import ReduceLROnPlateau
from gpunn.optim.optimizer import Optimizer
from gpunn.random import default_generator
from gpunn.train.callbacks import Callback, EpochRecord, Progress
from gpunn.train.evaluation import Evaluation, Evaluator, Totals, check_tensors, labelled_batch, running
from gpunn.train.progress import reporter
from gpunn.train.run_folder import RunFolder, machine, versions

_READ_EVERY = 50  # steps between reads of the totals on a GPU, where each read waits for the device


class Trainer:
    """Train a classifier, test it after every epoch, and save completed epochs.

    A step is: zero the gradients, forward, loss, backward, update, and add to the running totals.
    It runs through :func:`gpunn.capture`: on ``cuda`` as one graph launch. Nothing in it waits for
    the device; the totals are read every 50 steps there (every step on the CPU) and at the end of an
    epoch.

    Parameters
    ----------
    model : Module
        Returns scores (N, classes). It is moved to the device, in place.
    optimizer : optimiser
        From ``gpunn.optim``, holding the model's parameters.
    loss : callable, optional
        ``loss(scores, labels)``, the mean over the batch. :class:`~gpunn.nn.CrossEntropyLoss` if not given.
    device : Device or str
        Where it runs; "auto" is a GPU if there is a working one, else the CPU.
    scheduler : learning-rate schedule, optional
        From ``gpunn.optim.lr_scheduler``, holding the optimiser. A ``ReduceLROnPlateau`` is given the test
        loss, or the training loss where nothing is tested.
    scheduler_every : "epoch" or "step"
        When ``scheduler.step()`` is called: after every epoch and its test, or after every step.
    capture : bool
        Capture the step and replay it, where the device has kernels. False runs it as written.
    out : path-like, optional
        A folder for ``metrics.jsonl``, ``config.json`` and ``model.safetensors``, written after every epoch
        (:class:`~gpunn.train.run_folder.RunFolder`). The constructor checks it, before any work.
    log : "auto", "bar", "lines" or None
        What to show on standard output: see :func:`~gpunn.train.progress.reporter`.
    callbacks : iterable of Callback
        Called after ``log``.
    config : mapping, optional
        More for ``config.json``: whatever is needed to rebuild model and data.

    Attributes
    ----------
    epoch, step : int
        How many are done, over all calls of :meth:`fit`.
    history : list of EpochRecord

    Raises
    ------
    UsageError
        If the optimiser holds none of the model's parameters, or ``out`` cannot be written.
    DeviceError
        If this machine does not have the device.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        device: Device | str = "auto",
        scheduler: Any = None,
        scheduler_every: str = "epoch",
        capture: bool = True,
        out: str | os.PathLike[str] | None = None,
        log: str | None = "auto",
        callbacks: Iterable[Callback] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        own = {id(p) for p in model.parameters()}
        if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            raise UsageError(
                "Trainer: the optimiser holds none of the model's parameters, so nothing would be trained; "
                "build it from this model's .parameters()."
            )
        if scheduler_every not in ("epoch", "step"):
            raise UsageError(f"Trainer: scheduler_every: expected 'epoch' or 'step'; got {scheduler_every!r}.")
        if scheduler is not None and scheduler.optimizer is not optimizer:
            raise UsageError("Trainer: the schedule holds another optimiser; build it from the one given here.")
        if isinstance(scheduler, ReduceLROnPlateau) and scheduler_every == "step":
            raise UsageError("Trainer: ReduceLROnPlateau watches whole epochs; use scheduler_every='epoch'.")
        shown = reporter(log)
        self.device = get_device(device)
        self.folder = None if out is None else RunFolder(out)
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.loss = CrossEntropyLoss() if loss is None else loss
        self.scheduler = scheduler
        self.scheduler_every = scheduler_every
        self.capture = capture
        self.callbacks = [*([shown] if shown else []), *callbacks]
        self.epoch = 0
        self.step = 0
        self.history: list[EpochRecord] = []
        self._config = dict(config or {})
        self._totals = Totals(self.device)
        self._read_every = 1 if self.device.xp is np else _READ_EVERY
        self._train_step = capture_step(self._train) if capture else self._train
        self._evaluator = Evaluator(self.model, self.loss, self.device, capture)

    # -- the steps ---------------------------------------------------------------------------

    def _train(self, x: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        scores = self.model(x)
        loss = self.loss(scores, labels)
        check_tensors(scores, loss)
        loss.backward()
        self.optimizer.step()
        self._totals.add(loss, scores, labels)

    # -- training ----------------------------------------------------------------------------

    def fit(
        self,
        train_loader: Any,
        test_loader: Iterable[Any] | None = None,
        epochs: int = 1,
        max_steps: int | None = None,
    ) -> list[EpochRecord]:
        """Train for ``epochs`` more epochs, and test after each.

        Parameters
        ----------
        train_loader : iterable of (images, labels)
            A :class:`~gpunn.data.DataLoader`, or anything with a length that yields pairs of tensors.
        test_loader : iterable of (images, labels), optional
        epochs : int
        max_steps : int, optional
            Stop after this many steps of this call; the epoch they end in is tested and saved as it is.

        Returns
        -------
        list of EpochRecord
            ``history``.

        Raises
        ------
        TrainingError
            If the loss is no longer finite; the message says at which step.
        KeyboardInterrupt
            On Ctrl-C; ``history`` and the files hold every complete epoch.
        """
        for name, value in (("epochs", epochs), ("max_steps", max_steps)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"Trainer.fit: {name}: expected a whole number of at least 1; got {value!r}.")
        if not hasattr(train_loader, "__len__"):
            raise UsageError(
                "Trainer.fit: expected a loader that knows how many batches it gives; "
                f"{type(train_loader).__name__} has no length. Wrap the data in a DataLoader."
            )
        steps = len(train_loader)
        last_epoch = self.epoch + epochs
        last_step = None if max_steps is None else self.step + max_steps
        config = self._describe(train_loader, epochs, max_steps)
        if not self.model.training:  # otherwise inner modules that were frozen by .eval() stay frozen
            self.model.train()
        with running(self.device), contextlib.ExitStack() as ending:
            for callback in self.callbacks:
                ending.callback(callback.on_fit_end, self)
                callback.on_fit_begin(self, last_epoch, steps)
            while self.epoch < last_epoch and self.step != last_step:
                record = self._run_epoch(train_loader, test_loader, last_epoch, last_step)
                self._schedule_epoch(record)
                if self.folder is not None:
                    self.folder.save(self.model, record, config)
                self.history.append(record)
                for callback in self.callbacks:
                    callback.on_epoch_end(self, record)
        return self.history

    def _run_epoch(self, train_loader: Any, test_loader: Any, last_epoch: int, last_step: int | None) -> EpochRecord:
        epoch, done = self.epoch + 1, 0
        steps = len(train_loader) if last_step is None else min(len(train_loader), last_step - self.step)
        start = time.perf_counter()
        self._totals.clear()
        for done, batch in enumerate(train_loader, 1):
            images, labels = labelled_batch(batch, self.device)
            self._train_step(images, labels)
            self.step += 1
            if self.scheduler is not None and self.scheduler_every == "step":
                self.scheduler.step()
            if done % self._read_every == 0 or done == steps:
                seen = self._totals.read()
                elapsed = time.perf_counter() - start
                self._refuse_not_finite(
                    seen.loss, f"the training loss became {seen.loss}", (done - 1) % self._read_every, images
                )
                told = Progress(epoch, last_epoch, done, steps, seen.loss, seen.accuracy_percent, seen.images / elapsed)
                for callback in self.callbacks:
                    callback.on_progress(self, told)
            if done == steps:
                break
        else:
            raise UsageError(f"Trainer.fit: the training loader gave {done} batches; its length says {steps}.")
        tested = None if test_loader is None else self.evaluate(test_loader)
        if tested is not None:
            self._refuse_not_finite(tested.loss, f"the test loss after epoch {epoch} is {tested.loss}", 0)
        self.epoch = epoch
        return EpochRecord(
            epoch=epoch,
            step=self.step,
            train_loss=seen.loss,
            train_accuracy_percent=seen.accuracy_percent,
            test_loss=None if tested is None else tested.loss,
            test_accuracy_percent=None if tested is None else tested.accuracy_percent,
            images_per_second=seen.images / elapsed,
            seconds=time.perf_counter() - start,
            lr=float(self.optimizer.param_groups[0]["lr"]),
        )

    def _schedule_epoch(self, record: EpochRecord) -> None:
        if self.scheduler is None or self.scheduler_every == "step":
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(record.train_loss if record.test_loss is None else record.test_loss)
        else:
            self.scheduler.step()

    def evaluate(self, loader: Iterable[Any]) -> Evaluation:
        """Mean loss and accuracy over ``loader``, in evaluation mode; modes are restored afterwards.

        Raises
        ------
        UsageError
            If the loader yields no batch.
        """
        return self._evaluator(loader)

    def _refuse_not_finite(self, loss: float, what: str, steps_before: int, images: Tensor | None = None) -> None:
        if math.isfinite(loss):
            return
        place = (
            f"step {self.step}" if not steps_before else f"one of the steps {self.step - steps_before} to {self.step}"
        )
        raise TrainingError(
            f"{what} at {place} (epoch {self.epoch + 1}){self._where_not_finite(images)}. Lower the learning rate (now "
            f"{self.optimizer.param_groups[0]['lr']:g}), and see that the images are finite and standardised."
        )

    def _where_not_finite(self, images: Tensor | None) -> str:
        """The layer whose input or parameters first contain non-finite numbers, as part of a sentence."""
        layers = [(name, layer) for name, layer in self.model.named_modules() if not list(layer.children())]
        if images is not None and layers and not np.isfinite(images.numpy()).all():
            name, layer = layers[0]
            return f"; the images given to {name} ({type(layer).__name__}) have values that are not finite"
        for name, layer in layers:
            for parameter, values in layer.named_parameters():
                if not np.isfinite(values.detach().numpy()).all():
                    return f"; {name} ({type(layer).__name__}) is the first layer whose {parameter} is not finite"
        return ""

    def _describe(self, loader: Any, epochs: int, max_steps: int | None) -> dict[str, Any]:
        """The contents of ``config.json``: enough to run again."""
        groups = [
            {**{k: v for k, v in group.items() if k != "params"}, "tensors": len(group["params"])}
            for group in self.optimizer.param_groups
        ]
        dataset = getattr(loader, "dataset", None)
        config: dict[str, Any] = {
            "versions": versions(self.device),
            "machine": machine(self.device),
            "seed": default_generator().seed,
            "model": {
                "class": type(self.model).__name__,
                "parameters": sum(p.numel() for p in self.model.parameters()),
            },
            "loss": repr(self.loss),
            "optimizer": {"class": type(self.optimizer).__name__, "groups": groups},
            "scheduler": None
            if self.scheduler is None
            else {"class": type(self.scheduler).__name__, "every": self.scheduler_every},
            "data": {
                "class": type(dataset).__name__,
                "items": None if dataset is None else len(dataset),
                "batch_size": getattr(loader, "batch_size", None),
                "shuffle": getattr(loader, "shuffle", None),
                "drop_last": getattr(loader, "drop_last", None),
            },
            "epochs": epochs,
            "max_steps": max_steps,
            "capture": self.capture,
        }
        for key, value in self._config.items():
            known = config.get(key)
            config[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, Mapping) else value
        return config
