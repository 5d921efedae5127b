"""CIFAR-10: the binary batches are read exactly, plane by plane; what is not one is refused."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest

from gpunn.data import CIFAR10, CIFAR100, DataLoader
from gpunn.errors import DataError

DATA = Path(os.environ.get("GPUNN_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
COPY = DATA / "cifar10" / "cifar10_jpeg.npz"
BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)]


def write(folder: Path, records: np.ndarray, names=("test_batch.bin",)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(names, np.array_split(records, len(names)), strict=True):
        (folder / name).write_bytes(part.tobytes())
    return folder


@pytest.fixture
def records():
    """12 images, labels 0 to 9 and two more; every byte occurs."""
    made = np.random.default_rng(0).integers(0, 256, (12, 3073), dtype=np.uint8)
    made[:, 0] = np.arange(12) % 10
    made[0, 1:257] = np.arange(256)
    return made


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_reads_both_halves_from_either_folder(tmp_path, records, inner):
    write(tmp_path / inner, records, BATCHES)
    write(tmp_path / inner, records[::-1])
    for train, expected in ((True, records), (False, records[::-1])):
        data = CIFAR10(tmp_path, train=train)
        assert (len(data), data.train, data.input_shape) == (12, train, (3, 32, 32))
        np.testing.assert_array_equal(data.labels, expected[:, 0])
        np.testing.assert_array_equal(data.images, expected[:, 1:].reshape(12, 3, 32, 32))
        assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int64)
        assert data.images.transpose(0, 2, 3, 1).flags.c_contiguous
    assert data.classes == (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )


def test_default_folder(tmp_path, records, monkeypatch):
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path))
    write(tmp_path / "cifar10" / "cifar-10-batches-bin", records)
    assert len(CIFAR10(train=False)) == 12


def test_batch_equals_torchvision_bit_for_bit(tmp_path, records):
    """``ToTensor`` then ``Normalize``, spelled with the PyTorch calls they consist of."""
    torch = pytest.importorskip("torch")
    data = CIFAR10(write(tmp_path, records, BATCHES))
    chosen = np.array([11, 0, 0, 5])
    x, y = data.batch(chosen)
    reference = torch.from_numpy(records[chosen, 1:].reshape(4, 3, 32, 32)).to(torch.float32).div(255)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))
    np.testing.assert_array_equal(x, reference.sub_(mean).div_(std).numpy())
    assert y.tolist() == [1, 0, 0, 5]
    assert x.dtype == np.float32
    image, label = data[11]
    np.testing.assert_array_equal(image, x[0])
    assert (type(label), label) == (int, 1)
    x[...] = 0
    np.testing.assert_array_equal(data.images[0], records[0, 1:].reshape(3, 32, 32))


def test_the_loader_gives_what_the_formula_says(tmp_path, records):
    data = CIFAR10(write(tmp_path, records, BATCHES))
    (x, y), *_ = DataLoader(data, batch_size=12)
    expected = records[:, 1:].reshape(12, 3, 32, 32) / 255
    expected = (expected - np.reshape(data.mean, (3, 1, 1))) / np.reshape(data.std, (3, 1, 1))
    # Three float32 operations on values up to 3: a few units in the last place of 3.
    np.testing.assert_allclose(x.numpy(), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(y.numpy(), records[:, 0])


def test_missing_files_are_named_with_the_ways_out(tmp_path, records):
    with pytest.raises(DataError, match=r"data_batch_1.bin to data_batch_5.bin in .*absent.*does not exist"):
        CIFAR10(tmp_path / "absent")
    write(tmp_path, records, BATCHES[:4])
    with pytest.raises(
        DataError, match=r"has no data_batch_5.bin.*download=True.*--download.*cifar10/ with --data-dir"
    ):
        CIFAR10(tmp_path)
    with pytest.raises(DataError, match=r"CIFAR10: expected test_batch.bin in .*which has no test_batch.bin"):
        CIFAR10(write(tmp_path / "cifar-10-batches-bin", records, BATCHES), train=False)


@pytest.mark.parametrize("extra", [-1, 1, -12 * 3073])
def test_a_cut_file_is_refused_by_name(tmp_path, records, extra):
    write(tmp_path, records)
    path = tmp_path / "test_batch.bin"
    path.write_bytes((path.read_bytes() + b"0")[: 12 * 3073 + extra])
    with pytest.raises(DataError, match=rf"{path}: expected a whole number of records of 3073 bytes; found"):
        CIFAR10(tmp_path, train=False)


def test_labels_are_checked(tmp_path, records):
    records[7, 0] = 10
    with pytest.raises(DataError, match=r"CIFAR10 \(.*test_batch.bin\).*labels 0 to 9; got 10 at position 7"):
        CIFAR10(write(tmp_path, records), train=False)


@pytest.mark.skipif(not COPY.is_file(), reason=f"no {COPY}; set GPUNN_DATA to the folder above cifar10/")
def test_real_mean_and_deviation_are_the_customary_ones(tmp_path):
    """On every tenth training image of a lossy copy, written as a published batch."""
    image = pytest.importorskip("PIL.Image")
    with np.load(COPY) as copy:
        header, bodies, lengths = copy["header"].tobytes(), copy["train_bodies"].tobytes(), copy["train_lengths"]
        labels = copy["train_labels"][::10]
    ends = np.cumsum(lengths, dtype=np.int64)
    records = np.empty((len(labels), 3073), np.uint8)
    records[:, 0] = labels
    for row, end, length in zip(records, ends[::10], lengths[::10], strict=True):
        pixels = np.asarray(image.open(io.BytesIO(header + bodies[end - length : end])))
        row[1:] = pixels.transpose(2, 0, 1).ravel()
    data = CIFAR10(write(tmp_path, records, BATCHES))
    x, y = data.batch(np.arange(len(data)))
    # An image's own mean scatters by 0.5 deviations; over 5,000 images by 0.007, and JPEG smooths a little.
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3), dtype=np.float64), 0, atol=0.02)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3), dtype=np.float64), 1, atol=0.02)
    assert np.bincount(y).min() > 400


@pytest.mark.parametrize("inner", ["", "cifar-100-binary"])
def test_the_hundred_classes_have_a_coarse_label_in_front(tmp_path, inner):
    made = np.random.default_rng(0).integers(0, 256, (6, 3074), dtype=np.uint8)
    made[:, 0], made[:, 1] = 19, (0, 1, 50, 98, 99, 7)
    write(tmp_path / inner, made, ["train.bin"])
    write(tmp_path / inner, made[::-1], ["test.bin"])
    for train, expected in ((True, made), (False, made[::-1])):
        data = CIFAR100(tmp_path, train=train)
        np.testing.assert_array_equal(data.labels, expected[:, 1])
        np.testing.assert_array_equal(data.images, expected[:, 2:].reshape(6, 3, 32, 32))
    assert (len(data.classes), data.classes[0], data.classes[99]) == (100, "apple", "worm")
    assert sorted(data.classes) == list(data.classes)
    (tmp_path / inner / "test.bin").write_bytes(made[0].tobytes() + b"0")
    with pytest.raises(DataError, match="whole number of records of 3074 bytes; found 3075"):
        CIFAR100(tmp_path, train=False)
    (tmp_path / inner / "train.bin").unlink()
    with pytest.raises(DataError, match=r"CIFAR100.*train\.bin"):
        CIFAR100(tmp_path)
