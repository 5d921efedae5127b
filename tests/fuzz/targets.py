"""The readers, whole files of each, and how wrong ones are made of them."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from tests.fuzz.mutations import mutated, mutated_json


class Target(NamedTuple):
    """A reader.

    Attributes
    ----------
    whole : callable
        Whole files, as bytes: the reader must read them.
    make : callable
        ``make(rng, files)``: the bytes of a wrong one.
    read : callable
        ``read(folder)``: reads what :attr:`place` put there.
    place : callable
        ``place(folder, data)``.
    """

    whole: Callable[[], list[bytes]]
    make: Callable[[Random, list[bytes]], bytes]
    read: Callable[[Path], Any]
    place: Callable[[Path, bytes], None]


def put(name: str) -> Callable[[Path, bytes], None]:
    """Writes the input to a file of this name, in place: making a new one each time is slow."""

    def place(folder: Path, data: bytes) -> None:
        with open(folder / name, "wb") as file:
            file.write(data)

    return place


def plainly(rng: Random, files: list[bytes]) -> bytes:
    """Any file with changes anywhere."""
    return mutated(rng, rng.choice(files), files)


# -- IDX ------------------------------------------------------------------------------------------


def idx_files() -> list[bytes]:
    """Of every dtype and some shapes."""
    rng = np.random.default_rng(0)
    files = []
    for code, dtype in ((8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")):
        for shape in ((4, 3, 5), (6,), (), (2, 0)):
            header = struct.pack(f">2xBB{len(shape)}I", code, len(shape), *shape)
            files.append(header + rng.integers(0, 100, shape).astype(dtype).tobytes())
    return files


def _read_idx(folder: Path) -> Any:
    from gpunn.data import read_idx

    return read_idx(folder / "x")


def gzip_files() -> list[bytes]:
    """IDX packed in one member and in several."""
    files = idx_files()
    packed = [gzip.compress(file, 6, mtime=0) for file in files]
    cut = [gzip.compress(f[:5], mtime=0) + gzip.compress(b"", mtime=0) + gzip.compress(f[5:], mtime=0) for f in files]
    return packed + cut


def make_gzip(rng: Random, files: list[bytes]) -> bytes:
    """Packed after it was changed, or changed after it was packed; some a bomb."""
    kind = rng.random()
    if kind < 0.5:
        return plainly(rng, files)
    wrong = plainly(rng, idx_files())
    if kind < 0.51:
        wrong += bytes(rng.choice((10**5, 10**6, 10**7)))
    return gzip.compress(wrong, rng.choice((0, 1, 9)), mtime=0)


# -- npz ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def npy_files() -> list[bytes]:
    """Arrays as inputs and labels of four items may be."""
    arrays: list[np.ndarray] = [
        np.arange(4),
        np.arange(4, dtype=np.uint8)[:, None],
        np.arange(4, dtype=np.uint64),
        np.linspace(0, 1, 4, dtype=np.float32),
        np.zeros((4, 5, 6), np.uint8),
        np.zeros((4, 5, 6, 3), np.uint8),
        np.asfortranarray(np.ones((4, 1, 5, 6), ">f4")),
        np.array([True, False, True, True]),
        np.array(["a", "b", "c", "d"]),
        np.zeros(4, "i4,f8"),
    ]
    files = []
    for array in arrays:
        stream = io.BytesIO()
        np.save(stream, array)
        files.append(stream.getvalue())
    return files


def _zipped(members: list[tuple[str, bytes]], method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            file.writestr(info, content)
    return stream.getvalue()


def npz_files() -> list[bytes]:
    """Every pair of inputs and labels that is read."""
    npy = npy_files()
    pairs = [(4, 0), (5, 1), (6, 2), (3, 7), (0, 3)]
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return [_zipped([("x.npy", npy[x]), ("y.npy", npy[y])], m) for x, y in pairs for m in methods]


def make_npz(rng: Random, files: list[bytes]) -> bytes:
    """A wrong archive, or an archive of wrong arrays whose checksums are right."""
    if rng.random() < 0.5:
        return plainly(rng, files)
    arrays = npy_files()
    members = []
    for name in rng.choice((("x", "y"), ("images", "labels"), ("x", "y", "z"), ("x", "x", "y"))):
        content = rng.choice(arrays)
        if rng.random() < 0.6:
            content = mutated(rng, content, arrays)
        members.append((name + rng.choice((".npy", ".npy", ".npy", "")), content))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of a name twice
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
        return _zipped(members, method)


def _read_npz(folder: Path) -> Any:
    from gpunn.data import NpzDataset

    data = NpzDataset(folder / "x.npz")
    return data.batch([0, len(data) - 1])


# -- safetensors and checkpoints -----------------------------------------------------------------------


@lru_cache(maxsize=1)
def safetensors_files() -> list[bytes]:
    """Of every dtype, with odd shapes and names, with metadata and without."""
    from gpunn._safetensors import DTYPES
    from gpunn.serialize import encode

    several: dict[str, np.ndarray] = {
        "a.weight": np.ones((2, 3), np.float32),
        "b": np.zeros((0, 4), np.int64),
        "": np.array(1.5),
        "c\n": np.array([True, False]),
        "conv": np.zeros((2, 3, 1, 2), np.float16),
    }
    each = {name: np.ones(2, name) for name in DTYPES if name != "bfloat16"}
    contents: list[tuple[dict[str, np.ndarray], dict[str, str]]] = [
        (several, {}),
        (several, {"epoch": "3", "step": "9"}),
        (each, {}),
        ({}, {}),
    ]
    return [b"".join(bytes(piece) for piece in encode(*content)) for content in contents]


def make_safetensors(rng: Random, files: list[bytes]) -> bytes:
    """Changes anywhere, or of the header with its length put right."""
    kind = rng.random()
    if kind < 0.35:
        return plainly(rng, files)
    whole = rng.choice(files)
    end = 8 + int.from_bytes(whole[:8], "little")
    header, data = whole[8:end], whole[end:]
    headers = [file[8 : 8 + int.from_bytes(file[:8], "little")] for file in files]
    header = mutated(rng, header, headers) if kind < 0.7 else mutated_json(rng, json.loads(header))
    if rng.random() < 0.1:
        data = mutated(rng, data, files)
    return len(header).to_bytes(8, "little") + header + data


def _read_weights(folder: Path) -> Any:
    from gpunn import load_file

    return load_file(folder / "w")


def _read_metadata(folder: Path) -> Any:
    from gpunn.serialize import read_metadata

    return read_metadata(folder / "w")


@lru_cache(maxsize=1)
def checkpoint_files() -> list[bytes]:
    """As a trainer writes them: tensors, counters, a generator, floats that are not finite."""
    import tempfile

    from gpunn.train.checkpoint import write_checkpoint

    state = {
        "epoch": 3,
        "step": 17,
        "lr": 0.1,
        "best": float("nan"),
        "generator": {"key": np.arange(3, dtype=np.uint64)},
    }
    arrays: dict[str, np.ndarray] = {
        "model.w": np.ones((2, 3), np.float32),
        "optimizer.0.momentum": np.zeros((2, 3), np.float32),
        "totals": np.zeros(3),
    }
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for content, rest in ((arrays, state), ({}, {})):
            write_checkpoint(Path(folder) / "c", content, rest)
            files.append((Path(folder) / "c").read_bytes())
    return files


_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')


def make_checkpoint(rng: Random, files: list[bytes]) -> bytes:
    """Changes that the checksum shows, and others behind a checksum that was put right."""
    import hashlib

    wrong = make_safetensors(rng, files)
    if rng.random() < 0.2:
        whole = rng.choice(files)
        end = 8 + int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8:end])
        state = mutated_json(rng, json.loads(header["__metadata__"]["state"]))
        header["__metadata__"]["state"] = state.decode()
        text = json.dumps(header, separators=(",", ":")).encode()
        wrong = len(text).to_bytes(8, "little") + text + whole[end:]
    if rng.random() < 0.2:
        return wrong
    wrong = wrong.replace(b'"sha256": "', b'"sha256":"')
    wrong = (max(0, int.from_bytes(wrong[:8], "little") - wrong.count(b'"sha256": "'))).to_bytes(8, "little") + wrong[
        8:
    ]
    found = _DIGEST.search(wrong)
    if found is None:
        return wrong
    blank = wrong[: found.start(1)] + b"0" * 64 + wrong[found.end(1) :]
    return wrong[: found.start(1)] + hashlib.sha256(blank).hexdigest().encode() + wrong[found.end(1) :]


def _read_checkpoint(folder: Path) -> Any:
    from gpunn.train.checkpoint import read_checkpoint

    return read_checkpoint(folder / "c")


# -- run folders ------------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "command": ["train", "lenet5"],
    "model": {"name": "mlp", "input_shape": [3, 8, 8], "classes": 2},
    "data": {
        "name": "/photos",
        "image_size": 8,
        "folder": None,
        "classes": ["cat", "dog"],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.3, 0.3, 0.3],
    },
}


def config_files() -> list[bytes]:
    """As ``gpunn train`` writes it."""
    return [json.dumps(CONFIG, indent=2).encode(), json.dumps({**CONFIG, "seed": 1}).encode()]


def make_config(rng: Random, files: list[bytes]) -> bytes:
    """Wrong text, or right text of wrong values."""
    return plainly(rng, files) if rng.random() < 0.5 else mutated_json(rng, CONFIG)


def _place_config(folder: Path, data: bytes) -> None:
    put("config.json")(folder, data)
    if not (folder / "model.safetensors").exists():
        put("model.safetensors")(folder, safetensors_files()[1])


def _read_run(folder: Path) -> Any:
    from gpunn.cli.run import Run

    run = Run(folder)
    # Building a network takes a hundred times as long as reading about it, so a few do.
    if zlib.crc32((folder / "config.json").read_bytes()) % 64 == 0:
        run.model()
    return run


# -- metrics --------------------------------------------------------------------------------------


def metrics_files() -> list[bytes]:
    """As a run writes them, and as an old version did."""
    rows = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "train_loss": 1 / epoch,
            "train_accuracy_percent": 50.0,
            "test_loss": None,
            "lr": 0.1,
            "skipped": 0,
            "gradient_norms": {"conv1": 0.5, "": 1e-9},
        }
        for epoch in (1, 2, 3)
    ]
    whole = "".join(json.dumps(row) + "\n" for row in rows)
    return [whole.encode(), (whole + whole[:40]).encode(), b'{"epoch": 1, "train_loss": NaN}\n']


def make_metrics(rng: Random, files: list[bytes]) -> bytes:
    """Wrong text, or right text of wrong values."""
    if rng.random() < 0.5:
        return plainly(rng, files)
    lines = rng.choice(files[:1] + files[2:]).splitlines()
    at = rng.randrange(len(lines))
    lines[at] = mutated_json(rng, json.loads(lines[at]))
    return b"\n".join(lines * rng.choice((1, 1, 1, 50))) + b"\n"


def _read_metrics(folder: Path) -> Any:
    from gpunn.train.metrics import read_metrics

    return read_metrics(folder)


# -- images ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def image_files() -> list[bytes]:
    """Of every format and mode that is read."""
    from PIL import Image

    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
    files = []
    for kind, modes, options in (
        ("PNG", ("RGB", "L", "LA", "RGBA", "P", "1"), [{}]),
        ("JPEG", ("RGB", "L", "CMYK"), [{}, {"progressive": True}]),
        ("BMP", ("RGB", "L", "P", "1"), [{}]),
        ("PPM", ("RGB", "L", "1"), [{}]),
        ("TIFF", ("RGB", "L", "RGBA", "CMYK", "1"), [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}]),
        ("WEBP", ("RGB", "RGBA"), [{}, {"lossless": True}]),
    ):
        for mode in modes:
            for option in options:
                stream = io.BytesIO()
                colours.convert(mode).save(stream, kind, **option)
                files.append(stream.getvalue())
    files += [b"P3\n2 1\n255\n1 2 3 4 5 6\n", b"P2 2 2 15 1 2 3 4", b"P1\n# text\n2 2\n0 1 1 0"]
    return files


def make_image(rng: Random, files: list[bytes]) -> bytes:
    """Changes anywhere; of a PNG also behind checksums that are put right."""
    wrong = plainly(rng, files)
    return _png_checked(wrong) if wrong.startswith(b"\x89PNG\r\n\x1a\n") and rng.random() < 0.7 else wrong


def _png_checked(data: bytes) -> bytes:
    fixed, place = bytearray(data), 8
    while place + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, place)
        if place + 12 + length > len(fixed):
            break
        struct.pack_into(">I", fixed, place + 8 + length, zlib.crc32(fixed[place + 4 : place + 8 + length]))
        place += 12 + length
    return bytes(fixed)


def _read_image(folder: Path) -> Any:
    from gpunn.data.image import read_image

    return read_image(folder / "x.png", 3, (8, 8))


# -- folders of images -------------------------------------------------------------------------------


def folder_plans() -> list[bytes]:
    """A plan is a list of entries: what it is, and where."""
    plain = [["image", "a", "1.png"], ["image", "b", "2.png"], ["image", "b", "c", "3.png"]]
    odd = [*plain, ["link", "b", "up"], ["pipe", "b", "4.png"], ["text", "a", "5.png"], ["folder", "a", "deep"]]
    return [json.dumps(plain).encode(), json.dumps(odd).encode()]


def make_folder(rng: Random, files: list[bytes]) -> bytes:
    """Another plan: other kinds, other names, entries twice."""
    names = ["a", "b", "c", "1.png", "x.PNG", "\n\x1b.jpg", "n" * 200, "\udcff.png", ".hidden", "é", "y.txt", "z.png"]
    kinds = ["image", "image", "image", "text", "empty", "pipe", "link", "root", "nowhere", "circle", "folder", "zero"]
    plan: list[list[str]] = json.loads(rng.choice(files))
    for _ in range(rng.choice((1, 2, 4, 8))):
        plan.insert(
            rng.randrange(len(plan) + 1), [rng.choice(kinds), *rng.choices(names, k=rng.choice((1, 2, 2, 3, 4)))]
        )
    for entry in plan:
        if rng.random() < 0.1:
            entry[0] = rng.choice(kinds)
    return json.dumps(plan).encode()


def _place_folder(folder: Path, data: bytes) -> None:
    _clear(folder)
    for kind, *parts in json.loads(data):
        path = folder.joinpath(*parts)
        if os.path.lexists(path):  # writing would wait for a pipe's reader, or go where a link leads
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind in _LINKS:
                path.symlink_to({"root": folder, "link": folder / "b", "circle": path}.get(kind, _LINKS[kind]))
            else:
                path.write_bytes({"image": image_files()[0], "text": b"no image", "empty": b""}[kind])
        except OSError:
            continue  # a file where a folder was to be, or the other way round: the plan is only a plan


_LINKS = {"link": "", "root": "", "circle": "", "nowhere": "nothing-is-called-this", "zero": "/dev/zero"}


def _clear(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _clear(Path(entry.path))
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


def _read_folder(folder: Path) -> Any:
    from gpunn.data import ImageFolder

    data = ImageFolder(folder)
    return data.batch(range(min(4, len(data))))


# -- CIFAR-10 ----------------------------------------------------------------------------------------


def cifar_files() -> list[bytes]:
    """Three records."""
    rng = np.random.default_rng(0)
    record = [bytes([i]) + rng.integers(0, 256, 3072, dtype=np.uint8).tobytes() for i in range(3)]
    return [b"".join(record), record[0]]


def _read_cifar(folder: Path) -> Any:
    from gpunn.data import CIFAR10

    return CIFAR10(folder, train=False)


TARGETS: dict[str, Target] = {
    "idx": Target(idx_files, plainly, _read_idx, put("x")),
    "idx-gzip": Target(gzip_files, make_gzip, _read_idx, put("x")),
    "npz": Target(npz_files, make_npz, _read_npz, put("x.npz")),
    "safetensors": Target(safetensors_files, make_safetensors, _read_weights, put("w")),
    "metadata": Target(safetensors_files, make_safetensors, _read_metadata, put("w")),
    "checkpoint": Target(checkpoint_files, make_checkpoint, _read_checkpoint, put("c")),
    "config": Target(config_files, make_config, _read_run, _place_config),
    "metrics.jsonl": Target(metrics_files, make_metrics, _read_metrics, put("metrics.jsonl")),
    "image": Target(image_files, make_image, _read_image, put("x.png")),
    "image-folder": Target(folder_plans, make_folder, _read_folder, _place_folder),
    "cifar10": Target(cifar_files, plainly, _read_cifar, put("test_batch.bin")),
}
