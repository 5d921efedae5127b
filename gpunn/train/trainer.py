"""Trainer: epochs of steps, each step one captured launch where the device supports that."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, cast

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import NotFiniteError, TrainingError, UsageError
from gpunn.nn.loss import CrossEntropyLoss
from gpunn.nn.module import Module
from gpunn.optim.lr_scheduler import ReduceLROnPlateau
from gpunn.optim.optimizer import Optimizer
from gpunn.train import diagnosis
from gpunn.train._arguments import check_arguments, whole_numbers
from gpunn.train._describe import describe
from gpunn.train._forward import Forward, half_of
from gpunn.train._position import Position
from gpunn.train._ranks import device_of_rank, ranks_of
from gpunn.train._state import collect, generators_of, move_to, places_of, restore
from gpunn.train._steps import TrainingStep
from gpunn.train._stopping import StopSignals
from gpunn.train.callbacks import Callback, EpochRecord, Progress
from gpunn.train.evaluation import Evaluation, Evaluator, Share, labelled_batch, running
from gpunn.train.progress import reporter
from gpunn.train.run_folder import RunFolder

_READ_EVERY = 50  # steps between reads of the totals on a GPU, where each read waits for the device


class Trainer:
    """Train a classifier, test it after every epoch, and keep what is needed to go on after anything.

    A step is: zero the gradients, forward, loss, backward, add to the running totals, update.
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
        A folder for the run's files (:class:`~gpunn.train.RunFolder`): configuration, and after every epoch metrics,
        weights and a checkpoint. The constructor checks that it can be written, before any work.
    log : "auto", "bar", "lines" or None
        What to show on standard output: see ``gpunn.train.progress.reporter``.
    callbacks : iterable of Callback
        Called after ``log``.
    config : mapping, optional
        More for ``config.json``: whatever is needed to rebuild model and data.
    overwrite : bool
        Let :meth:`fit` delete an earlier run in ``out``. Otherwise it refuses to begin where there is one.
    checkpoint_every : int, optional
        Write a checkpoint after so many steps too, not only after each epoch.
    keep : int
        How many of the latest checkpoints stay, beside the best epoch's.
    accumulate : int
        Split each batch into so many pieces, and add up their gradients: a step then needs the memory of one piece. The
        loss is the mean of the pieces' losses, weighted by their lengths. Batch norm sees single pieces.
    clip_grad_norm : float, optional
        Scale the gradients down to this norm where it is larger (:func:`~gpunn.nn.utils.clip_grad_norm_`).
    not_finite : "stop" or "skip"
        What to do where loss or gradients are not finite: raise TrainingError, or leave the step out, up to 100 in a
        row. For that every step waits for the device.
    autocast : "bfloat16", "float16" or dtype, optional
        Forward pass, loss and tests within :class:`gpunn.amp.autocast` of this dtype. Parameters, gradients and what is
        saved stay float32. With float16 losses are scaled (:class:`gpunn.amp.GradScaler`): every step waits for the
        device, and those whose gradients overflow are left out.

    Attributes
    ----------
    epoch, step : int
        How many are done, over all calls of :meth:`fit`.
    history : list of EpochRecord
    stop_reason : str or None
        What :meth:`stop` was given.
    stop_signals : tuple of int
        What ends :meth:`fit` after the running step: by default SIGINT (Ctrl-C).

    Raises
    ------
    UsageError
        If the optimiser holds none of the model's parameters, an option is invalid, or ``out`` cannot be written.
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
        overwrite: bool = False,
        checkpoint_every: int | None = None,
        keep: int = 2,
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        not_finite: str = "stop",
        autocast: Any = None,
    ) -> None:
        check_arguments(model, optimizer, scheduler, scheduler_every, not_finite, clip_grad_norm)
        whole_numbers("Trainer", checkpoint_every=checkpoint_every, accumulate=accumulate)
        self.device = device_of_rank(device)
        self.model = model.to(self.device)
        self.ranks = ranks_of(self.model)
        shown = reporter(log) if self.ranks.first else None
        self._keeps = out is not None  # all ranks say so, and the first has the folder
        self.folder = RunFolder(out, keep) if out is not None and self.ranks.first else None
        self.optimizer = optimizer
        self.loss = CrossEntropyLoss() if loss is None else loss
        self.scheduler = scheduler
        self.scheduler_every = scheduler_every
        self.capture = capture
        self.callbacks = [*([shown] if shown else []), *callbacks]
        self.overwrite, self.checkpoint_every = overwrite, checkpoint_every
        self.accumulate, self.clip_grad_norm, self.not_finite = accumulate, clip_grad_norm, not_finite
        self.autocast = half_of(autocast)
        self.epoch = 0
        self.step = 0
        self.history: list[EpochRecord] = []
        self.stop_signals: tuple[int, ...] = (signal.SIGINT,)
        self._config = dict(config or {})
        self._forward = Forward(self.model, self.loss, self.device, self.autocast)
        self._train_step = TrainingStep(
            self._forward,
            optimizer,
            capture=capture and self.ranks.can_capture(self.device),
            accumulate=accumulate,
            clip_grad_norm=clip_grad_norm,
            skip=not_finite == "skip",
            ranks=self.ranks,
        )
        self._totals = self._train_step.totals
        self._read_every = 1 if self.device.xp is np else _READ_EVERY
        self._evaluator = Evaluator(self._forward, capture)
        self._signals = StopSignals()
        self.ranks.draw_apart(generators_of(self.model))
        self.stop_reason: str | None = None
        self._begun = False  # whether config.json is written
        self._until_fit = contextlib.ExitStack()  # holds the folder's lock between resume and the end of fit
        self._position = Position()
        self._norms: dict[str, float] = {}  # of the last step's gradients, if that was before a resume

    # -- training ----------------------------------------------------------------------------

    def fit(
        self,
        train_loader: Any,
        test_loader: Iterable[Any] | None = None,
        epochs: int = 1,
        max_steps: int | None = None,
    ) -> list[EpochRecord]:
        """Train for ``epochs`` more epochs, and test after each.

        After :meth:`resume`, an epoch that the checkpoint lies within is finished first, and counts as one of them.

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
            If the loss is no longer finite; the message says at which step, where in the model, and which checkpoint
            was the last good one.
        OutOfMemoryError
            If a step does not fit into memory; the message says which batch size does.
        KeyboardInterrupt
            On Ctrl-C, after the running step, with a checkpoint if there is a folder; a second Ctrl-C ends at once.
        """
        whole_numbers("Trainer.fit", epochs=epochs, max_steps=max_steps)
        if not hasattr(train_loader, "__len__"):
            raise UsageError(
                "Trainer.fit: expected a loader that knows how many batches it gives; "
                f"{type(train_loader).__name__} has no length. Wrap the data in a DataLoader."
            )
        steps = len(train_loader)
        last_epoch = self.epoch + epochs
        last_step = None if max_steps is None else self.step + max_steps
        if not self._position.restored:
            self.stop_reason = None
        if not self.model.training:  # otherwise inner modules that were frozen by .eval() stay frozen
            self.model.train()
        with running(self.device), contextlib.ExitStack() as ending:
            ending.enter_context(self._until_fit)
            if self.folder is not None:
                ending.enter_context(self.folder.locked())
                self._begin(self.folder, train_loader, epochs, max_steps)
            for callback in self.callbacks:
                ending.callback(callback.on_fit_end, self)
                callback.on_fit_begin(self, last_epoch, steps)
            ending.enter_context(self._signals.watching(self.stop_signals))
            ending.callback(self._position.leave)
            self._position.move(train_loader, test_loader)
            while self.epoch < last_epoch and self.step != last_step and self.stop_reason is None:
                record = self._run_epoch(train_loader, test_loader, last_epoch, last_step)
                self._schedule_epoch(record)
                self.history.append(record)
                if self.folder is not None:
                    self.folder.save(self.model, self.history)
                for callback in self.callbacks:
                    callback.on_epoch_end(self, record)
                self._save_checkpoint(train_loader, test_loader)  # last, as it holds what callbacks know
                if self._told_to_stop():
                    self._signals.check()
        return self.history

    def stop(self, reason: str) -> None:
        """End :meth:`fit` after the running epoch, as complete; for callbacks. ``reason`` is kept in checkpoints."""
        self.stop_reason = reason

    def _begin(self, folder: RunFolder, train_loader: Any, epochs: int, max_steps: int | None) -> None:
        """A new run's files, unless this trainer's run is in the folder already."""
        if not self._begun:
            folder.check_free(self.overwrite)
            folder.begin(describe(self, train_loader, epochs, max_steps, self._config))
            self._begun = True

    def _run_epoch(self, train_loader: Any, test_loader: Any, last_epoch: int, last_step: int | None) -> EpochRecord:
        epoch, first = self.epoch + 1, self.step - self._position.taken  # steps before this epoch
        steps = len(train_loader) if last_step is None else min(len(train_loader), last_step - first)
        begun, start, last = self._position.taken, time.perf_counter(), None
        if not begun:
            self._totals.clear()
            self._train_step.skipped = 0
        left: Iterable[Share] = ()  # all are done if only the test is left
        if begun < steps:
            left = self.ranks.batches(train_loader, self._position.batches, begun, self.device)
        for done, share in enumerate(left, begun + 1):
            last = share
            try:
                self._train_step(share)
            except NotFiniteError as error:
                self._refuse_loss(error, train_loader, last)
            self._position.taken = done
            self.step += 1
            if self.scheduler is not None and self.scheduler_every == "step":
                self.scheduler.step()
            if done % self._read_every == 0 or done == steps:
                elapsed = self._position.elapsed + time.perf_counter() - start
                seen = self._read_totals(train_loader, last)
                per_second = seen.images / elapsed
                told = Progress(epoch, last_epoch, done, steps, seen.loss, seen.accuracy_percent, per_second)
                for callback in self.callbacks:
                    callback.on_progress(self, told)
            if self.checkpoint_every is not None and self.step % self.checkpoint_every == 0 and done < steps:
                self._read_totals(train_loader, last)
                self._save_checkpoint(train_loader, test_loader, time.perf_counter() - start)
            if self._told_to_stop(done % self._read_every == 0 or done == steps):
                self._read_totals(train_loader, last)
                self._end_here(train_loader, test_loader, time.perf_counter() - start)
            if done >= steps:
                break
        if self._position.taken < max(steps, 1):
            raise UsageError(
                f"Trainer.fit: the training loader gave {self._position.taken} batches; its length says "
                f"{len(train_loader)}."
            )
        elapsed, seen = self._position.elapsed + time.perf_counter() - start, self._read_totals(train_loader, last)
        self._check_parameters()
        norms = diagnosis.gradient_norms(self.model) or self._norms
        tested = None
        if test_loader is not None:
            before = places_of(test_loader)
            self.ranks.share_buffers()
            # Among others a signal waits until all have tested.
            check = self._signals.check if self.ranks.size == 1 else None
            try:
                tested = self._evaluator(test_loader, self.ranks, check)
            except KeyboardInterrupt:
                if self._signals.signum:
                    move_to(test_loader, before)
                    self._end_here(train_loader, test_loader, time.perf_counter() - start)
                raise
            if not math.isfinite(tested.loss):
                self._refuse(f"the test loss after epoch {epoch} is {tested.loss}", self.step, None)
        record = EpochRecord(
            epoch=epoch,
            step=self.step,
            train_loss=seen.loss,
            train_accuracy_percent=seen.accuracy_percent,
            test_loss=None if tested is None else tested.loss,
            test_accuracy_percent=None if tested is None else tested.accuracy_percent,
            images_per_second=seen.images / elapsed,
            seconds=self._position.elapsed + time.perf_counter() - start,
            lr=float(self.optimizer.param_groups[0]["lr"]),
            gradient_norms=norms,
            skipped=self._train_step.skipped,
        )
        self.epoch = epoch
        self._position.next_epoch()
        return record

    def _told_to_stop(self, agreeing: bool = True) -> bool:
        """Whether a signal came, to any rank: they stop at the same step, where all ask."""
        if self.ranks.size > 1 and not agreeing:
            return False
        self._signals.signum = self.ranks.any("whether a signal came", self._signals.signum)
        return self._signals.signum != 0

    def _read_totals(self, loader: Any, last: Share | None) -> Evaluation:
        try:
            return self.ranks.read(self._totals, or_nothing=self._train_step.skipped > 0)
        except NotFiniteError as error:
            self._refuse_loss(error, loader, last if self._read_every == 1 else None)

    def _schedule_epoch(self, record: EpochRecord) -> None:
        if self.scheduler is None or self.scheduler_every == "step":
            return
        watched = record.train_loss if record.test_loss is None else record.test_loss
        self.scheduler.step(*([watched] if isinstance(self.scheduler, ReduceLROnPlateau) else []))

    def evaluate(self, loader: Iterable[Any]) -> Evaluation:
        """Mean loss and accuracy over ``loader``, in evaluation mode; modes are restored afterwards.

        Raises
        ------
        UsageError
            If the loader yields no batch.
        """
        return self._evaluator(loader, self.ranks)

    # -- saving and going on -----------------------------------------------------------------

    def resume(self) -> list[str]:
        """Go on with the run in ``out``: the next :meth:`fit` continues bit for bit, in the middle of an epoch too.

        Trainer, model, optimiser, schedule and loaders must have been built as those of the run were, with the same
        seed. Metrics and weights that are newer than the checkpoint are cut back to it. A run that was stopped before
        its first checkpoint begins anew.

        Returns
        -------
        list of str
            What was wrong with later checkpoints, which were passed over; empty if there was nothing.

        Raises
        ------
        UsageError
            If the trainer has no ``out``, has begun already, is not built as the run's was, or another one is writing.
        DataError
            If there are checkpoints, and none can be read.
        """
        if not self._keeps:
            raise UsageError("Trainer.resume: expected a trainer with a folder; give it out=.")
        if self._begun or self.step:
            raise UsageError("Trainer.resume: this trainer has begun already; resume with a new one.")
        with running(self.device), contextlib.ExitStack() as lock:
            if self.folder is not None:
                lock.enter_context(self.folder.locked())
            # Other ranks get it from the first.
            checkpoint, complaints = self.ranks.from_first(
                "the checkpoint", lambda: cast(RunFolder, self.folder).reopen()
            )
            if checkpoint is not None:
                restore(self, checkpoint)
                self._begun = True
                if self.folder is not None:
                    self.folder.cut_back(checkpoint, self.history)
            self._until_fit = lock.pop_all()
        return complaints

    def _save_checkpoint(self, train_loader: Any, test_loader: Any, elapsed: float = 0.0) -> None:
        if not self._keeps:
            return
        totals = self.ranks.sums(self._totals)
        if self.folder is None:
            return
        self._check_parameters()
        data = {
            **self._position.state(train_loader, test_loader, elapsed),
            "skipped": self._train_step.skipped,
            "stop_reason": self.stop_reason,
            "gradient_norms": diagnosis.gradient_norms(self.model) or self._norms,
        }
        self.folder.save_checkpoint(*collect(self, totals, data), self.history)

    def _end_here(self, train_loader: Any, test_loader: Any, elapsed: float) -> None:
        """After a signal: keep what there is, also for another ``fit``, and raise."""
        self._save_checkpoint(train_loader, test_loader, elapsed)
        self._position.restore(self._position.state(train_loader, test_loader, elapsed))
        self._signals.check()

    # -- what cannot go on -------------------------------------------------------------------

    def _refuse_loss(self, error: NotFiniteError, loader: Any, last: Share | None) -> NoReturn:
        """Tell of a batch whose loss is not finite; where totals are read seldom, the batch is read again."""
        number = error.batch // self.accumulate  # batches of this epoch before it
        step = self.step - self._position.taken + number + 1
        images = None if last is None else last.batch()[0]
        if images is None and hasattr(loader, "batches"):
            images = labelled_batch(next(self._position.again(loader, number)), self.device)[0]
        self._refuse(f"{error.place} became {error.value} at step {step}", step, images)

    def _check_parameters(self) -> None:
        """Raise if the last step's gradient was not finite, of which no later loss has told yet."""
        bad = diagnosis.parameters_that_are_not_finite(self.model)
        if bad:
            self._refuse(f"the gradient of step {self.step} was not finite; {bad}", self.step, None)

    def _refuse(self, what: str, step: int, images: Tensor | None) -> NoReturn:
        where = "" if images is None else diagnosis.first_that_is_not_finite(self._forward, images)
        kept = "" if self.folder is None else self.folder.last_good(step)
        raise TrainingError(
            f"{what} (epoch {self.epoch + 1}){f'; {where}' if where else ''}. Lower the learning rate (now "
            f"{self.optimizer.param_groups[0]['lr']:g}), clip the gradients, and see that the images are finite and "
            f"standardised.{kept}"
        ) from None
