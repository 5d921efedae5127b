"""ImageFolder: classes and files in sorted order, decoded on access; what cannot be decoded is named."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from gpunn.data import DataLoader, ImageFolder
from gpunn.errors import DataError, UsageError

Image = pytest.importorskip("PIL.Image")


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, np.uint8))
    (image if mode is None else image.convert(mode)).save(path)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path, pixels):
    """Written in another order than the sorted one."""
    folder = tmp_path / "images"
    for name, array in zip(
        ("dog/b.png", "dog/a/z.BMP", "dog/c.png", "cat/10.png", "cat/2.png", "Zebra/x.ppm"), pixels, strict=True
    ):
        save(folder / name, array)
    (folder / "dog" / "notes.txt").write_text("no image")
    (folder / "list.png").write_text("not in a class")
    save(folder / "dog" / ".hidden.png", pixels[0])
    save(folder / ".thumbnails" / "x.png", pixels[0])
    return folder


ORDER = [5, 3, 4, 1, 0, 2]  # of pixels, as the sorted paths have them


def test_classes_and_files_are_sorted(root):
    data = ImageFolder(root)
    assert data.classes == ("Zebra", "cat", "dog")
    assert data.class_to_idx == {"Zebra": 0, "cat": 1, "dog": 2}
    names = [path[len(str(root)) + 1 :].replace("\\", "/") for path, _ in data.samples]
    assert names == ["Zebra/x.ppm", "cat/10.png", "cat/2.png", "dog/a/z.BMP", "dog/b.png", "dog/c.png"]
    assert data.labels.tolist() == [label for _, label in data.samples] == [0, 1, 1, 2, 2, 2]
    assert (len(data), data.input_shape) == (6, (3, 5, 4))


def test_pixels_are_those_of_the_files(root, pixels):
    data = ImageFolder(root)
    x, y = data.batch(np.array([4, 0, 4]))
    assert (x.shape, x.dtype, y.dtype, y.tolist()) == ((3, 3, 5, 4), np.float32, np.int64, [2, 0, 2])
    expected = pixels[ORDER][[4, 0, 4]].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(x, expected)
    image, label = data[4]
    np.testing.assert_array_equal(image, expected[0])
    assert (type(label), label) == (int, 2)
    assert len(list(iter(data))) == 6  # indexing past the end stops iteration


def test_mean_and_deviation_of_each_channel(root, pixels):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    (x, _), *_ = DataLoader(ImageFolder(root, mean=mean, std=std), batch_size=6, num_workers=2)
    expected = (pixels[ORDER] / 255 - mean) / std
    # Three float32 operations on values up to 3: a few units in the last place of 3.
    np.testing.assert_allclose(x.numpy(), expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)
    assert x.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize(("size", "shape"), [(7, (7, 7)), ((3, 8), (3, 8)), ((5, 4), (5, 4))])
def test_resizing_is_pillows_bilinear(root, pixels, size, shape):
    data = ImageFolder(root, size)
    assert data.input_shape == (3, *shape)
    resized = Image.fromarray(pixels[ORDER[2]]).resize(shape[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(
        data[2][0], np.asarray(resized).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_rgb(tmp_path, pixels, channels):
    for mode in ("L", "LA", "RGB", "RGBA", "P", "1", "CMYK"):
        save(tmp_path / "a" / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}", pixels[0], mode)
    palette = Image.fromarray(pixels[0]).convert("P")
    palette.save(tmp_path / "a" / "transparent.png", transparency=bytes(range(256)))
    data = ImageFolder(tmp_path, channels=channels)
    assert data.input_shape == (channels, 5, 4)
    x, _ = data.batch(range(len(data)))
    assert (x.shape, 0 <= x.min() < x.max() <= 1) == ((8, channels, 5, 4), True)
    names = [path.rsplit("/", 1)[-1] for path, _ in data.samples]
    exact = Image.fromarray(pixels[0]).convert("L" if channels == 1 else "RGB")
    expected = np.asarray(exact, np.float32).reshape(5, 4, channels).transpose(2, 0, 1) / np.float32(255)
    for name in ("RGB.png", "RGBA.png"):
        np.testing.assert_array_equal(x[names.index(name)], expected)


def test_extensions_choose_the_files(root):
    assert len(ImageFolder(root / "dog", extensions=(".bmp",))) == 1
    with pytest.raises(DataError, match=r"expected images \(.png\) in .*Zebra; there is none.*Remove the folder"):
        ImageFolder(root, extensions=[".png"])


def test_a_file_is_opened_only_when_it_is_asked_for(root):
    data = ImageFolder(root, size=4)
    (root / "dog" / "b.png").unlink()
    data.batch([0, 1, 2, 3, 5])
    with pytest.raises(DataError, match=r"there is no file .*dog/b.png"):
        data.batch([3, 4])


@pytest.mark.parametrize("content", [b"", b"GIF89a and no more", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_file_that_is_no_image_is_named(root, content):
    (root / "cat" / "2.png").write_bytes(content)
    data = ImageFolder(root)
    with pytest.raises(DataError, match=r"cat/2.png: could not be decoded as an image.*Replace or remove"):
        list(DataLoader(data, batch_size=4, num_workers=1))
    with pytest.raises(DataError, match=r"cat/2.png: could not be decoded"):
        ImageFolder(root / "..", extensions=["2.png"])


def test_a_truncated_file_is_named(root):
    path = root / "dog" / "c.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"dog/c.png: could not be decoded as an image \(OSError"):
        ImageFolder(root)[5]


def test_other_sizes_need_size(root, pixels):
    save(root / "dog" / "c.png", pixels[0, :4])
    data = ImageFolder(root)
    with pytest.raises(DataError, match=r"dog/c.png is 4x4 \(height x width\); expected 5x4, as .*x.ppm. Give size="):
        data[5]


def test_deep_images_are_refused_not_cut_off(root):
    Image.fromarray(np.full((5, 4), 40000, np.uint16)).save(root / "dog" / "c.png")
    with pytest.raises(
        DataError, match=r"dog/c.png: expected an image of 8 bits a channel; it has more \(Pillow mode 'I(;16)?'\)"
    ):
        ImageFolder(root)[5]


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"one folder per class; .*absent is none"):
        ImageFolder(tmp_path / "absent")
    with pytest.raises(DataError, match="it has no folder"):
        ImageFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected images .* in .*empty; there is none"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"size to be a whole number or \(height, width\); got 0"),
        ({"size": (3, 4, 5)}, "size to be"),
        ({"size": (3, True)}, "size to be"),
        ({"size": 2.5}, "size to be"),
        ({"channels": 4}, r"channels to be 1 \(grey\) or 3 \(RGB\); got 4"),
        ({"extensions": ".png"}, "sequence of extensions"),
        ({"mean": (0.5, 0.5)}, r"mean to be one number or 3, one per channel; got \(0.5, 0.5\)"),
        ({"std": 0.0}, "positive std"),
        ({"mean": float("nan")}, "finite mean"),
    ],
)
def test_arguments_that_make_no_sense(root, options, message):
    with pytest.raises(UsageError, match=f"ImageFolder: expected .*{message}"):
        ImageFolder(root, **options)


def test_without_pillow_the_error_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"needs Pillow, which is not installed.*pip install 'gpunn\[vision\]'"):
        ImageFolder(root)
