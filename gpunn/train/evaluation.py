"""Testing: mean loss and accuracy over the batches of a loader."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunn._capture import capture as capture_step
from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn._modes import evaluating
from gpunn.nn.loss import CrossEntropyLoss
from gpunn.nn.module import Module
from gpunn.ops.metrics import update_metrics
from gpunn.tape import no_grad
from gpunn.train._forward import Forward

if TYPE_CHECKING:
    from gpunn.train._ranks import Alone


@dataclass(frozen=True)
class Evaluation:
    """Mean ``loss`` and ``accuracy_percent`` over a loader, and how many ``images`` it yielded."""

    loss: float
    accuracy_percent: float
    images: int


class Totals:
    """Running sums of loss and correct answers in device memory: adding to them never waits.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        # sum of loss * rows, correct, rows: a captured step is bound to this array permanently.
        self.array = device.zeros((4,), np.float64)

    def clear(self) -> None:
        """Start over."""
        self.device.fill(self.array, 0)

    def add(self, loss: Tensor, scores: Tensor, labels: Tensor, finite: bool = False) -> None:
        """Count a batch, whose mean loss is ``loss``; with ``finite`` it must be finite (:func:`update_metrics`)."""
        update_metrics(self.device, self.array, loss.array, scores.array, labels.array, finite)

    def sums(self) -> list[float]:
        """What they are now; waits for the device, and raises what its kernels reported."""
        sums: list[float] = self.device.to_host(self.array).tolist()
        return sums


def mean_of(totals: Sequence[float], or_nothing: bool) -> Evaluation:
    """The means of sums like those of :class:`Totals`; NaN of no images ``or_nothing``."""
    loss, correct, rows, _ = totals
    if not rows and or_nothing:
        return Evaluation(math.nan, math.nan, 0)
    if not rows:
        raise UsageError("evaluate: the loader gave no images.")
    return Evaluation(loss / rows, 100 * correct / rows, int(rows))


class Evaluator:
    """Tests a model on a device, each batch one captured launch where the device supports that.

    Parameters
    ----------
    forward : Forward
        Of the model and its loss.
    capture : bool
        Capture the step and replay it, where the device has kernels.
    """

    def __init__(self, forward: Forward, capture: bool) -> None:
        self.forward, self.model, self.device = forward, forward.model, forward.device
        self._totals = Totals(self.device)
        self._step = ShareStep(self._test, capture)

    def _test(self, x: Tensor, labels: Tensor) -> None:
        with no_grad():
            scores, loss = self.forward(x, labels)
        self._totals.add(loss, scores, labels)

    def __call__(
        self, loader: Iterable[Any], ranks: Alone | None = None, after_batch: Callable[[], None] | None = None
    ) -> Evaluation:
        """Mean loss and accuracy over ``loader`` in evaluation mode; modes are restored afterwards.

        Among several ``ranks`` each tests its part of every batch, and all get the means over all parts.
        """
        from gpunn.train._ranks import Alone

        place = Alone() if ranks is None else ranks
        with running(self.device), evaluating(self.model):
            self._totals.clear()
            for share in place.batches(loader, _batches, 0, self.device):
                if share.rows:
                    self._step.of(share)(*share.inputs)
                if after_batch is not None:
                    after_batch()
            return place.read(self._totals)


def _batches(loader: Any, part: tuple[int, int] | None, as_indices: bool) -> Iterator[Any]:
    if as_indices:
        indices: Iterator[Any] = loader.indices(0, part)
        return indices
    batches: Iterator[Any] = iter(loader) if part is None else loader.batches(0, part)
    return batches


def evaluate(
    model: Module,
    loader: Iterable[Any],
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    capture: bool = True,
) -> Evaluation:
    """Test a model: mean loss and accuracy.

    Parameters
    ----------
    model : Module
        Returns scores (N, classes); run where its first parameter is, in evaluation mode.
    loader : iterable of (images, labels)
    loss : callable, optional
        ``loss(scores, labels)``, the mean over the batch. :class:`~gpunn.nn.CrossEntropyLoss` if not given.
    capture : bool
        Capture the step and replay it, where the device has kernels.

    Returns
    -------
    Evaluation

    Raises
    ------
    UsageError
        If the loader yields no batch, or anything but pairs of tensors; or the model has no parameters.
    """
    first = next(model.parameters(), None)
    if first is None:
        raise UsageError("evaluate: the model has no parameters, so nothing says where it is.")
    forward = Forward(model, CrossEntropyLoss() if loss is None else loss, first.device)
    return Evaluator(forward, capture)(loader)


class Share(NamedTuple):
    """A batch, or a rank's part of one.

    Attributes
    ----------
    inputs : tuple of Tensor
        Images and labels; or what ``take`` makes them of.
    rows : int
        How many of them count, all or none: there may be fewer images than ranks.
    weight : float
        The loss of this part, times this, averaged over the ranks, is the loss of the batch.
    take : callable, optional
        Makes images and labels of the inputs, by launches alone: in the step, which may be captured.
    """

    inputs: tuple[Tensor, ...]
    rows: int
    weight: float
    take: Callable[..., tuple[Tensor, Tensor]] | None = None

    def batch(self) -> tuple[Tensor, Tensor]:
        """Images and labels."""
        images, labels = self.inputs if self.take is None else self.take(*self.inputs)
        return images, labels


class ShareStep:
    """A step that is called with the inputs of a :class:`Share`: captured once for pairs, and once for a loader.

    Parameters
    ----------
    work : callable
        Called with images and labels, and what else it is given.
    capture : bool
    """

    def __init__(self, work: Callable[..., None], capture: bool) -> None:
        self._work, self._capture = work, capture
        self.of_pairs: Callable[..., None] = capture_step(work) if capture else work
        self._take: Callable[..., tuple[Tensor, Tensor]] | None = None
        self._taking = self.of_pairs

    def of(self, share: Share) -> Callable[..., None]:
        """The step for this one's inputs."""
        if share.take is None:
            return self.of_pairs
        if share.take != self._take:  # of one loader at a time: the step keeps its images
            work = functools.partial(take_and, self._work, share.take)
            self._take, self._taking = share.take, capture_step(work) if self._capture else work
        return self._taking

    def forget(self) -> None:
        """Give the memory of what was captured back; nothing is captured from now on."""
        self._capture, self._take, self.of_pairs = False, None, self._work


def take_and(
    work: Callable[..., None],
    take: Callable[..., tuple[Tensor, Tensor]] | None,
    first: Tensor,
    *more: Tensor,
    **options: Any,
) -> None:
    """Call ``work`` with the batch that ``take`` makes of its first argument, if there is such a function."""
    work(*((first,) if take is None else take(first)), *more, **options)


@contextlib.contextmanager
def running(device: Device) -> Iterator[None]:
    """On this device, and without NumPy's warnings: a non-finite loss is reported by name and step."""
    with device.active(), np.errstate(all="ignore"):
        yield


def labelled_batch(batch: Any, device: Device) -> tuple[Tensor, Tensor]:
    """A loader's pair on the device, integer labels as int64."""
    if not isinstance(batch, tuple | list) or len(batch) != 2 or not all(isinstance(t, Tensor) for t in batch):
        raise UsageError(
            "expected the loader to give pairs of tensors (images, labels); got "
            f"{type(batch).__name__}{f' of {len(batch)}' if isinstance(batch, tuple | list) else ''}."
        )
    images, labels = batch[0].to(device), batch[1].to(device)
    return images, labels.to(np.int64) if labels.dtype.kind in "iu" else labels
