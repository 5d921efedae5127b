"""Datasets and DataLoader: every item once, in an order the generator's state decides on every device."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn._device import device as get_device
from gpunn._tensor import Tensor
from gpunn.data import DataLoader, Dataset, TensorDataset
from gpunn.errors import DataError, DeviceError, DTypeError, ShapeError, UsageError
from gpunn.random import Generator, default_generator
from tests.devices import EVERYWHERE


def numbered(n: int) -> TensorDataset:
    """Items (row of floats, label), both telling the item's number."""
    rows = np.arange(n, dtype=np.float32)[:, None] + np.array([0, 0.25, 0.5], np.float32)
    return TensorDataset(rows, np.arange(n))


def labels_of(batches) -> list[int]:
    return [int(v) for _, y in batches for v in y.numpy()]


@pytest.fixture(params=EVERYWHERE)
def device(request):
    return get_device(request.param)


@pytest.fixture
def restored_default_generator():
    state = default_generator().get_state()
    yield default_generator()
    default_generator().set_state(state)


# -- datasets ------------------------------------------------------------------------------


class Squares(Dataset):
    """An item of every kind of field: array, Python float, Python int, Tensor."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return (
            np.full((2, 3), index, np.float64),
            index / 2,
            index**2,
            Tensor(np.full(4, index, np.int32), "cpu"),
        )


def test_default_batch_stacks_the_items():
    a, b, c, d = Squares(10).batch([7, 2])
    np.testing.assert_array_equal(a, np.stack([np.full((2, 3), 7.0), np.full((2, 3), 2.0)]))
    np.testing.assert_array_equal(b, [3.5, 1.0])
    np.testing.assert_array_equal(c, [49, 4])
    np.testing.assert_array_equal(d, [[7] * 4, [2] * 4])
    assert [x.dtype for x in (a, b, c, d)] == [np.float64, np.float32, np.int64, np.int32]


def test_single_fields_make_a_tuple_of_one():
    class Rows(Squares):
        def __getitem__(self, index):
            return np.array([index, -index])

    batch = Rows(5).batch([4, 0])
    assert isinstance(batch, tuple)
    np.testing.assert_array_equal(batch[0], [[4, -4], [0, 0]])


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (
            [(np.zeros(3), 0), (np.zeros(4), 0)],
            ShapeError,
            r"field 0 of item 0 has shape \(3,\); got \(4,\) in item 1",
        ),
        ([(0, 1), (0, 1.5)], DTypeError, "field 1 of item 0 is int64; got float32 in item 1"),
        ([(0, 1), (0, 1, 2)], DataError, "every item to have 2 fields, as item 0; item 1 has 3"),
        ([("text", 1), ("more", 1)], DTypeError, "arrays, tensors or numbers in item 0; got str"),
    ],
)
def test_items_that_do_not_fit_together(items, error, message):
    loader = DataLoader(items, batch_size=2)
    with pytest.raises(error, match=f"list: .*{message}"):
        next(iter(loader))


def test_empty_batch_is_an_error():
    with pytest.raises(DataError, match="Squares: expected at least one item"):
        Squares(3).batch([])


def test_a_base_dataset_says_what_to_define():
    with pytest.raises(NotImplementedError, match="__len__"):
        len(Dataset())
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Dataset()[0]


def test_tensor_dataset():
    x, y = np.arange(12.0).reshape(4, 3), np.array([3, 2, 1, 0])
    data = TensorDataset(x, Tensor(y, "cpu"), Tensor(np.ones(4, np.float32), "cpu", requires_grad=True))
    assert len(data) == 4
    np.testing.assert_array_equal(data[1][0], [3, 4, 5])
    assert data[1][1] == 2
    a, b, c = data.batch([2, 0])
    np.testing.assert_array_equal(a, x[[2, 0]])
    np.testing.assert_array_equal(b, [1, 3])
    np.testing.assert_array_equal(c, [1, 1])
    assert (a.dtype, b.dtype, c.dtype) == (np.float64, np.int64, np.float32)
    assert [field.shape for field in data.batch([])] == [(0, 3), (0,), (0,)]
    assert len(list(iter(data))) == 4


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ((), UsageError, "at least one array"),
        ((np.zeros(3), np.zeros(4)), ShapeError, r"got \[3, 4\]"),
        ((np.zeros(3), [1, 2, 3]), UsageError, "argument 1 is list"),
        ((np.array(3.0),), ShapeError, "argument 0 is 0-d"),
    ],
)
def test_tensor_dataset_refuses(arrays, error, message):
    with pytest.raises(error, match=f"TensorDataset: .*{message}"):
        TensorDataset(*arrays)


# -- batches -------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 45),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**64),
)
def test_every_item_once_in_batches_of_the_right_size(n, batch_size, shuffle, drop_last, seed):
    options = {"shuffle": shuffle, "drop_last": drop_last, "generator": Generator(seed)}
    if drop_last and n < batch_size:
        with pytest.raises(DataError, match=f"drop_last leaves no batch: {n} items, batch_size {batch_size}"):
            DataLoader(numbered(n), batch_size, **options)
        return
    loader = DataLoader(numbered(n), batch_size, **options)
    batches = list(loader)
    kept = n // batch_size * batch_size if drop_last else n
    assert len(batches) == len(loader) == math.ceil(kept / batch_size)
    assert [len(y) for _, y in batches[:-1]] == [batch_size] * (len(loader) - 1)
    order = labels_of(batches)
    assert len(set(order)) == len(order) == kept
    if not shuffle:
        assert order == list(range(kept))
    for x, y in batches:  # fields stay together
        np.testing.assert_array_equal(x.numpy()[:, 1], y.numpy() + np.float32(0.25))


def test_defaults_are_pytorchs():
    loader = DataLoader(numbered(3))
    assert (loader.batch_size, loader.shuffle, loader.drop_last, loader.device.name) == (
        1,
        False,
        False,
        "cpu",
    )
    assert labels_of(loader) == labels_of(loader) == [0, 1, 2]


def test_batches_are_tensors_on_the_device_with_their_dtypes(device):
    loader = DataLoader(numbered(5), batch_size=4, device=device)
    assert loader.device is device
    for batch in loader:
        assert isinstance(batch, tuple)
        x, y = batch
        assert isinstance(x, Tensor)
        assert x.device is y.device is device
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        assert not x.requires_grad


def test_order_and_values_are_the_same_on_every_device(device):
    def epochs(where):
        loader = DataLoader(numbered(50), 8, shuffle=True, generator=Generator(3), device=where)
        return [[(x.numpy().tolist(), y.numpy().tolist()) for x, y in loader] for _ in range(2)]

    assert epochs(device) == epochs("cpu")


def test_images_are_channels_last_in_memory(device):
    images = np.random.default_rng(0).random((6, 3, 4, 5), dtype=np.float32)
    loader = DataLoader(TensorDataset(images), batch_size=4, device=device)
    batches = [x for (x,) in loader]
    for x in batches:
        assert x.array.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(np.concatenate([x.numpy() for x in batches]), images)


def test_a_batch_never_shares_memory_with_the_dataset():
    data = numbered(4)
    for x, y in DataLoader(data, batch_size=4):
        x.fill_(-1)
        y.fill_(-1)
    np.testing.assert_array_equal(data.arrays[1], [0, 1, 2, 3])
    np.testing.assert_array_equal(data.arrays[0][:, 0], [0, 1, 2, 3])


def test_a_list_of_pairs_is_a_dataset():
    loader = DataLoader([(float(i), i) for i in range(5)], batch_size=2, shuffle=True, generator=Generator(1))
    batches = list(loader)
    assert sorted(labels_of(batches)) == [0, 1, 2, 3, 4]
    assert batches[0][0].dtype == np.float32


# -- order ---------------------------------------------------------------------------------


def test_shuffling_differs_between_epochs_and_seeds_but_repeats_for_a_seed():
    def two_epochs(seed):
        loader = DataLoader(numbered(30), 7, shuffle=True, generator=Generator(seed))
        return labels_of(loader), labels_of(loader)

    first, second = two_epochs(0)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(30)) != first
    assert two_epochs(0) == (first, second)
    assert two_epochs(1)[0] != first


def test_the_default_generator_decides_the_order_of_loaders_built_later(restored_default_generator):
    def orders():
        restored_default_generator.manual_seed(11)
        return [labels_of(DataLoader(numbered(30), 30, shuffle=True)) for _ in range(2)]

    first, second = orders()
    assert first != second  # each loader has a stream of its own
    assert orders() == [first, second]


def test_a_loader_leaves_the_generator_alone_that_it_was_spawned_from(restored_default_generator):
    loader = DataLoader(numbered(30), 3, shuffle=True)
    state = restored_default_generator.get_state()
    list(loader)
    assert restored_default_generator.get_state() == state


@pytest.mark.parametrize("shuffle", [True, False])
def test_one_draw_for_an_epoch_and_none_without_shuffling(shuffle):
    generator, reference = Generator(5), Generator(5)
    loader = DataLoader(numbered(10), 3, shuffle=shuffle, generator=generator)
    iterator = iter(loader)
    if shuffle:
        reference.permutation(10)
    assert generator.get_state() == reference.get_state()  # drawn at iter(), before the first batch
    list(iterator)
    assert generator.get_state() == reference.get_state()


def test_resuming_between_epochs():
    loader = DataLoader(numbered(20), 6, shuffle=True, generator=Generator(7))
    list(loader)
    state = loader.generator.get_state()
    rest = [labels_of(loader) for _ in range(3)]

    later = DataLoader(numbered(20), 6, shuffle=True, generator=Generator())
    later.generator.set_state(state)
    assert [labels_of(later) for _ in range(3)] == rest


@pytest.mark.parametrize("taken", [0, 1, 3, 4])
def test_resuming_within_an_epoch(taken):
    loader = DataLoader(numbered(20), 6, shuffle=True, generator=Generator(7))
    list(loader)
    iterator = iter(loader)
    for _ in range(taken):
        next(iterator)
    state = loader.epoch_state
    rest = labels_of(iterator), labels_of(loader)

    later = DataLoader(numbered(20), 6, shuffle=True, generator=Generator())
    later.generator.set_state(state)
    assert (labels_of(later.batches(start=taken)), labels_of(later)) == rest


def test_skipped_batches_are_not_read():
    seen = []

    class Watched(Squares):
        def __getitem__(self, index):
            seen.append(index)
            return index

    list(DataLoader(Watched(10), batch_size=4).batches(start=1))
    assert seen == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("start", [-1, 5])
def test_start_out_of_range(start):
    with pytest.raises(UsageError, match=f"start between 0 and 4, the number of batches; got {start}"):
        DataLoader(numbered(20), 6).batches(start)


# -- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("dataset", [[], numbered(0), Squares(0)])
def test_an_empty_dataset_is_refused_when_the_loader_is_built(dataset):
    with pytest.raises(DataError, match=rf"the dataset \({type(dataset).__name__}\) is empty"):
        DataLoader(dataset)


@pytest.mark.parametrize("batch_size", [0, -3, 2.0, True, None, "8"])
def test_batch_size_must_be_a_positive_whole_number(batch_size):
    with pytest.raises(UsageError, match="expected batch_size to be a whole number of at least 1"):
        DataLoader(numbered(3), batch_size)


def test_an_iterator_is_not_a_dataset():
    with pytest.raises(UsageError, match="__len__ and __getitem__; got generator"):
        DataLoader(i for i in range(3))


def test_an_unknown_device_is_refused_when_the_loader_is_built():
    with pytest.raises(DeviceError, match="tpu"):
        DataLoader(numbered(3), device="tpu")
