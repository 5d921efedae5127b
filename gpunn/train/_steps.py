"""A training step: gradients of a batch, piece by piece if wanted, and the update, or none if it must not be made."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gpunn._grad_scaler import GradScaler
from gpunn._half import FLOAT16
from gpunn._tensor import Tensor, upload
from gpunn.errors import NotFiniteError, OutOfMemoryError, TrainingError
from gpunn.nn.utils import clip_grad_norm_
from gpunn.ops.accumulate import copy
from gpunn.ops.clip_grad import total_norm
from gpunn.ops.copy_arrays import copy_arrays
from gpunn.optim.optimizer import Optimizer
from gpunn.train._forward import Forward
from gpunn.train.diagnosis import fitting_batch
from gpunn.train.evaluation import Share, ShareStep, Totals, take_and

if TYPE_CHECKING:
    from gpunn.train._ranks import Alone

_MOST_SKIPPED = 100  # steps in a row


class TrainingStep:
    """Makes steps, and counts what they did; parameters as of :class:`~gpunn.train.Trainer`.

    Attributes
    ----------
    totals : Totals
        Of the batches that had a finite loss.
    skipped : int
        Steps that changed nothing, since it was set to 0.
    scaler : GradScaler
        Of the losses; enabled where the forward pass computes in float16.
    """

    def __init__(
        self,
        forward: Forward,
        optimizer: Optimizer,
        *,
        capture: bool,
        accumulate: int,
        clip_grad_norm: float | None,
        skip: bool,
        ranks: Alone,
    ) -> None:
        self.forward, self.optimizer = forward, optimizer
        self.model, self.device = forward.model, forward.device
        self._ranks = ranks
        self.accumulate, self.clip_grad_norm, self.skip = accumulate, clip_grad_norm, skip
        self.totals = Totals(self.device)
        self.scaler = GradScaler(enabled=forward.half == FLOAT16)
        self._tries = skip or self.scaler.is_enabled()  # looks at the gradients before each update
        self.skipped = self._in_a_row = 0
        self._work = self._gradients if self._tries else self._train
        self.steps = ShareStep(self._work, capture)

    def __call__(self, share: Share) -> None:
        """Make a step.

        Raises
        ------
        NotFiniteError
            If the loss is not finite; where kernels run, the totals' next ``read`` raises it. Nothing was updated.
        TrainingError
            If too many steps in a row had to be skipped.
        OutOfMemoryError
            If memory does not suffice; the message says for which batch size it does.
        """
        _, rows, weight, take = share
        weight *= self.scaler.get_scale()
        more = () if weight == 1 else (Tensor(upload(np.full(1, weight), self.device), self.device),)
        run = self.steps.of(share)
        if not rows and self._ranks.size > 1:  # seldom, and not counted: not captured
            run = functools.partial(take_and, self._work, take, counts=False)
        try:
            if self._tries:
                self._try(run, *share.inputs, *more)
            else:
                run(*share.inputs, *more)
        except MemoryError as error:
            del run
            self.steps.forget()  # what was captured may hold memory; no step follows
            fits = fitting_batch(self.forward, self.optimizer, share.batch(), error)
            raise OutOfMemoryError(_advice(str(error), len(share.inputs[-1]), fits)) from None

    def _train(self, x: Tensor, labels: Tensor, *weight: Tensor, counts: bool = True) -> None:
        self._gradients(x, labels, *weight, counts=counts)
        self._update()

    def _update(self) -> None:
        if self.clip_grad_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_grad_norm)
        self.optimizer.step()

    def _gradients(self, x: Tensor, labels: Tensor, *weight: Tensor, counts: bool = True) -> None:
        self.optimizer.zero_grad()
        rows = len(labels)
        piece = max(1, -(-rows // self.accumulate))
        for start in range(0, max(rows, 1), piece):
            whole = piece >= rows
            images, truth = (x, labels) if whole else (x[start : start + piece], labels[start : start + piece])
            scores, loss = self.forward(images, truth)
            # Before the update, and before other ranks hear of it: a loss that is not finite prevents both.
            if counts:
                self.totals.add(loss, scores, truth, finite=True)
            if not self._tries and start + piece >= rows:
                self._ranks.expect()
            part = loss if whole else loss * (len(truth) / rows)
            (part * weight[0].to(part.dtype).reshape(part.shape) if weight else part).backward()

    def _try(self, run: Callable[..., None], *batch: Tensor) -> None:
        """A step that is left out if its gradient is not finite on any rank, or its loss where that is wanted."""
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.model.buffers()]
        totals = copy(self.device, self.totals.array) if self.skip else None  # other ranks count parts of a bad batch
        try:
            run(*batch)
            self.device.check()
            finite = self._gradient_is_finite()
        except NotFiniteError:
            if not self.skip:
                raise
            finite = False
        finite = not self._ranks.any("whether a loss or gradient is not finite", not finite)
        if self.scaler.is_enabled():
            self.scaler._adapt(finite)
        if finite:
            self._ranks.average()
            self._in_a_row = 0
            self._update()
            return
        for buffer, before in buffers:  # running statistics of such a batch would spoil every test
            buffer.copy_(before)
        if totals is not None:  # otherwise the loss is finite, and counts: what overflowed is its gradient in float16
            copy_arrays(self.device, [self.totals.array], [totals])
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row > _MOST_SKIPPED:
            advice = (
                "train with not_finite='stop' (--not-finite stop), which tells where they come from"
                if self.skip
                else "compute in bfloat16 (--autocast bfloat16), which has float32's range"
            )
            raise TrainingError(
                f"more than {_MOST_SKIPPED} steps in a row had a loss or a gradient that is not finite, so nothing "
                f"is learned any more. Lower the learning rate (now {self.optimizer.param_groups[0]['lr']:g}), or "
                f"{advice}."
            )

    def _gradient_is_finite(self) -> bool:
        """Whether it is; where the loss was scaled, the gradient is divided by the scale here."""
        if self.scaler.is_enabled():
            return self.scaler._unscale(self.optimizer) is not False
        by_dtype: dict[object, list[object]] = {}
        for p in self.model.parameters():
            if p.grad is not None:
                by_dtype.setdefault(p.grad.dtype, []).append(p.grad._physical)
        norms = [total_norm(self.device, arrays, 2.0) for arrays in by_dtype.values()]
        return all(math.isfinite(float(self.device.to_host(norm))) for norm in norms)


def _advice(what: str, batch: int, fits: int) -> str:
    pieces = -(-batch // fits) if fits else 0
    advice = (
        f"Batches of {fits} fit: reduce the batch size to that, or keep it and train it in {pieces} pieces "
        f"(accumulate={pieces}, --accumulate {pieces})."
        if fits
        else "Not even a single image fits: use a smaller model or smaller images."
    )
    return f"out of memory in a step with {batch} images: {what[:250].rstrip('. ')}. {advice}"
