"""What a network says of every image of a dataset: the data of confusion matrices and of sheets of mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._creation import tensor
from gpunn._device import Device
from gpunn.errors import DataError, UsageError
from gpunn.nn._modes import evaluating
from gpunn.nn.functional import softmax
from gpunn.nn.module import Module
from gpunn.tape import no_grad
from gpunn.train.evaluation import running


@dataclass(frozen=True)
class Predictions:
    """For n images: ``labels`` and ``predicted`` (n,) int64, and ``probability`` (n,) of the predicted class."""

    labels: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray

    def confusion(self, classes: int) -> np.ndarray:
        """(classes, classes) int64: how many images of the class of the row were taken for that of the column."""
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def mistakes(self) -> np.ndarray:
        """The numbers of the misclassified images, those that the network is surest of first."""
        wrong = np.flatnonzero(self.labels != self.predicted)
        return wrong[np.argsort(-self.probability[wrong], kind="stable")]


def predict(model: Module, dataset: Any, classes: int, device: Device, batch_size: int = 500) -> Predictions:
    """Classify a dataset.

    Parameters
    ----------
    model : Module
        On ``device``; returns scores (N, classes).
    dataset : Dataset
        Of images and labels.
    classes : int
    device : Device
    batch_size : int

    Raises
    ------
    UsageError
        If the model returns anything but scores for that many classes.
    DataError
        If a label is no class.
    """
    found: list[tuple[np.ndarray, ...]] = []
    with running(device), evaluating(model), no_grad():
        for start in range(0, len(dataset), batch_size):
            images, labels = dataset.batch(np.arange(start, min(start + batch_size, len(dataset))))
            labels = np.asarray(labels)
            if labels.dtype.kind not in "iu" or labels.ndim != 1:
                raise DataError(f"expected labels that are class numbers; got {labels.dtype} of shape {labels.shape}.")
            for extreme in (labels.min(), labels.max()):
                if not 0 <= extreme < classes:
                    raise DataError(f"expected labels from 0 to {classes - 1}; got {extreme}.")
            scores = model(tensor(images, device=device))
            if scores.shape != (len(images), classes):
                raise UsageError(f"expected a network with scores for {classes} classes; it gave {scores.shape}.")
            shares = softmax(scores, 1).numpy()
            best = shares.argmax(1)
            found.append((labels.astype(np.int64), best, shares[np.arange(len(best)), best]))
    labels, best, sure = (np.concatenate(column) for column in zip(*found, strict=True))
    return Predictions(labels, best, sure)
