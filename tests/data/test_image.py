"""read_image: bytes with the channels first, grey or RGB, resized if asked for."""

from __future__ import annotations

import numpy as np
import pytest

from gpunn.data.image import image_size, read_image
from gpunn.errors import DataError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def test_the_bytes_of_the_file(path, pixels):
    read = read_image(path, 3)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_image(str(path), 1)[0], np.asarray(Image.fromarray(pixels).convert("L")))
    assert image_size(path) == (5, 4)


def test_resized(path, pixels):
    expected = np.asarray(Image.fromarray(pixels).resize((7, 3), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read_image(path, 3, (3, 7)), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("read", [lambda path: read_image(path, 3), image_size])
def test_what_cannot_be_read_is_named(tmp_path, read):
    with pytest.raises(DataError, match=r"there is no file .*absent\.png"):
        read(tmp_path / "absent.png")
