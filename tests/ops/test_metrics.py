"""Running totals: counting on the device, ties, NaN, empty batches, and bad data, which must not be counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn._device import device
from gpunn.errors import LabelError, NotFiniteError
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.cross_entropy import cross_entropy
from gpunn.ops.metrics import update_metrics
from tests.devices import EVERYWHERE, call


def _update(
    where: str, totals: np.ndarray, loss: float, logits: np.ndarray, labels: np.ndarray, finite: bool = False
) -> None:
    call(update_metrics, where, totals, np.asarray(loss, logits.dtype), logits, labels, finite)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("label", [np.int32, np.int64])
@pytest.mark.parametrize("classes", [1, 3, 32, 33, 100])
def test_totals_over_batches(where: str, label: Any, classes: int) -> None:
    rng = np.random.Generator(np.random.Philox(classes))
    totals, expected = np.zeros(4), np.zeros(4)
    for rows in (1, 40, 7):
        logits = rng.integers(-2, 3, (rows, classes)).astype(np.float32)
        labels = rng.integers(0, classes, rows).astype(label)
        loss = np.float32(rng.random())
        _update(where, totals, loss, logits, labels)
        expected += [float(loss) * rows, (logits.argmax(axis=1) == labels).sum(), rows, 1]
    np.testing.assert_array_equal(totals, expected)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([1, 3, 3, 2], 1),
        ([-np.inf] * 4, 0),
        ([5, np.nan, 7, np.nan], 1),
        ([np.nan, np.nan, 1, np.inf], 0),
        ([0.0, -0.0, 0.0, -1.0], 0),
    ],
)
def test_of_equal_scores_the_first_counts_and_nan_is_largest(where: str, scores: list[float], found: int) -> None:
    """The same scores spread over more than a warp, so that lanes and their own loops both decide."""
    for repeat in (1, 20):
        logits = np.repeat(np.array([scores], np.float32), repeat, axis=0).T.reshape(1, -1)
        for label in range(logits.size):
            totals = np.zeros(4)
            _update(where, totals, 0, logits, np.array([label]))
            assert totals[1] == (label == found * repeat), (repeat, label)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_empty_batch_changes_nothing(where: str) -> None:
    totals = np.array([1.0, 2.0, 3.0, 4.0])
    _update(where, totals, np.nan, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert totals.tolist() == [1, 2, 3, 4]


def test_bad_data_is_not_counted(kernels: str) -> None:
    target, totals = device(kernels), gpunn.tensor([1.0, 2.0, 3.0, 4.0], dtype=np.float64, device=kernels)
    logits = gpunn.ones(2, 3, device=kernels)
    labels = gpunn.tensor([0, 5], device=kernels)
    loss = cross_entropy(logits, labels)
    update_metrics(target, totals.array, loss.array, logits.array, labels.array)
    with pytest.raises(LabelError, match="label 5 at position 1"):
        target.synchronize()
    assert totals.tolist() == [1, 2, 3, 4]


def test_one_launch(kernels: str) -> None:
    with trace_launches() as launches:
        _update(kernels, np.zeros(4), 1.0, np.ones((3, 4)), np.arange(3))
    assert len(launches) == 1


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_is_reported_with_the_number_of_batches_before_it(where: str, loss: float) -> None:
    logits, labels = np.ones((2, 3), np.float32), np.array([0, 1])
    totals = np.array([1.0, 2.0, 3.0, 4.0])
    _update(where, totals, loss, logits, labels)
    assert totals[3] == 5, "without `finite` any loss is counted"
    totals = np.array([1.0, 2.0, 3.0, 4.0])

    def step() -> None:
        _update(where, totals, loss, logits, labels, True)
        device(where).check()

    with pytest.raises(NotFiniteError) as caught:
        step()
    assert caught.value.batch == 4
    assert totals.tolist() == [1, 2, 3, 4]
    _update(where, totals, 1.0, logits, labels, True)
    assert totals.tolist() == [3, 3, 5, 5], "the device goes on"


def test_no_optimiser_changes_anything_after_a_loss_that_is_not_finite(kernels: str) -> None:
    target = device(kernels)
    p = gpunn.ones(3, device=kernels, requires_grad=True)
    optimizer = gpunn.optim.SGD([p], lr=0.1)
    p.sum().backward()
    totals = gpunn.zeros(4, dtype=np.float64, device=kernels)
    scores, labels = gpunn.ones(2, 3, device=kernels), gpunn.tensor([0, 1], device=kernels)
    update_metrics(target, totals.array, gpunn.tensor(np.nan, device=kernels).array, scores.array, labels.array, True)
    optimizer.step()
    with pytest.raises(NotFiniteError):
        target.check()
    np.testing.assert_array_equal(p.detach().numpy(), [1, 1, 1])
    optimizer.step()
    np.testing.assert_array_equal(p.detach().numpy(), np.full(3, 0.9, np.float32))
