"""Files made to do harm: each is refused by the library's own error, before it costs memory or time.

What such files have in common is tested of every reader; what is special to a format, below.
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn import load_file
from gpunn.cli.config import read_config
from gpunn.cli.run import Run
from gpunn.data import CIFAR10, MNIST, ImageFolder, NpzDataset, read_idx
from gpunn.data.image import image_size, read_image
from gpunn.errors import DataError, GpunnError, UsageError
from gpunn.serialize import read_metadata
from gpunn.train.metrics import read_metrics
from tests.hostile import posix, refusal

Image = pytest.importorskip("PIL.Image")

READERS: dict[str, Callable[[Path], Any]] = {
    "idx": read_idx,
    "npz": NpzDataset,
    "safetensors": load_file,
    "metadata": read_metadata,
    "image": lambda path: read_image(path, 3),
    "image size": image_size,
}


@posix
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_not_waited_for(tmp_path, reader):
    os.mkfifo(tmp_path / "x")
    assert "it is a pipe, not a file" in refusal(lambda: READERS[reader](tmp_path / "x"))


@posix
@pytest.mark.parametrize("reader", READERS)
def test_a_device_and_a_circle_of_links(tmp_path, reader):
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", None)  # some devices do something when they are opened
        assert "it is a device, not a file" in refusal(lambda: READERS[reader](tmp_path / "zeros"))
    assert "oo many levels of symbolic links" in refusal(lambda: READERS[reader](tmp_path / "circle"))


@pytest.mark.parametrize("reader", READERS)
def test_names_that_no_file_has(tmp_path, reader):
    for name in (f"{tmp_path}/a\0b", f"{tmp_path}/{'x' * 300}", f"{tmp_path}/a\n\x1b[31mb"):
        refusal(functools.partial(READERS[reader], Path(name)))


@pytest.mark.parametrize("name", ["x" * 5000, "y/" * 3000, "a\0b", "\udcff\n"])
@pytest.mark.parametrize("kind", [ImageFolder, CIFAR10, MNIST, NpzDataset, read_metrics, read_config, Run])
def test_names_that_no_folder_has(name, kind):
    refusal(lambda: kind(name))


def test_a_message_is_one_short_line_whatever_a_file_holds():
    long = DataError("x" * 10_000_000 + "\x1b[2J\n\u202e\ud800" + "y" * 300)
    assert len(str(long)) < 500
    assert str(long).isprintable()
    assert (str(long)[0], str(long)[-1]) == ("x", "y")
    assert str(DataError("a\nb\x1b\u202e\ud800ü")) == "a\\nb\\x1b\\u202e\\ud800ü"
    assert str(DataError()) == ""


# -- IDX ----------------------------------------------------------------------------------------


def idx_header(*shape: int, code: int = 8) -> bytes:
    return struct.pack(f">2xBB{len(shape)}I", code, len(shape), *shape)


def test_idx_a_megabyte_does_not_become_a_gigabyte(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(idx_header(1 << 30) + bytes(1 << 27)))
    message = refusal(lambda: read_idx(path))
    assert "its header states 1073741832" in message
    assert "unpack it first (gunzip)" in message
    # A header that does not say what follows: no more is unpacked than it says.
    path.write_bytes(gzip.compress(idx_header(10) + bytes(1 << 27)))
    assert "trailing bytes: expected 18 bytes (8 of header, then (10,) of uint8); found at least" in refusal(
        lambda: read_idx(path), 1_000_000
    )


def test_idx_what_compresses_well_is_read(tmp_path):
    zeros = np.zeros((100, 300, 300), np.uint8)
    (tmp_path / "x").write_bytes(gzip.compress(idx_header(*zeros.shape) + zeros.tobytes()))
    np.testing.assert_array_equal(read_idx(tmp_path / "x"), zeros)


def test_idx_takes_the_memory_of_its_array(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(idx_header(1 << 20, code=0x0E) + bytes(8 << 20))
    tracemalloc.start()
    array = read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.nbytes < peak < array.nbytes + 1_000_000


def test_idx_gzip_members_cost_what_they_are(tmp_path):
    """Each empty member used to copy all that follows: the bytes copied are counted, not the seconds."""
    from gpunn.data import _gzip

    array = np.arange(5, dtype=np.uint8)
    data = idx_header(5) + array.tobytes()
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"") * 20_000 + gzip.compress(data[:7]) + bytes(50) + gzip.compress(data[7:]))
    copied = 0

    class Counted:
        def __init__(self) -> None:
            self.inflate = zlib.decompressobj(wbits=31)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal copied
            copied += len(data)
            return self.inflate.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inflate, name)

    class Library:
        MAX_WBITS = zlib.MAX_WBITS
        error = zlib.error

        @staticmethod
        def decompressobj(wbits: int) -> Counted:
            assert wbits == 31
            return Counted()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gzip, "zlib", Library)
        np.testing.assert_array_equal(read_idx(path), array)
    assert copied < 20_000 * _gzip._CHUNK
    path.write_bytes(gzip.compress(b"") * 20_000)
    assert "got 0 bytes beginning with b''" in refusal(lambda: read_idx(path), 1_000_000)


# -- npz ----------------------------------------------------------------------------------------


def npy(array: np.ndarray, header: str | None = None) -> bytes:
    """The ``.npy`` bytes of an array, under another header if one is given."""
    stream = io.BytesIO()
    np.save(stream, array)
    if header is None:
        return stream.getvalue()
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + array.tobytes()


def write_npz(path: Path, method: int = zipfile.ZIP_DEFLATED, more: str | None = None, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        if more is not None:
            file.writestr(more, b"")
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


X, Y = npy(np.zeros((3, 4, 4), np.uint8)), npy(np.arange(3))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (npy(np.zeros(0, np.uint8), "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 1073741824), }"), "it has"),
        (npy(np.zeros(3), "{'descr': '<f8', 'fortran_order': False, 'shape': (3, %s), }" % ("9" * 19)), "can hold"),
        (npy(np.zeros(3), "{'descr': '<f8', 'fortran_order': False, 'shape': (3, %s), }" % ("9" * 400)), "can hold"),
        (npy(np.zeros(3), "{'descr': '<f8', 'fortran_order': False, 'shape': (3, -1), }"), "a header of NumPy's"),
        (npy(np.zeros(3), "{'descr': '<f8', 'fortran_order': False, 'shape': (3,%s), }" % ("1," * 70)), "can hold"),
        (npy(np.zeros(3), "{'descr': '<f8', 'fortran_order': False, 'shape': (3.0,), }"), "a header of NumPy's"),
        (npy(np.zeros(3), "{'descr': '<f8', 'shape': (3,), }"), "a header of NumPy's"),
        (npy(np.zeros(3), "(" * 9000), "a header of NumPy's"),
        (npy(np.zeros(3), "{'descr': '<f8'" + " " * 60_000), "a header of NumPy's"),
        (npy(np.zeros(3), "__import__('os').abort()"), "a header of NumPy's"),
        (npy(np.zeros(3), "{'descr': '<q9', 'fortran_order': False, 'shape': (3,), }"), "the dtype '<q9'"),
        (npy(np.zeros(3), "{'descr': '<i3', 'fortran_order': False, 'shape': (3,), }"), "the dtype '<i3'"),
        (npy(np.zeros(3, "i4,f4")), "it is a table"),
        (npy(np.zeros(3, "M8[s]")), "the dtype '<M8[s]'"),
        (npy(np.zeros(3, "V0")), "inputs to be numbers"),
        (npy(np.zeros((3, 0))), "at least one number each"),
        (npy(np.zeros((3, 1, 0, 5), np.uint8)), "at least one number each"),
        (b"\x93NUMPY\x07\x00" + bytes(20), "version 7 of NumPy's format is not known"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31), "a header of at most 65536 bytes"),
        (b"\x93NUM", "no array made by NumPy"),
        (npy(np.zeros(3))[:40], "its header is cut short"),
        (npy(np.zeros(3))[:-1], "expected 152 bytes for float64 (3,); it has 151"),
        (npy(np.zeros(3)) + b"x", "it has 153"),
    ],
)
def test_npz_headers_that_lie(tmp_path, x, message):
    path = write_npz(tmp_path / "x.npz", x=x, y=Y)
    assert message in refusal(lambda: NpzDataset(path))


def test_npz_headers_in_other_orders_and_quotes_are_read(tmp_path):
    array = np.arange(6, dtype=np.float32)
    for header in (
        '{"shape": (3, 2), "fortran_order": False, "descr": "<f4"}',
        "{'fortran_order':True,'shape':(3L,2L,),'descr':'<f4',}\n",
        "{'descr': '<f4',  'shape': (3, 2),\n 'fortran_order': False}   ",
    ):
        path = write_npz(tmp_path / "x.npz", x=npy(array, header), y=Y)
        expected = array.reshape(2, 3).T if "True" in header else array.reshape(3, 2)
        np.testing.assert_array_equal(NpzDataset(path).x, expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", ">i2"])
def test_npz_arrays_larger_than_a_block(tmp_path, dtype, order):
    x = np.asarray(np.arange(2 * 3 * 300 * 400).reshape(2, 3, 300, 400) % 251, dtype, order=order)
    np.savez_compressed(tmp_path / "x.npz", x=x, y=[0, 1])
    np.testing.assert_array_equal(NpzDataset(tmp_path / "x.npz").x, x)
    rows = np.asarray(x.reshape(2, -1), order=order)
    np.savez(tmp_path / "x.npz", x=rows, y=[0, 1])
    np.testing.assert_array_equal(NpzDataset(tmp_path / "x.npz").x, rows)
    labels = np.asarray(np.arange(600_000) % 251, dtype.replace("f", "u"))
    np.savez(tmp_path / "x.npz", x=np.zeros((600_000, 1)), y=labels[:, None])
    np.testing.assert_array_equal(NpzDataset(tmp_path / "x.npz").y, labels)


def test_npz_a_megabyte_does_not_become_a_gigabyte(tmp_path):
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 100000000), }"
    path = write_npz(tmp_path / "x.npz", x=npy(np.zeros(3 * 10**8, np.uint8), header), y=Y)
    message = refusal(lambda: NpzDataset(path), 20_000_000)
    assert "they take 300000024. If the file is genuine, save it with numpy.savez" in message
    # Labels become eight times as many bytes.
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (11000000,), }"
    y = npy(np.zeros(11 * 10**6, np.uint8), header)
    path = write_npz(tmp_path / "y.npz", x=y, y=y)
    assert "they take 99000000" in refusal(lambda: NpzDataset(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(10_000_000,), (10, 1000, 1000), (10, 1, 1000, 1000), (10, 1000, 1000, 1)])
def test_npz_takes_the_memory_of_its_arrays(tmp_path, save, shape):
    save(tmp_path / "x.npz", x=np.zeros(shape, np.uint8), y=np.zeros(shape[0] if len(shape) > 1 else shape))
    tracemalloc.start()
    data = NpzDataset(tmp_path / "x.npz") if len(shape) > 1 else None
    if data is None:
        with pytest.raises(DataError) if save is np.savez_compressed else contextlib.nullcontext():
            data = NpzDataset(tmp_path / "x.npz")  # float targets of 80 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (0 if data is None else data.x.nbytes + data.y.nbytes) + 4_000_000


@pytest.mark.parametrize(("method", "number"), [(zipfile.ZIP_BZIP2, 12), (zipfile.ZIP_LZMA, 14)])
def test_npz_other_compressions_are_refused(tmp_path, method, number):
    assert bz2
    assert lzma
    path = write_npz(tmp_path / "x.npz", method, x=X, y=Y)
    assert f"compressed by method {number}, where numpy.savez uses deflate" in refusal(lambda: NpzDataset(path))


def test_npz_encrypted_members_are_refused(tmp_path):
    path = write_npz(tmp_path / "x.npz", x=X, y=Y)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    path.write_bytes(data)
    assert "x cannot be read: it is encrypted" in refusal(lambda: NpzDataset(path))


def test_npz_a_name_twice_and_a_hundred_thousand_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("x.npy", X)
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", Y)
    assert "two of one name" in refusal(lambda: NpzDataset(tmp_path / "x.npz"))
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 100_000 * len(entry), 0, 0)
    (tmp_path / "x.npz").write_bytes(entry * 100_000 + end)
    assert "its list of contents is longer than 1000000 bytes" in refusal(lambda: NpzDataset(tmp_path / "x.npz"))


@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_npz_labels_are_looked_at_before_the_cast(tmp_path, value):
    np.savez(tmp_path / "x.npz", x=np.zeros(2), y=np.array([0, value], np.uint64))
    message = refusal(lambda: NpzDataset(tmp_path / "x.npz"))
    assert f"expected labels that number classes; got {value} at position 1" in message


def test_npz_names_are_shown_short_and_escaped(tmp_path):
    path = write_npz(tmp_path / "x.npz", more="../../\x1b[2J" + "n" * 3000)
    message = refusal(lambda: NpzDataset(path))
    assert "it holds ../../\\x1b[2Jnnn" in message


# -- images -------------------------------------------------------------------------------------


def png(width: int, height: int, *chunks: tuple[bytes, bytes], colour: int = 2, depth: int = 8) -> bytes:
    """A black PNG, with other chunks before its pixels."""
    bits = width * {0: 1, 2: 3, 3: 1, 6: 4}[colour] * depth
    packed = zlib.compressobj(9)
    body = b"".join(packed.compress(bytes(1 + (bits + 7) // 8)) for _ in range(height)) + packed.flush()
    header = struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)
    whole = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in whole
    )


def test_image_a_png_of_kilobytes_is_not_unpacked_to_megabytes(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png(6000, 6000))
    for read in (lambda: read_image(path, 3), lambda: read_image(path, 3, (8, 8)), lambda: image_size(path)):
        message = refusal(read)
        assert "it has 6000 x 6000. Scale it down, or allow it with max_pixels= or --max-pixels" in message
    assert read_image(path, 3, (8, 8), max_pixels=36_000_000).shape == (3, 8, 8)
    with pytest.raises(DataError, match="at most 100 pixels"):
        read_image(path, 3, (8, 8), max_pixels=100)


def test_image_a_programs_language_is_no_image(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for an EPS, whatever it is called."""
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: started.append(a))
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: started.append(a))
    lines = ["%!PS-Adobe-3.0 EPSF-3.0", "%%BoundingBox: 0 0 8 8", "%%EndComments", "showpage", "%%EOF", ""]
    (tmp_path / "x.png").write_bytes("\n".join(lines).encode())
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "EPS"
    assert "could not be decoded as an image" in refusal(lambda: read_image(tmp_path / "x.png", 3))
    assert not started
    # Formats that nobody named: GIF is one that Pillow always knows.
    Image.new("RGB", (4, 4)).save(tmp_path / "x.gif")
    refusal(lambda: read_image(tmp_path / "x.gif", 3))


def test_image_formats_that_are_not_read_are_not_even_loaded(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.tif")
    (tmp_path / "x.png").write_bytes(b"no image")
    code = (
        "import sys; from gpunn.data.image import read_image\n"
        "read_image(sys.argv[1], 3)\n"
        "try: read_image(sys.argv[2], 3)\n"
        "except ValueError: print(sorted(name for name in sys.modules if name.endswith('Plugin')))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "x.tif"), str(tmp_path / "x.png")]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "TiffImagePlugin" in loaded
    assert "EpsImagePlugin" not in loaded


def test_image_texts_and_profiles_are_not_unpacked(tmp_path):
    bomb = b"Comment\0\0" + zlib.compress(bytes(900_000), 9)
    path = tmp_path / "x.png"
    path.write_bytes(png(4, 4, *[(b"zTXt", bomb)] * 60))
    tracemalloc.start()
    assert read_image(path, 3).shape == (3, 4, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def tiff(*tags: tuple[int, int, int, int], magic: bytes = b"II*\0") -> bytes:
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return magic + struct.pack("<I", 8) + body


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiff(*((700 + i, 7, 40_000, 8) for i in range(3000))) + bytes(40_000), "its tags take 120000000 bytes"),
        (tiff((256, 4, 1, 8), (257, 4, 1, 8), (322, 4, 1, 30000), (323, 4, 1, 30000)), "30000 x 30000 pixels"),
        (tiff(magic=b"II+\0"), "BigTIFF"),
        (b"MM\0*\xff\xff\xff\xff", "ends before its tags"),
        (b"\xff\xd8\xff\xe1\x00\x00", "a segment of 0 bytes"),
        (b"\xff\xd8abcd", "no marker at byte 2"),
        (b"\xff\xd8" + b"\xff\xdb\x00\x02" * 1001 + b"\xff\xda\x00\x02", "more than 1000 segments"),
        (b"\xff\xd8" + b"\xff\xda\x00\x02" * 101, "more than 100 scans"),
        (b"\xff\xd8\xff\xc0\x00\x05abc", "a header of a frame that is cut short"),
        (b"\xff\xd8\xff\xdb\x00\x02", "it ends before its pixels"),
        (b"BM" + bytes(12) + struct.pack("<3I2H6I", 40, 4, 4, 1, 8, 0, 0, 0, 0, 1025, 0), "a palette of 1025 colours"),
        (b"RIFF" + bytes(30), "it is no WebP"),
        (b"RIFF", "it is no WebP"),
        (b"P3 4 4 255 " + b"#\n1 " * 1001, "more than 1000 comments"),
    ],
)
def test_image_what_stands_beside_the_pixels_is_looked_at_first(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    assert message in refusal(lambda: read_image(tmp_path / "x", 3))


def test_image_comments_of_a_ppm_are_no_pixels(tmp_path):
    (tmp_path / "x.ppm").write_bytes(b"P3 # 9 9\n2 1 # 7\n255\n1 2 3 #4 5 6\n7 8 9\n")
    np.testing.assert_array_equal(read_image(tmp_path / "x.ppm", 3)[:, 0], [[1, 7], [2, 8], [3, 9]])


@pytest.mark.parametrize(
    ("kind", "options", "side"),
    [
        ("WEBP", {"lossless": True}, 1000),  # 18 MB where it is decoded
        ("JPEG", {"progressive": True, "subsampling": 0}, 1240),  # 10.5 bytes a pixel: 6 of coefficients
        ("PNG", {}, 1420),
    ],
)
def test_image_decoders_that_take_more_get_fewer_pixels(tmp_path, kind, options, side):
    path = tmp_path / "x"
    Image.new("RGB", (side, side)).save(path, kind, **options)
    assert f"it has {side} x {side}" in refusal(lambda: read_image(path, 3, (8, 8)))
    Image.new("RGB", (side - 100, side - 100)).save(path, kind, **options)
    assert read_image(path, 3, (8, 8)).shape == (3, 8, 8)
    assert read_image(path, 1, (8, 8), max_pixels=10**7).shape == (1, 8, 8)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_image_what_a_jpegs_coefficients_take(subsampling, progressive):
    from gpunn.data._image_file import _jpeg

    stream = io.BytesIO()
    Image.new("RGB", (40, 40)).save(stream, "JPEG", subsampling=subsampling, progressive=progressive)
    content, beside = _jpeg(stream.getvalue())
    assert content == stream.getvalue()
    assert beside == ((6, 4, 3)[subsampling] if progressive else 0)


@pytest.mark.parametrize(
    ("mode", "options", "kind"),
    [
        ("RGB", {}, b"VP8 "),
        ("RGB", {"lossless": True}, b"VP8L"),
        ("RGBA", {"quality": 50}, b"VP8X"),
    ],
)
def test_image_a_webps_size_is_known_before_it_is_opened(tmp_path, monkeypatch, mode, options, kind):
    from gpunn.data._image_file import _webp_size

    pixels = np.random.default_rng(0).integers(0, 256, (37, 1020, len(mode)), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "WEBP", **options)
    assert stream.getvalue()[12:16] == kind
    assert _webp_size(stream.getvalue()) == (1020, 37)
    (tmp_path / "x").write_bytes(stream.getvalue())
    assert read_image(tmp_path / "x", 3).shape == (3, 37, 1020)
    monkeypatch.setattr(Image, "open", None)
    assert "it has 1020 x 37" in refusal(lambda: read_image(tmp_path / "x", 3, max_pixels=1020 * 37 - 1))


def test_image_a_jpegs_tags_are_left_out(tmp_path):
    """A tag of EXIF may name 60 kB that all others name too; each would be copied."""
    exif = b"Exif\0\0" + tiff(*((0x9000 + i, 7, 30_000, 8 + 2 + 12 * 2000) for i in range(2000))) + bytes(30_000)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    whole = stream.getvalue()
    (tmp_path / "plain.jpg").write_bytes(whole)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"text"
    (tmp_path / "tags.jpg").write_bytes(whole[:2] + segment + b"\xff" + comment + whole[2:])
    tracemalloc.start()
    tagged = read_image(tmp_path / "tags.jpg", 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    np.testing.assert_array_equal(tagged, read_image(tmp_path / "plain.jpg", 3))
    np.testing.assert_array_equal(tagged, np.asarray(Image.open(io.BytesIO(whole))).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_image_a_large_jpeg_is_decoded_smaller_where_it_is_resized(tmp_path, mode):
    gradient = Image.linear_gradient("L").resize((2400, 1800)).convert(mode)
    gradient.save(tmp_path / "x.jpg", quality=20)
    small = read_image(tmp_path / "x.jpg", 1, (90, 120))
    assert small.shape == (1, 90, 120)
    assert "it has 2400 x 1800" in refusal(lambda: read_image(tmp_path / "x.jpg", 1))
    exact = np.asarray(Image.open(tmp_path / "x.jpg").convert("L").resize((120, 90), Image.Resampling.BILINEAR))
    # Rows of one shade: both ways of averaging give it, but for rounding and what JPEG made of it.
    assert np.abs(small[0].astype(int) - exact).max() <= 4
    gradient.save(tmp_path / "p.jpg", quality=20, progressive=True)
    assert "it has 2400 x 1800" in refusal(lambda: read_image(tmp_path / "p.jpg", 1, (90, 120)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, (5, 900), (300, 700)])
@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK"])
def test_image_strips_make_what_the_whole_makes(tmp_path, mode, size, channels):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (300, 700, 3), dtype=np.uint8)).convert(mode)
    image.save(tmp_path / "x.tif")
    whole = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        whole = whole.resize(size[::-1], Image.Resampling.BILINEAR)
    expected = np.asarray(whole).reshape(*whole.size[::-1], channels).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", channels, size), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_image_transparent_colours_are_colours(tmp_path, mode, channels):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).convert(mode)
    image.save(tmp_path / "x.png", transparency={"RGB": (1, 2, 3), "L": 7, "P": bytes(range(256))}[mode])
    expected = Image.open(tmp_path / "x.png").convert("RGBA").convert("L" if channels == 1 else "RGB")
    read = read_image(tmp_path / "x.png", channels).transpose(1, 2, 0).reshape(np.asarray(expected).shape)
    np.testing.assert_array_equal(read, np.asarray(expected))


# -- folders of images --------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "root" / "a" / "1.png")
    return tmp_path / "root" / "a"


@posix
def test_folder_circles_of_links(photo):
    (photo / "up").symlink_to(photo.parent)
    assert "a link leads to" in refusal(lambda: ImageFolder(photo.parent))
    (photo / "up").unlink()
    for name in ("b", "c"):
        (photo / name).mkdir()
    for i in range(20):  # 2^20 paths
        for name, other in (("b", "c"), ("c", "b")):
            (photo / name / str(i)).symlink_to(photo / other)
    assert "a link leads to" in refusal(lambda: ImageFolder(photo.parent))


@posix
def test_folder_links_that_lead_elsewhere_are_followed(photo, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "elsewhere" / "2.png")
    (photo / "more").symlink_to(tmp_path / "elsewhere")
    (photo / "3.png").symlink_to(photo / "1.png")
    (photo.parent / "b").symlink_to(tmp_path / "elsewhere")
    assert [os.path.relpath(path, photo.parent) for path, _ in ImageFolder(photo.parent).samples] == [
        "a/1.png",
        "a/3.png",
        "a/more/2.png",
        "b/2.png",
    ]


@posix
def test_folder_what_is_called_an_image_and_is_none(photo):
    os.mkfifo(photo / "0.png")
    assert "0.png is a pipe, a device or a link that leads nowhere" in refusal(lambda: ImageFolder(photo.parent))
    (photo / "0.png").unlink()
    for target in ("absent", "0.png"):
        (photo / "0.png").symlink_to(photo / target)
        assert "0.png is a pipe, a device or a link that leads nowhere" in refusal(lambda: ImageFolder(photo.parent))
        (photo / "0.png").unlink()
    (photo.parent / "circle").symlink_to(photo.parent / "circle")  # no class
    assert ImageFolder(photo.parent).classes == ("a",)


@posix
def test_folder_1500_deep(photo):
    here = os.open(photo, os.O_RDONLY)
    try:
        for _ in range(1500):  # their path is longer than any call takes
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        assert "folders at most 50 deep" in refusal(lambda: ImageFolder(photo.parent))
    finally:
        os.close(here)
        remove_deep(photo)


def remove_deep(top: Path) -> None:
    """Remove the folder ``d`` in ``top``: from above, as the path to the lowest one is too long."""
    while (top / "d").is_dir():
        inner = top / "d" / "d"
        if inner.is_dir():
            inner.rename(top / "next")
            (top / "d").rmdir()
            (top / "next").rename(top / "d")
        else:
            (top / "d").rmdir()


def test_folder_that_may_not_be_read(photo, monkeypatch):
    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert "could not be read: Permission denied" in refusal(lambda: ImageFolder(photo.parent))


def test_folder_a_most_of_pixels(photo):
    assert len(ImageFolder(photo.parent, max_pixels=16)) == 1
    with pytest.raises(DataError, match="at most 15 pixels"):
        ImageFolder(photo.parent, max_pixels=15)
    with pytest.raises(UsageError, match="max_pixels"):
        ImageFolder(photo.parent, max_pixels=0)


# -- CIFAR-10 -----------------------------------------------------------------------------------


@posix
def test_cifar10_batches_that_are_none(tmp_path, monkeypatch):
    record = bytes(3073)
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(record)
    (tmp_path / "test_batch.bin").symlink_to("/dev/zero")
    assert "test_batch.bin" in refusal(lambda: CIFAR10(tmp_path, train=False))
    assert len(CIFAR10(tmp_path)) == 5
    # Cut short between the look at its length and the reading.
    monkeypatch.setattr("gpunn.data.cifar10.fill", lambda file, array: array.nbytes - 1)
    assert "found 3072: it was cut short" in refusal(lambda: CIFAR10(tmp_path))


def test_no_reader_starts_a_thread(tmp_path):
    """Reading is what the caller waits for: nothing may stay behind."""
    before = threading.active_count()
    for read in READERS.values():
        with pytest.raises(GpunnError):
            read(tmp_path / "absent")
    assert threading.active_count() == before
