"""Random transforms: what a batch draws depends on the loader's generator and the batch's number alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn._device import device as get_device
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import UsageError
from gpunn.random import Generator
from tests.devices import EVERYWHERE


@pytest.fixture(params=EVERYWHERE)
def device(request):
    return get_device(request.param)


def images(n: int = 20) -> TensorDataset:
    return TensorDataset(np.arange(n * 12, dtype=np.float32).reshape(n, 3, 2, 2), np.arange(n))


def jitter(x, generator):
    """Adds a number of its own to every image, drawn on the host."""
    noise = generator.uniform(0.0, 1.0, (len(x), 1, 1, 1))
    return x + gpunn.tensor(noise, device=x.device)


def loader(workers=0, seed=7, **options):
    return DataLoader(images(), 6, generator=Generator(seed), transform=jitter, num_workers=workers, **options)


def values(batches):
    return [(x.numpy().tolist(), y.numpy().tolist()) for x, y in batches]


def test_the_first_field_is_replaced_and_the_others_stay(device):
    seen = []

    def record(x, generator):
        seen.append((x.shape, x.device, generator.path))
        return x * 2

    data = images()
    batches = list(DataLoader(data, 6, transform=record, device=device, generator=Generator(0)))
    np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in batches]), 2 * data.arrays[0])
    np.testing.assert_array_equal(np.concatenate([y.numpy() for _, y in batches]), data.arrays[1])
    assert [shape[0] for shape, _, _ in seen] == [6, 6, 6, 2]
    assert all(where is device for _, where, _ in seen)
    assert len({path for _, _, path in seen}) == 4  # a generator for each batch


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_same_on_every_device_and_for_every_number_of_workers(device, shuffle):
    def epochs(**options):
        made = loader(shuffle=shuffle, **options)
        return [values(made) for _ in range(2)]

    reference = epochs()
    assert epochs(device=device) == epochs(device=device, workers=3) == reference


def test_epochs_and_batches_and_seeds_differ():
    made = loader()
    plain = images().arrays[0].reshape(20, 12)
    noise = [np.concatenate([x.numpy().reshape(-1, 12) for x, _ in made]) - plain for _ in range(2)]
    other = np.concatenate([x.numpy().reshape(-1, 12) for x, _ in loader(seed=8)]) - plain
    # 60 draws, all different but for rounding at values up to 240.
    assert len(np.unique(np.concatenate([*noise, other])[:, 0].round(4))) == 60


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 3, 4])
def test_resuming_within_an_epoch_repeats_the_transforms(shuffle, workers, taken):
    made = loader(workers, shuffle=shuffle)
    list(made)
    iterator = iter(made)
    for _ in range(taken):
        next(iterator)
    state = made.epoch_state
    rest = values(iterator), values(made)

    later = loader(workers, seed=0, shuffle=shuffle)
    later.generator.set_state(state)
    assert (values(later.batches(start=taken)), values(later)) == rest


def test_resuming_between_epochs_repeats_the_transforms():
    made = loader(shuffle=True)
    list(made)
    state = made.generator.get_state()
    rest = [values(made) for _ in range(2)]
    later = loader(seed=0, shuffle=True)
    later.generator.set_state(state)
    assert [values(later) for _ in range(2)] == rest


def test_a_transform_does_not_change_the_order():
    plain = DataLoader(images(), 6, shuffle=True, generator=Generator(7))
    made = loader(shuffle=True)
    for _ in range(2):
        assert [y.tolist() for _, y in made] == [y.tolist() for _, y in plain]


def test_no_gradients_are_recorded():
    weight = gpunn.ones(1, 3, 1, 1, requires_grad=True)
    (x, _), *_ = DataLoader(images(), 6, transform=lambda x, generator: x * weight)
    assert not x.requires_grad
    assert (weight * 2).requires_grad  # recording is on again outside


def test_single_fields_and_collated_batches():
    def double(x, generator):
        return x * 2

    data = [np.float32(i) for i in range(4)]
    assert [x.tolist() for (x,) in DataLoader(data, 2, transform=double)] == [[0, 2], [4, 6]]
    assert [x.tolist() for x in DataLoader(data, 2, transform=double, collate_fn=np.array)] == [[0, 2], [4, 6]]
    first, *_ = DataLoader(data, 2, transform=double, collate_fn=lambda items: [np.array(items), "name"])
    assert (first[0].tolist(), first[1]) == ([0, 2], "name")


def test_what_is_refused():
    with pytest.raises(UsageError, match="first field is a tensor; got dict"):
        list(DataLoader([1, 2], transform=jitter, collate_fn=lambda items: {"n": np.array(items)}))
    with pytest.raises(UsageError, match="transform to return a Tensor; got ndarray"):
        list(DataLoader(images(), transform=cast(Any, lambda x, generator: x.numpy())))
    with pytest.raises(ZeroDivisionError):
        list(DataLoader(images(), num_workers=2, transform=cast(Any, lambda x, generator: 1 // 0)))
