"""IDX files: every dtype comes back as written, and every fault is a DataError that says what it is."""

from __future__ import annotations

import contextlib
import gzip
import struct

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.data import read_idx
from gpunn.errors import DataError

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    """The IDX file of ``array``, from the format's description."""
    header = struct.pack(f">2xBB{array.ndim}I", CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def written(tmp_path, data: bytes, name: str = "file"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


arrays = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@settings(deadline=None)
@given(array=arrays, compress=st.booleans())
def test_any_array_comes_back(tmp_path_factory, array, compress):
    data = idx_bytes(array)
    path = written(tmp_path_factory.mktemp("idx"), gzip.compress(data) if compress else data)
    result = read_idx(path)
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()  # bytes: NaN is itself here
    assert result.flags.writeable


@pytest.mark.parametrize(("name", "compress"), [("x.gz", False), ("x", True)])
def test_compression_is_read_from_the_content_not_the_name(tmp_path, name, compress):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    data = idx_bytes(array)
    path = written(tmp_path, gzip.compress(data) if compress else data, name)
    np.testing.assert_array_equal(read_idx(path), array)


def test_a_known_file(tmp_path):
    """Bytes written out by hand, so that a mistake shared by reader and ``idx_bytes`` shows."""
    data = bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x01, 0x00, 0xFF, 0xFE])
    np.testing.assert_array_equal(read_idx(written(tmp_path, data)), np.array([[256, -2]], np.int16))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"absent: could not be read: No such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="could not be read"):
        read_idx(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"expected an IDX file.*got 0 bytes"),
        (b"\x00\x00\x08", r"expected an IDX file.*got 3 bytes"),
        (b"<!DOCTYPE html>", r"expected an IDX file.*beginning with b'<!DO'"),
        (b"\x00\x00\x0a\x01\x00\x00\x00\x00", r"expected an IDX type code out of 0x08 \(uint8\).*got 0x0A"),
        (b"\x00\x00\x08\x03\x00\x00", r"truncated: expected a header of 16 bytes for 3 dimensions; found 6"),
        (
            idx_bytes(np.zeros((2, 3), np.int32))[:-1],
            r"truncated: expected 36 bytes .*\(2, 3\) of int32.*found 35",
        ),
        (idx_bytes(np.zeros((2, 3), np.int32)) + b"x", r"trailing bytes: expected 36 bytes.*found 37"),
        # 65536 ** 4 elements: 0 of them if the product is taken in 64 bits.
        (struct.pack(">2xBB4I", 8, 4, *[65536] * 4), r".* 18446744073709551636"),
        # No elements, so the length is right, but more than NumPy can address along the other axes.
        (struct.pack(">2xBB4I", 8, 4, 0, *[2**32 - 1] * 3), r"expected an array NumPy can hold"),
        (struct.pack(">2xBB40I", 8, 40, *[1] * 40) + b"\x00", r"expected an array NumPy can hold"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_what_is_wrong_is_named(tmp_path, data, message, compress):
    path = written(tmp_path, gzip.compress(data) if compress else data, "some-file")
    with pytest.raises(DataError, match=rf"(?s)some-file: {message}"):
        read_idx(path)


@pytest.mark.parametrize("compress", [False, True])
def test_truncation_anywhere_is_noticed(tmp_path, compress):
    data = idx_bytes(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    data = gzip.compress(data) if compress else data
    read_idx(written(tmp_path, data))  # whole, it is read
    for length in range(len(data)):
        path = written(tmp_path, data[:length])
        with pytest.raises(DataError, match="file: "):
            read_idx(path)


@pytest.mark.parametrize(("offset", "what"), [(-8, "data check"), (-4, "length check")])
def test_gzip_checksums_are_verified(tmp_path, offset, what):
    data = bytearray(gzip.compress(idx_bytes(np.arange(100, dtype=np.uint8))))
    data[offset] ^= 1
    with pytest.raises(DataError, match=rf"(?i)expected a complete gzip file.*{what}"):
        read_idx(written(tmp_path, bytes(data)))


def test_garbage_after_gzip_is_noticed(tmp_path):
    data = gzip.compress(idx_bytes(np.arange(100, dtype=np.uint8))) + b"garbage"
    with pytest.raises(DataError, match="expected a complete gzip file"):
        read_idx(written(tmp_path, data))


# Several bytes at once, biased to the beginning, where the headers are.
corruptions = st.lists(st.tuples(st.floats(0, 1).map(lambda u: u * u), st.integers(1, 255)), min_size=1, max_size=4)


def read_or_none(path) -> np.ndarray | None:
    """The array, or None where reading raises a DataError; any other exception fails the test."""
    with contextlib.suppress(DataError):
        return read_idx(path)
    return None


def corrupted(data: bytes, places: list[tuple[float, int]]) -> bytes:
    changed = bytearray(data)
    for where, mask in places:
        changed[min(int(where * len(data)), len(data) - 1)] ^= mask
    return bytes(changed)


@settings(max_examples=300, deadline=None)
@given(array=arrays, places=corruptions)
def test_corrupt_plain_file_is_an_error_or_what_the_bytes_say(tmp_path_factory, array, places):
    """No checksum here: changed pixels are read as they are, and nothing else may happen."""
    data = corrupted(idx_bytes(array), places)
    path = written(tmp_path_factory.mktemp("idx"), data)
    result = read_or_none(path)
    assert result is None or idx_bytes(result) == data


@settings(max_examples=300, deadline=None)
@given(array=arrays, places=corruptions)
def test_corrupt_gzip_file_is_an_error_or_the_original(tmp_path_factory, array, places):
    """A changed time stamp does no harm; anything that matters is caught by the checksum."""
    original = idx_bytes(array)
    path = written(tmp_path_factory.mktemp("idx"), corrupted(gzip.compress(original), places))
    result = read_or_none(path)
    assert result is None or idx_bytes(result) == original
