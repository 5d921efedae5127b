"""MNIST and Fashion-MNIST: the published files are read exactly, and files that are not it are refused.

The small tests write tiny IDX files. The tests of the real data need it in ``$GPUNN_DATA/mnist``, or
in ``../shared/data/mnist`` beside the repository, and are skipped where it is not.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from gpunn.data import MNIST, FashionMNIST
from gpunn.errors import DataError

DATA = Path(os.environ.get("GPUNN_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
needs_mnist = pytest.mark.skipif(
    not (DATA / "mnist").is_dir(),
    reason=f"no MNIST in {DATA / 'mnist'}; set GPUNN_DATA to the folder above mnist/",
)

# sha256 of the published files, decompressed.
PUBLISHED = {
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX file of a uint8 array."""
    return struct.pack(f">2xBB{array.ndim}I", 0x08, array.ndim, *array.shape) + array.tobytes()


def write_pair(folder, images, labels, prefix="train", suffix=""):
    folder.mkdir(exist_ok=True)
    for kind, array in ((f"{prefix}-images-idx3-ubyte", images), (f"{prefix}-labels-idx1-ubyte", labels)):
        data = idx_bytes(array)
        (folder / (kind + suffix)).write_bytes(gzip.compress(data) if suffix else data)
    return folder


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.array([5, 0, 4, 1, 9, 2, 1], np.uint8)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("train", [True, False])
def test_reads_its_half(tmp_path, images, labels, suffix, train):
    write_pair(tmp_path, images, labels, "train" if train else "t10k", suffix)
    data = MNIST(tmp_path, train=train)
    assert len(data) == 7
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels)
    assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int64)
    assert data.input_shape == (1, 28, 28)
    assert data.classes == tuple("0123456789")
    with pytest.raises(DataError, match="t10k" if train else "train"):
        MNIST(tmp_path, train=not train)


def test_training_and_test_files_are_told_apart(tmp_path, images, labels):
    write_pair(tmp_path, images, labels, "train")
    write_pair(tmp_path, images[::-1], labels[::-1], "t10k", ".gz")
    np.testing.assert_array_equal(MNIST(tmp_path, train=True).images, images)
    np.testing.assert_array_equal(MNIST(tmp_path, train=False).images, images[::-1])


def test_batch_is_the_formula(tmp_path, images, labels):
    data = MNIST(write_pair(tmp_path, images, labels))
    x, y = data.batch(np.array([6, 0, 6]))
    assert (x.shape, x.dtype, y.dtype) == ((3, 1, 28, 28), np.float32, np.int64)
    expected = (images[[6, 0, 6]].astype(np.float64) / 255 - 0.1307) / 0.3081
    # Three float32 operations on values up to 3: a few units in the last place of 3.
    np.testing.assert_allclose(x[:, 0], expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(y, [1, 5, 1])
    x[...] = 0
    np.testing.assert_array_equal(data.images, images)


def test_batch_equals_torchvision_bit_for_bit(tmp_path, images, labels):
    """``ToTensor`` then ``Normalize``, spelled with the PyTorch calls they consist of."""
    torch = pytest.importorskip("torch")
    images.reshape(-1)[:256] = np.arange(256)  # every byte
    x, _ = MNIST(write_pair(tmp_path, images, labels)).batch(np.arange(7))
    reference = torch.from_numpy(images)[:, None].to(torch.float32).div(255)
    reference = reference.sub_(torch.tensor(0.1307)).div_(torch.tensor(0.3081))
    np.testing.assert_array_equal(x, reference.numpy())


def test_an_item_is_the_batch_of_one(tmp_path, images, labels):
    data = MNIST(write_pair(tmp_path, images, labels))
    x, y = data.batch([3])
    image, label = data[3]
    np.testing.assert_array_equal(image, x[0])
    assert image.shape == (1, 28, 28)
    assert (type(label), label) == (int, int(y[0]))
    assert len(list(iter(data))) == 7  # indexing past the end stops iteration


def test_fashion_mnist_has_the_same_files_and_its_own_figures(tmp_path, images, labels, monkeypatch):
    write_pair(tmp_path / "fashion-mnist", images, labels, suffix=".gz")
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path))
    data = FashionMNIST()
    np.testing.assert_array_equal(data.images, images)
    assert (data.mean, data.std, data.input_shape) == (0.2860, 0.3530, (1, 28, 28))
    assert (len(data.classes), data.classes[0], data.classes[9]) == (10, "T-shirt/top", "Ankle boot")
    x, y = data.batch([1])
    expected = (images[1].astype(np.float64) / 255 - 0.2860) / 0.3530
    np.testing.assert_allclose(x[0, 0], expected, rtol=0, atol=1e-6)  # as for MNIST, above
    assert y.tolist() == [0]
    with pytest.raises(DataError, match=r"FashionMNIST: expected t10k.*fashion-mnist/ with --data-dir"):
        FashionMNIST(train=False)


def test_default_folder_is_below_gpunn_data(tmp_path, images, labels, monkeypatch):
    write_pair(tmp_path / "mnist", images, labels)
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path))
    assert len(MNIST()) == 7


@pytest.mark.parametrize("root", ["given", "absent", None])
def test_missing_files_are_named_with_both_ways_to_point_to_them(tmp_path, root, monkeypatch):
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path))
    (tmp_path / "given").mkdir()
    folder = tmp_path / (root or "mnist")
    with pytest.raises(DataError) as caught:
        MNIST(None if root is None else folder)
    message = str(caught.value)
    for part in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        ".gz",
        str(folder),
        "--data-dir",
        "$GPUNN_DATA",
    ):
        assert part in message
    assert ("does not exist" in message) == (root != "given")


@pytest.mark.parametrize("value", [None, ""])
def test_without_gpunn_data_the_cache_folder_is_looked_into(monkeypatch, value, tmp_path, images, labels):
    monkeypatch.delenv("GPUNN_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("GPUNN_DATA", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.*gpunn/mnist.*GPUNN_DATA is not set.*--data-dir"):
        MNIST(train=False)
    (tmp_path / "gpunn").mkdir()
    write_pair(tmp_path / "gpunn" / "mnist", images, labels)
    assert len(MNIST()) == 7


def test_one_file_missing_is_said(tmp_path, images, labels):
    write_pair(tmp_path, images, labels)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="which has no train-labels-idx1-ubyte"):
        MNIST(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:6], y), "got 6 images and 7 labels"),
        (lambda x, y: (x[:, :27], y), r"28x28 bytes.*got uint8 \(7, 27, 28\)"),
        (lambda x, y: (x[:0], y[:0]), "at least one image"),
        (lambda x, y: (y, y), r"28x28 bytes.*got uint8 \(7,\)"),
        (lambda x, y: (x, x), r"one integer label per image; got uint8 \(7, 28, 28\)"),
        (lambda x, y: (x, np.where(np.arange(7) == 4, 10, y).astype(np.uint8)), "got 10 at position 4"),
    ],
)
def test_what_is_not_mnist_is_refused_by_name(tmp_path, images, labels, change, message):
    write_pair(tmp_path, *change(images, labels))
    with pytest.raises(DataError, match=rf"MNIST \(.*train-images-idx3-ubyte and train-labels.*{message}"):
        MNIST(tmp_path)


def test_damaged_file_is_refused(tmp_path, images, labels):
    write_pair(tmp_path, images, labels)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated"):
        MNIST(tmp_path)


@pytest.fixture(scope="module", params=[True, False], ids=["train", "test"])
def real(request):
    return MNIST(DATA / "mnist", train=request.param)


@needs_mnist
def test_real_files_are_the_published_ones(real):
    """What was read, put back into a file's bytes, has the published digest."""
    prefix = "train" if real.train else "t10k"
    assert hashlib.sha256(idx_bytes(real.images)).hexdigest() == PUBLISHED[f"{prefix}-images"]
    assert hashlib.sha256(idx_bytes(real.labels.astype(np.uint8))).hexdigest() == PUBLISHED[f"{prefix}-labels"]
    assert len(real) == (60_000 if real.train else 10_000)


@needs_mnist
def test_real_mean_and_deviation_are_the_customary_ones():
    """0.1307 and 0.3081 are the training pixels' own, to the four digits given."""
    counts = [int(n) for n in np.bincount(MNIST(DATA / "mnist").images.ravel(), minlength=256)]
    n = sum(counts)
    mean = sum(value * count for value, count in enumerate(counts)) / n / 255
    variance = sum(value * value * count for value, count in enumerate(counts)) / n / 255**2 - mean**2
    assert (round(mean, 4), round(variance**0.5, 4)) == (MNIST.train_mean, MNIST.train_std) == (0.1307, 0.3081)


@needs_mnist
def test_real_batches_are_standardised():
    x, y = MNIST(DATA / "mnist").batch(np.arange(60_000))
    assert abs(x.mean(dtype=np.float64)) < 2e-4  # the figures are rounded to 1e-4, 3e-4 of a deviation
    assert abs(x.std(dtype=np.float64) - 1) < 2e-4
    assert y[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
