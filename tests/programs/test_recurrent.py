"""Recurrent networks written for PyTorch give its numbers with only their imports changed, captured too, and learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import gpunn
from gpunn.data import Digits
from gpunn.utils.data import DataLoader, TensorDataset
from tests.programs._both import assert_captured_equals_eager, assert_same
from tests.programs._with_gpunn import program

_NETWORKS = ["lstm_classifier", "char_rnn"]


@pytest.mark.parametrize("name", _NETWORKS)
def test_same_as_pytorch(name: str) -> None:
    assert_same(name)


@pytest.mark.parametrize("name", _NETWORKS)
def test_captured_step(name: str, kernels: str) -> None:
    assert_captured_equals_eager(name, kernels)


def test_learns_to_read_digits_row_by_row() -> None:
    mine, (images, labels) = program("lstm_classifier", ours=True), _rows()
    gpunn.manual_seed(1)
    model = mine.LSTMClassifier(8, 24, 1, dropout=0.0)
    optimizer = gpunn.optim.Adam(model.parameters(), lr=0.02)
    sets = [TensorDataset(images[part], labels[part]) for part in (slice(1024), slice(1024, None))]
    args, device = SimpleNamespace(clip=1.0), gpunn.device("cpu")
    for epoch in (1, 2, 3):
        mine.train(args, model, device, DataLoader(sets[0], 64, shuffle=True), optimizer, epoch)
    assert mine.test(model, device, DataLoader(sets[1], 100)) > 0.6  # one guess in ten is right


def _rows() -> tuple[gpunn.Tensor, gpunn.Tensor]:
    """Digits of 8 rows of 8."""
    digits = Digits(train=True)
    images = digits.images.reshape(-1, 1, 28, 28)[:, :, 2:26:3, 2:26:3]
    return gpunn.tensor(images.astype(np.float32) / 255), gpunn.tensor(digits.labels.astype(np.int64))
