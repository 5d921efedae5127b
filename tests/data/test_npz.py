"""NpzDataset: the arrays of the file, images standardised and channels first; other files are refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn.data import DataLoader, NpzDataset
from gpunn.errors import DataError, UsageError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def draw(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_colour_images_of_bytes(path, names, save):
    images, labels = draw(7, 5, 4, 3), np.array([3, 0, 1, 1, 2, 0, 3], np.uint8)
    save(path, **dict(zip(names, (images, labels), strict=True)))
    data = NpzDataset(path, mean=(0.4, 0.5, 0.6), std=0.25)
    assert (len(data), data.input_shape, data.classes) == (7, (3, 5, 4), ("0", "1", "2", "3"))
    np.testing.assert_array_equal(data.x, images.transpose(0, 3, 1, 2))
    x, y = data.batch([6, 1])
    expected = (images[[6, 1]] / 255 - (0.4, 0.5, 0.6)) / 0.25
    # Three float32 operations on values up to 3: a few units in the last place of 3.
    np.testing.assert_allclose(x, expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)
    assert (x.dtype, y.dtype, y.tolist()) == (np.float32, np.int64, [3, 0])
    image, label = data[6]
    np.testing.assert_array_equal(image, x[0])
    assert (type(label), label) == (int, 3)
    assert len(list(iter(data))) == 7


def test_keras_parts_and_their_columns_of_labels(path):
    train, test = draw(6, 28, 28), draw(4, 28, 28)[::-1]
    np.savez(path, x_train=train, y_train=np.arange(6)[:, None], x_test=test, y_test=np.arange(4)[:, None])
    for part, images in ((True, train), (False, test)):
        data = NpzDataset(path, train=part)
        assert (data.input_shape, data.y.shape) == ((1, 28, 28), (len(images),))
        np.testing.assert_array_equal(data.batch([2])[0][0, 0], images[2].astype(np.float32) / np.float32(255))
    with pytest.raises(UsageError, match=r"choose one with train=True or train=False. It holds x_train"):
        NpzDataset(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_and_float_targets_are_given_as_stored(path, dtype, order):
    x = np.asarray(np.arange(12).reshape(4, 3), dtype, order=order)
    y = np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2)
    np.savez(path, x=x, y=y)
    data = NpzDataset(path)
    assert (data.input_shape, data.classes) == ((3,), ())
    taken, targets = data.batch(np.array([3, 0]))
    assert taken.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(taken, x[[3, 0]])
    np.testing.assert_array_equal(targets, y[[3, 0]])
    taken[...] = 0
    np.testing.assert_array_equal(data[3][0], x[3])
    np.testing.assert_array_equal(data[3][1], y[3])


@pytest.mark.parametrize("last", [True, False])
def test_float_images_become_channels_first_and_stay_what_they_are(path, last):
    images = np.random.default_rng(0).random((5, 3, 6, 4))
    np.savez(path, x=images.transpose(0, 2, 3, 1) if last else images, y=np.arange(5))
    (x, y), *_ = DataLoader(NpzDataset(path), batch_size=5)
    assert (x.dtype, y.dtype) == (np.float64, np.int64)
    np.testing.assert_array_equal(x.numpy(), images)


def test_channels_that_could_be_either_axis_must_be_said(path):
    images = draw(2, 3, 5, 3)
    np.savez(path, x=images, y=[0, 1])
    with pytest.raises(UsageError, match=r"which axis of \(2, 3, 5, 3\).*layout='NCHW' or 'NHWC'"):
        NpzDataset(path)
    np.testing.assert_array_equal(NpzDataset(path, layout="NCHW").x, images)
    np.testing.assert_array_equal(NpzDataset(path, layout="NHWC").x, images.transpose(0, 3, 1, 2))
    with pytest.raises(UsageError, match="layout 'NCHW' or 'NHWC'; got 'CHWN'"):
        NpzDataset(path, layout="CHWN")


def test_names_of_classes(path):
    np.savez(path, x=draw(3, 4, 4), y=[2, 0, 1])
    assert NpzDataset(path, classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")
    with pytest.raises(DataError, match="expected labels 0 to 1; got 2 at position 0"):
        NpzDataset(path, classes=["a", "b"])


OK = {"x": draw(3, 4, 4), "y": np.arange(3)}


@pytest.mark.parametrize(
    ("arrays", "train", "message"),
    [
        ({"x": OK["x"]}, None, "expected either x and y or images and labels; it holds x"),
        ({**OK, "images": OK["x"], "labels": OK["y"]}, None, "either x and y or images and labels; it holds x, y, im"),
        (OK, True, "train=True expects x_train and y_train; it holds x, y"),
        (OK, False, "train=False expects x_test and y_test; it holds x, y"),
        ({**OK, "y": np.arange(4)}, None, r"as many targets as inputs.*\(3, 4, 4\) and targets \(4,\)"),
        ({"x": OK["x"][:0], "y": OK["y"][:0]}, None, "at least one"),
        ({"x": np.array(1), "y": np.array(1)}, None, "as many targets"),
        ({**OK, "y": np.arange(3) - 1}, None, "labels of at least 0; got -1 at position 0"),
        (
            {**OK, "y": np.eye(3, dtype=int)},
            None,
            r"one integer label per input, \(N,\) or \(N, 1\); got int64 \(3, 3\)",
        ),
        ({**OK, "y": np.array(["a", "b", "c"])}, None, "expected targets to be numbers; got <U1"),
        ({**OK, "x": np.zeros(3, complex)}, None, "expected inputs to be numbers; got complex128"),
        ({**OK, "y": np.arange(3) * 10**9}, None, "labels that number classes; got 2000000000"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(path, arrays, train, message):
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"NpzDataset \({path}\): .*{message}"):
        NpzDataset(path, train)


def test_pickled_objects_are_refused(path):
    np.savez(path, x=np.array([{}, {}]), y=[0, 1])
    with pytest.raises(DataError, match=r"x cannot be read: Object arrays cannot be loaded"):
        NpzDataset(path)


def test_files_that_are_no_archives(path):
    with pytest.raises(DataError, match="the file does not exist"):
        NpzDataset(path)
    np.savez(path, **OK)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-30], b"PK\x03\x04" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"expected a file made by numpy.savez; it cannot be read"):
            NpzDataset(path)
    path.write_bytes(whole.replace(OK["x"].tobytes(), OK["x"].tobytes()[::-1]))
    with pytest.raises(DataError, match=r"x cannot be read: Bad CRC"):
        NpzDataset(path)
    with path.open("wb") as file:
        np.save(file, OK["x"])
    with pytest.raises(DataError, match=r"it holds one, made by numpy.save\."):
        NpzDataset(path)


def test_mean_for_what_is_no_image_is_refused(path):
    np.savez(path, x=np.zeros((3, 4)), y=np.arange(3))
    with pytest.raises(UsageError, match=r"mean and std are for images of bytes; the inputs are float64 \(3, 4\)"):
        NpzDataset(path, mean=0.5)


@pytest.mark.parametrize("shape", [(3, 300, 400), (3, 4, 5), (1, 700, 700)])
def test_large_images_are_standardised_as_small_ones(shape):
    """Mean and deviation are laid out for a whole image, or where that would take eight times its memory for a row."""
    from gpunn.data.images import Standardiser

    C, H, W = shape
    pixels = np.random.default_rng(0).integers(0, 256, (2, H, W, C), dtype=np.uint8)
    mean, std = np.linspace(0.1, 0.5, C, dtype=np.float32), np.linspace(0.2, 0.3, C, dtype=np.float32)
    standardise = Standardiser("x", mean.tolist(), std.tolist(), shape)
    expected = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    np.testing.assert_array_equal(standardise(pixels), expected.transpose(0, 3, 1, 2))
    assert len(standardise._mean) <= 1 << 18
