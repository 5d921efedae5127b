"""Datasets with torchvision's names: Pillow's images and labels, changed by transforms."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import DataError, GpunnError, RangeError, UsageError
from gpunn.utils.data import DataLoader
from gpunn.vision import datasets as typed
from gpunn.vision import transforms
from tests.parity_vision import torchvision

Image = pytest.importorskip("PIL.Image")
datasets: Any = typed  # so that wrong arguments pass the type checker


def idx(array: np.ndarray) -> bytes:
    """A file of MNIST's format."""
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


def write_mnist(folder: Path, n: int = 5, packed: bool = False) -> np.ndarray:
    folder.mkdir(parents=True)
    images = np.random.Generator(np.random.Philox(0)).integers(0, 256, (n, 28, 28), np.uint8)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", np.arange(n, dtype=np.uint8) % 10)):
            text = idx(array)
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(text) if packed else text)
    return images


@pytest.mark.parametrize("inside", ["MNIST/raw", "MNIST", "."])
@pytest.mark.parametrize("train", [True, False])
def test_mnist_where_torchvision_puts_it(tmp_path: Path, inside: str, train: bool) -> None:
    images = write_mnist(tmp_path / "data" / inside, packed=train)
    dataset = datasets.MNIST(str(tmp_path / "data"), train=train, download=True)  # it is there already
    image, label = dataset[-2]
    assert (image.mode, image.size, label, type(label)) == ("L", (28, 28), 3, int)
    np.testing.assert_array_equal(np.asarray(image), images[3])
    assert (dataset.data.shape, dataset.data.dtype, dataset.targets.tolist()) == (
        (5, 28, 28),
        np.uint8,
        [0, 1, 2, 3, 4],
    )
    assert (dataset.classes[3], dataset.class_to_idx["3 - three"]) == ("3 - three", 3)
    with pytest.raises(RangeError, match="MNIST: index 5 is out of range for 5"):
        dataset[5]


def test_transforms_and_loader(tmp_path: Path) -> None:
    images = write_mnist(tmp_path / "FashionMNIST" / "raw")
    dataset = datasets.FashionMNIST(
        tmp_path,
        train=True,
        transform=transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]),
        target_transform=lambda label: label + 10,
    )
    assert dataset.classes[9] == "Ankle boot"
    x, y = next(iter(DataLoader(dataset, batch_size=4, num_workers=2)))
    wanted = (images[:4, None] / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    np.testing.assert_array_equal(x.numpy(), wanted)
    assert (y.dtype, y.tolist()) == (np.int64, [10, 11, 12, 13])
    assert repr(dataset).splitlines() == [
        "Dataset FashionMNIST",
        "    Number of datapoints: 5",
        f"    Root location: {tmp_path}",
        "    Split: Train",
        "    Transform: Compose(",
        "    ToTensor()",
        "    Normalize(mean=(0.5,), std=(0.5,))",
        ")",
    ]


def test_cifar10(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    pixels = np.random.Generator(np.random.Philox(0)).integers(0, 256, (4, 3, 32, 32), np.uint8)
    records = b"".join(bytes([label]) + image.tobytes() for label, image in zip((3, 1, 9, 0), pixels, strict=True))
    (folder / "test_batch.bin").write_bytes(records)
    dataset = datasets.CIFAR10(tmp_path, train=False)
    image, label = dataset[2]
    assert (image.mode, label, dataset.targets, dataset.classes[label]) == ("RGB", 9, [3, 1, 9, 0], "truck")
    np.testing.assert_array_equal(np.asarray(image), pixels[2].transpose(1, 2, 0))
    np.testing.assert_array_equal(dataset.data, pixels.transpose(0, 2, 3, 1))
    with pytest.raises(DataError, match=r"data_batch_1\.bin"):
        datasets.CIFAR10(tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i, name in enumerate(["dog/b.png", "dog/a/z.png", "cat/2.PNG", "cat/10.bmp", "cat/notes.txt", ".hidden/x.png"]):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            path.write_text("text")
        else:
            Image.new("L", (4, 3), i).save(path)
    return tmp_path


def test_a_folder_of_images(photos: Path) -> None:
    dataset = datasets.ImageFolder(photos)
    assert (dataset.classes, dataset.class_to_idx) == (["cat", "dog"], {"cat": 0, "dog": 1})
    names = [(str(Path(path).relative_to(photos)), label) for path, label in dataset.samples]
    assert names == [("cat/10.bmp", 0), ("cat/2.PNG", 0), ("dog/b.png", 1), ("dog/a/z.png", 1)]
    assert dataset.imgs is dataset.samples
    assert dataset.targets == [0, 0, 1, 1]
    image, label = dataset[3]
    assert (image.mode, image.size, label, image.getpixel((0, 0))) == ("RGB", (4, 3), 1, (1, 1, 1))
    chosen = datasets.ImageFolder(str(photos), is_valid_file=lambda path: path.endswith("z.png"), allow_empty=True)
    assert chosen.targets == [1]
    assert datasets.ImageFolder(photos, loader=lambda path: Path(path).name, transform=str.upper)[0] == ("10.BMP", 0)
    texts = datasets.DatasetFolder(photos, lambda path: Path(path).read_text(), (".TXT",), allow_empty=True)
    assert [*texts] == [("text", 0)]


def test_folders_are_torchvisions(photos: Path) -> None:
    library = torchvision("datasets")
    (photos / ".hidden" / "x.png").unlink()
    (photos / ".hidden").rmdir()
    for options in ({}, {"is_valid_file": lambda path: "o" in path, "allow_empty": True}):
        mine, theirs = datasets.ImageFolder(str(photos), **options), library.ImageFolder(str(photos), **options)
        assert (mine.samples, mine.classes, mine.targets) == (theirs.samples, theirs.classes, theirs.targets)
    mine, theirs = datasets.ImageFolder(str(photos)), library.ImageFolder(str(photos))
    for (image, label), (other, wanted) in zip(mine, theirs, strict=True):
        assert (image.mode, image.tobytes(), label) == (other.mode, other.tobytes(), wanted)
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda root: datasets.MNIST(root), DataError, "MNIST: .*MNIST/raw.*download=True"),
        (lambda root: datasets.FashionMNIST(root), DataError, "FashionMNIST: .*FashionMNIST/raw.*download=True"),
        (
            lambda root: datasets.MNIST(root, transform=transforms.ToTensor),
            UsageError,
            "transform: expected an instance",
        ),
        (lambda root: datasets.MNIST(root, transform=3), UsageError, "transform: expected an instance"),
        (lambda root: datasets.MNIST(3), GpunnError, "root: expected a string or a path"),
        (lambda root: datasets.ImageFolder(root), DataError, "one folder per class"),
        (lambda root: datasets.DatasetFolder(root, str), UsageError, "either extensions or is_valid_file"),
        (lambda root: datasets.DatasetFolder(root, 3, (".a",)), UsageError, "loader: expected a function"),
        (lambda root: datasets.VisionDataset(root, str, transform=str.upper), UsageError, "goes without"),
    ],
)
def test_what_is_refused(tmp_path: Path, make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make(tmp_path)
    assert len(str(caught.value)) < 500


def test_a_class_without_images_is_told(photos: Path) -> None:
    (photos / "bird").mkdir()
    with pytest.raises(DataError, match=r"ImageFolder: expected files .*bird; there is none.*allow_empty=True"):
        datasets.ImageFolder(photos)
    assert datasets.ImageFolder(photos, allow_empty=True).classes == ["bird", "cat", "dog"]


def test_names_come_with_the_package() -> None:
    assert gpunn.vision.datasets is typed
    with pytest.raises(AttributeError, match=r"no attribute 'io'; it has datasets, models, "):
        _ = gpunn.vision.io  # type: ignore[attr-defined]


def test_noise_is_the_same_every_time(tmp_path: Path) -> None:
    made = datasets.FakeData(60, (3, 4, 6), 5, transform=transforms.ToTensor())
    (x, label), (again, same) = made[7], made[7]
    assert (tuple(x.shape), label, x.tolist()) == ((3, 4, 6), same, again.tolist())
    assert made[8][0].tolist() != x.tolist()
    assert datasets.FakeData(60, (3, 4, 6), 5, transforms.ToTensor(), random_offset=1)[6][0].tolist() == x.tolist()
    assert {label for _, label in (made[i] for i in range(60))} == {0, 1, 2, 3, 4}
    assert datasets.FakeData(2, (1, 5, 5))[0][0].mode == "L"
    with pytest.raises(RangeError, match="out of range for 60"):
        made[60]
    with pytest.raises(UsageError, match="C 1 or 3"):
        datasets.FakeData(image_size=(2, 4, 4))


def test_cifar100_as_torchvision_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    record = np.random.Generator(np.random.Philox(0)).integers(0, 256, 3074, np.uint8)
    record[:2] = (3, 98)
    (folder / "test.bin").write_bytes(record.tobytes())
    dataset = datasets.CIFAR100(tmp_path, train=False, download=False)
    image, label = dataset[0]
    assert (image.mode, image.size, label, dataset.classes[label]) == ("RGB", (32, 32), 98, "woman")
    np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1).ravel(), record[2:])
    assert dataset.data.shape == (1, 32, 32, 3)
    assert dataset.targets == [98]
