"""recompute_batch_statistics: exact, layer by layer, and leaving everything else as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import UsageError

ROWS = 23


def _data() -> np.ndarray:
    return (5 + 2 * np.random.Generator(np.random.Philox(1)).standard_normal((ROWS, 4))).astype(np.float32)


def _model() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3), nn.BatchNorm1d(3)
    )


def test_a_later_layers_statistics_are_those_under_the_earlier_ones_new_statistics() -> None:
    model, x = _model(), _data()
    nn.recompute_batch_statistics(model, DataLoader(TensorDataset(x), batch_size=5))
    weights = [p.detach().numpy().astype(np.float64) for p in (*model[0].parameters(), *model[4].parameters())]
    h = x @ weights[0].T + weights[1]
    # float32 batches of 5 merged in float64: the rounding of their means and variances, 6e-8, and of the layers.
    np.testing.assert_allclose(model[1].running_mean.numpy(), h.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model[1].running_var.numpy(), h.var(axis=0, ddof=1), rtol=1e-5)
    h = np.maximum((h - h.mean(axis=0)) / np.sqrt(h.var(axis=0, ddof=1) + 1e-5), 0) @ weights[2].T + weights[3]
    np.testing.assert_allclose(model[5].running_mean.numpy(), h.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model[5].running_var.numpy(), h.var(axis=0, ddof=1), rtol=1e-5)
    assert model[1].num_batches_tracked.item() == model[5].num_batches_tracked.item() == 5


def test_how_the_data_is_cut_into_batches_does_not_matter() -> None:
    found = []
    gpunn.manual_seed(3)
    model = _model()
    for size in (1, 7, ROWS):
        nn.recompute_batch_statistics(model, DataLoader(TensorDataset(_data()), batch_size=size))
        found.append(np.concatenate([model[i].running_var.numpy() for i in (1, 5)]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)  # float32 roundings of the batches' moments
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_only_the_estimates_change() -> None:
    model = _model()
    model[3].train()
    model[1].eval()  # a layer that the user froze stays so
    modes = [m.training for m in model.modules()]
    loader = DataLoader(TensorDataset(_data()), batch_size=4, shuffle=True)
    epoch = loader.epoch_state
    before, weights = loader.generator.get_state(), [p.detach().numpy().copy() for p in model.parameters()]
    nn.recompute_batch_statistics(model, loader)
    assert loader.generator.get_state() == before
    assert loader.epoch_state == epoch
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert all(np.array_equal(p.detach().numpy(), w) for p, w in zip(model.parameters(), weights, strict=True))
    assert not any(m._forward_hooks for m in model.modules())


def test_a_part_of_the_set_is_the_same_in_every_pass() -> None:
    """Were each pass to shuffle anew, the second layer would see other rows than the first."""
    x = np.arange(64, dtype=np.float32).reshape(64, 1) ** 2
    model = nn.Sequential(nn.BatchNorm1d(1, affine=False), nn.BatchNorm1d(1, affine=False))
    nn.recompute_batch_statistics(model, DataLoader(TensorDataset(x), batch_size=4, shuffle=True), batches=3)
    # The second layer's inputs are what the first has just made 0 and 1.
    assert abs(model[1].running_mean.item()) < 1e-5
    assert model[1].running_var.item() == pytest.approx(1, abs=1e-4)
    assert model[0].num_batches_tracked.item() == 3


class _Shared(nn.Module):
    """One batch normalisation used twice, one not at all, one on sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.BatchNorm1d(2)
        self.twice = nn.BatchNorm1d(2)
        self.without = nn.BatchNorm1d(2, track_running_stats=False)

    def forward(self, x: Any) -> Any:
        return self.without(self.twice(x) + self.twice(x * 3.0))


def test_shared_unused_and_untracked_layers() -> None:
    model, x = _Shared(), np.random.Generator(np.random.Philox(2)).standard_normal((6, 2, 3)).astype(np.float32)
    nn.recompute_batch_statistics(model, [gpunn.tensor(x[:4]), gpunn.tensor(x[4:])])
    both = np.concatenate([x, 3 * x])
    np.testing.assert_allclose(model.twice.running_mean.numpy(), both.mean(axis=(0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.twice.running_var.numpy(), both.var(axis=(0, 2), ddof=0) * 36 / 35, rtol=1e-5)
    assert model.unused.num_batches_tracked.item() == 0
    assert model.unused.running_var.tolist() == [1, 1]


def test_with_kernels(kernels: str) -> None:
    model, x = nn.Sequential(nn.BatchNorm1d(4)).to(kernels), _data()
    nn.recompute_batch_statistics(model, DataLoader(TensorDataset(x), batch_size=9, device=kernels))
    # float32 moments of the batches, merged in float64.
    np.testing.assert_allclose(model[0].running_mean.numpy(), x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model[0].running_var.numpy(), x.var(axis=0, ddof=1), rtol=1e-5)


def test_refuses_what_it_cannot_go_through_again() -> None:
    model = _model()
    with pytest.raises(UsageError, match="expected one that can be gone through again"):
        nn.recompute_batch_statistics(model, iter([gpunn.ones(2, 4)]))
    with pytest.raises(UsageError, match="expected at least one batch"):
        nn.recompute_batch_statistics(model, [])
    with pytest.raises(UsageError, match="batches: expected None or a positive integer; got 0"):
        nn.recompute_batch_statistics(model, [gpunn.ones(2, 4)], batches=0)
    nn.recompute_batch_statistics(nn.Linear(4, 2), [])  # nothing to do
