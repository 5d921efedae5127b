"""Standardisation and augmentation (lecture T0, T6)."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset, transforms
from gpunn.errors import ShapeError, UsageError


@pytest.mark.parametrize("shape", [(500, 4), (40, 3, 6, 5)])
def test_T0_standardised_inputs_have_mean_0_and_deviation_1(shape: tuple) -> None:
    x = 3 + 5 * np.random.Generator(np.random.Philox(0)).standard_normal(shape)
    layer = nn.Standardize.fit(gpunn.tensor(x))
    y = layer.double()(gpunn.tensor(x)).numpy()
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-6)  # mean and std are kept in float32
    np.testing.assert_allclose(y.std(axes), 1, atol=1e-6)
    batches = DataLoader(TensorDataset(x, np.arange(len(x))), 7)
    again = nn.Standardize.fit(batches)
    np.testing.assert_allclose(again.mean.numpy(), layer.float().mean.numpy(), rtol=1e-6)
    np.testing.assert_allclose(again.std.numpy(), layer.std.numpy(), rtol=1e-6)


def test_T0_is_kept_with_the_model(tmp_path) -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(1)).normal(100, 7, (50, 3)).astype(np.float32))
    model = nn.Sequential(nn.Standardize.fit(x), nn.Linear(3, 2))
    gpunn.save_file(model.state_dict(), tmp_path / "model.safetensors")
    other = nn.Sequential(nn.Standardize([0, 0, 0], [1, 1, 1]), nn.Linear(3, 2))
    other.load_state_dict(gpunn.load_file(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(other(x).detach().numpy(), model(x).detach().numpy())
    assert sorted(model.state_dict()) == ["0.mean", "0.std", "1.bias", "1.weight"]
    assert len(list(model.parameters())) == 2


def test_T0_normalize_transform_is_the_same() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(2)).random((9, 3, 4, 4)).astype(np.float32))
    layer = nn.Standardize.fit(x)
    normalize = transforms.Normalize(layer.mean.tolist(), layer.std.tolist())
    np.testing.assert_array_equal(normalize(x).numpy(), layer(x).numpy())


def test_T0_refuses() -> None:
    with pytest.raises(UsageError, match=r"channels \[1\] are constant"):
        nn.Standardize.fit(gpunn.tensor([[1.0, 5.0], [2.0, 5.0]]))
    with pytest.raises(UsageError, match="at least one input"):
        nn.Standardize.fit([])
    with pytest.raises(UsageError, match="positive deviations"):
        nn.Standardize(0.0, 0.0)
    with pytest.raises(ShapeError, match=r"expected x \(N, 2, ...\); got \(4, 3\)"):
        nn.Standardize([0, 0], [1, 1])(gpunn.ones(4, 3))


def test_T6_augmentation_keeps_what_is_on_the_image() -> None:
    """Every crop of an image, padded by 4, holds its middle; flips hold all pixels; cutout takes a square only."""
    x = np.zeros((64, 3, 32, 32), np.float32)
    x[:, :, 14:18, 14:18] = 1
    images, generator = gpunn.tensor(x), gpunn.Generator(0)
    cropped = transforms.RandomCrop(32, padding=4)(images, generator)
    assert (cropped.numpy().sum((1, 2, 3)) == 3 * 16).all()
    assert len({image.tobytes() for image in cropped.numpy()}) > 30  # of 81 positions
    flipped = transforms.RandomHorizontalFlip()(cropped, generator)
    np.testing.assert_array_equal(flipped.numpy().sum((1, 2, 3)), 3 * 16)
    cut = transforms.Cutout(8)(gpunn.ones(64, 3, 32, 32), generator).numpy()
    assert (cut.sum((1, 2, 3)) >= 3 * (32 * 32 - 64)).all()
    assert (cut.sum((1, 2, 3)) < 3 * 32 * 32).all()
    jittered = transforms.ColorJitter(0.2, 0.2, 0.2)(gpunn.rand(8, 3, 5, 5), generator).numpy()
    assert (jittered >= 0).all()
    assert (jittered <= 1).all()


def test_T6_runs_where_the_batch_is(kernels: str) -> None:
    data = TensorDataset(np.zeros((6, 3, 8, 8), np.float32), np.zeros(6, np.int64))
    change = transforms.Compose([transforms.RandomCrop(8, 2), transforms.RandomHorizontalFlip(), transforms.Cutout(2)])
    for x, labels in DataLoader(data, 3, device=kernels, transform=change):
        assert x.device is labels.device is gpunn.device(kernels)
