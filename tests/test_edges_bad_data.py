"""Labels out of range, NaN and empty batches through a whole net: what is said, and that the device goes on.

A second net of the same seed never sees the bad batch. Where nothing may have changed, both must agree bit for bit.
"""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import LabelError, TrainingError
from gpunn.train import Trainer


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(16, 3)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        return self.loss(self.head(gpunn.flatten(self.features(x), 1)), labels)


class _Run:
    def __init__(self, kernels: str, captured: bool = False) -> None:
        gpunn.manual_seed(5)
        self.net = _Net().to(kernels)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.step = gpunn.capture(self._step) if captured else self._step

    def _step(self, x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        self.optimizer.zero_grad()
        loss = self.net(x, labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def scores(self, x: gpunn.Tensor) -> np.ndarray:
        with gpunn.no_grad():
            return self.net.head(gpunn.flatten(self.net.features(x), 1)).numpy().copy()

    def state(self) -> dict[str, np.ndarray]:
        return {name: t.numpy().copy() for name, t in self.net.state_dict().items()}


def batch(kernels: str, seed: int, labels: tuple[int, ...] = (0, 1, 2, 1)) -> tuple[gpunn.Tensor, gpunn.Tensor]:
    images = np.random.default_rng(seed).standard_normal((len(labels), 1, 4, 4)).astype(np.float32)
    return gpunn.tensor(images, device=kernels), gpunn.tensor(np.array(labels, np.int64), device=kernels)


def assert_same(a: _Run, b: _Run) -> None:
    for (name, mine), other in zip(a.state().items(), b.state().values(), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=name)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_label_out_of_range_changes_no_parameter_and_training_goes_on(
    kernels: str, captured: bool, label: int
) -> None:
    run, other = _Run(kernels, captured), _Run(kernels, captured)
    for seed in range(3):
        run.step(*batch(kernels, seed))
        other.step(*batch(kernels, seed))
    with gpunn.no_grad():  # batch norm sees the images before the loss sees the labels
        other.net(*batch(kernels, 3))
    loss = run.step(*batch(kernels, 3, (0, 1, label, 1)))
    with pytest.raises(LabelError, match=r"^loss \(CrossEntropyLoss\): label \S+ at position 2 is not a class index"):
        loss.item()
    assert_same(run, other)
    assert run.step(*batch(kernels, 4)).item() == other.step(*batch(kernels, 4)).item()
    assert_same(run, other)


def test_an_empty_batch_changes_nothing_and_training_goes_on(kernels: str) -> None:
    run, other = _Run(kernels), _Run(kernels)
    for one in (run, other):
        one.optimizer = optim.SGD(one.net.parameters(), lr=0.1)  # momentum would go on without a gradient
        one.step(*batch(kernels, 0))
    before = {k: v for k, v in run.state().items() if not k.endswith("num_batches_tracked")}
    loss = run.step(*batch(kernels, 1, ()))
    assert np.isnan(loss.item())  # the mean of nothing, as in PyTorch
    for name, value in before.items():
        np.testing.assert_array_equal(run.state()[name], value, err_msg=name)
    assert run.step(*batch(kernels, 2)).item() == other.step(*batch(kernels, 2)).item()
    assert_same(run, other)


def test_nan_ends_training_by_name_of_the_step_and_the_device_goes_on(kernels: str) -> None:
    images = np.zeros((4, 4), np.float32)
    images[2, 1] = np.nan
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), device=kernels)
    bad = DataLoader(TensorDataset(images, np.zeros(4, np.int64)), 4)
    with pytest.raises(TrainingError, match=r"loss became nan at step 1 .*see that the images are finite") as told:
        trainer.fit(bad)
    assert "; the images given to 0 (Linear) have values that are not finite. Lower" in str(told.value)
    run = _Run(kernels)
    losses = [run.step(*batch(kernels, 0)).item() for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert np.isfinite(losses).all()


def test_nan_does_not_leave_its_image(kernels: str) -> None:
    run = _Run(kernels)
    run.net.eval()
    x, _ = batch(kernels, 0)
    clean = run.scores(x)
    spoiled = x.numpy().copy()
    spoiled[1, 0, 2, 2] = np.nan
    got = run.scores(gpunn.tensor(spoiled, device=kernels))
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(np.delete(got, 1, axis=0), np.delete(clean, 1, axis=0))
