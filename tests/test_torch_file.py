"""PyTorch's .pt files: read without PyTorch and without running what is in them, and written so that it reads them."""

from __future__ import annotations

import contextlib
import pickle
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import _torch_file
from gpunn.errors import DataError, DTypeError, UsageError

DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"]


def arrays() -> dict[str, Any]:
    rng = np.random.Generator(np.random.Philox(1))
    made: dict[str, Any] = {name: (rng.normal(size=(2, 3)) * 3).astype(name) for name in DTYPES}
    made["none"] = np.zeros((0, 4), np.float32)
    made["scalar"] = np.array(2.5)
    return made


def nested() -> dict[Any, Any]:
    return {"model": arrays(), "epoch": 3, "rate": 0.1, "names": ["a", ("b", None, True)], 7: "seven", "big": 2**80}


def same(a: Any, b: Any) -> None:
    if isinstance(a, np.ndarray):
        b = np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b)
        assert a == b


def test_what_is_saved_comes_back(tmp_path) -> None:
    path = tmp_path / "a.pt"
    _torch_file.save(nested(), path)
    same(nested(), _torch_file.load(path))
    _torch_file.save(nested(), tmp_path / "b.pt")
    assert path.read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_tensors_are_written_in_logical_order(tmp_path) -> None:
    images = gpunn.randn(2, 3, 4, 5)
    _torch_file.save([images, images.transpose(0, 1)], tmp_path / "a.pt")
    first, second = _torch_file.load(tmp_path / "a.pt")
    np.testing.assert_array_equal(first, images.numpy())
    np.testing.assert_array_equal(second, images.numpy().transpose(1, 0, 2, 3))


@pytest.mark.parity
def test_pytorch_reads_what_was_written_and_the_other_way_round(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    _torch_file.save(nested(), tmp_path / "ours.pt")
    found = torch.load(tmp_path / "ours.pt", weights_only=True)
    found["model"] = {name: tensor.numpy() for name, tensor in found["model"].items()}
    same(nested(), found)
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    base = torch.arange(12.0).reshape(3, 4)
    everything = {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "views": [base[1], base.T, base[:, 1:3], torch.nn.Parameter(base)],
        "size": base.shape,
        "of": {name: torch.tensor(a) for name, a in arrays().items()},
    }
    torch.save(everything, tmp_path / "theirs.pt")
    read = _torch_file.load(tmp_path / "theirs.pt")
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(read["model"][name], tensor.numpy())
    for mine, theirs in zip(read["views"], everything["views"], strict=True):
        np.testing.assert_array_equal(mine, theirs.detach().numpy())
    assert np.shares_memory(read["views"][0], read["views"][1])
    assert read["size"] == (3, 4)
    assert read["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    same(arrays(), read["of"])
    net = gpunn.nn.Sequential(gpunn.nn.Linear(3, 2), gpunn.nn.BatchNorm1d(2))
    net.load_state_dict({name: gpunn.tensor(a) for name, a in read["model"].items()})


def archive(path: Path, content: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        for name, data in members.items():
            file.writestr(f"archive/data/{name[1:]}", data)
    return path


class Runs:
    def __reduce__(self):
        return (open, ("run", "w"))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Runs(), "io.open"),
        (print, "print"),
        (Path("x"), "pathlib.PosixPath"),
        (np.zeros(2), "numpy"),
        ({"a": [(Runs(),)]}, "io.open"),
    ],
)
def test_nothing_else_is_run(value, named, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path / "a.pt", pickle.dumps(value, 2))
    with pytest.raises(DataError, match="which is not run") as caught:
        _torch_file.load(path)
    assert named in str(caught.value)
    assert not (tmp_path / "run").exists()


_TENSOR = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
    b"(X\x07\x00\x00\x00storage%sX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ%s\x89}tR."
)


def described(
    kind: bytes = b"ctorch\nFloatStorage\n", length: bytes = b"K\x04", view: bytes = b"K\x00K\x04\x85K\x01\x85"
) -> bytes:
    return _TENSOR % (kind, length, view)


def test_a_tensor_described_by_hand(tmp_path) -> None:
    data = np.arange(4, dtype=np.float32).tobytes()
    found = _torch_file.load(archive(tmp_path / "a.pt", described(), _0=data))
    np.testing.assert_array_equal(found, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"length": b"K\x05"}, "has not the bytes of 5 numbers"),
        ({"length": b"J\xff\xff\xff\xff"}, "not described as PyTorch does"),
        ({"length": b"X\x01\x00\x00\x004"}, "not described as PyTorch does"),
        ({"kind": b"X\x01\x00\x00\x00x"}, "not described as PyTorch does"),
        ({"kind": b"ctorch\nQInt8Storage\n"}, "which is not run"),
        ({"view": b"K\x01K\x04\x85K\x01\x85"}, "reaches beyond its storage"),
        ({"view": b"K\x00K\x04\x85K\x02\x85"}, "reaches beyond its storage"),
        ({"view": b"K\x00J\xff\xff\xff\x7f\x85K\x00\x85"}, "reaches beyond its storage"),
        ({"view": b"K\x00J\xff\xff\xff\xff\x85K\x01\x85"}, "not described as PyTorch does"),
        ({"view": b"K\x00K\x04\x85J\xff\xff\xff\xff\x85"}, "not described as PyTorch does"),
        ({"view": b"K\x00K\x02K\x02\x86K\x01\x85"}, "more tensors or axes"),
        ({"view": b"K\x00K\x04K\x01\x85"}, "not described as PyTorch does"),
    ],
)
def test_a_tensor_that_is_none(change, match, tmp_path) -> None:
    path = archive(tmp_path / "a.pt", described(**change), _0=bytes(16))
    with pytest.raises(DataError, match=match):
        _torch_file.load(path)


def test_too_many_tensors_of_one_storage(tmp_path) -> None:
    one = described()[2:-1]
    path = archive(tmp_path / "a.pt", b"\x80\x02](" + one * 30_000 + b"e.", _0=bytes(16))
    with pytest.raises(DataError, match="more tensors or axes than any model"):
        _torch_file.load(path)


def test_damaged_archives(tmp_path) -> None:
    path = tmp_path / "a.pt"
    _torch_file.save(nested(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            _torch_file.load(path)
    for at in range(0, len(whole), 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1 :])
        with contextlib.suppress(DataError, DTypeError):  # a changed number of a tensor is not noticed
            _torch_file.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(DataError, match="is compressed or longer than the file"):
        _torch_file.load(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match=r"as torch.save writes since PyTorch 1.6"):
        _torch_file.load(path)
    with pytest.raises(DataError, match="No such file"):
        _torch_file.load(tmp_path / "none.pt")


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {"a": [object()]}])
def test_what_cannot_be_saved(value, tmp_path) -> None:
    with pytest.raises(UsageError, match="save: expected tensors, numbers, strings and containers of them; got"):
        _torch_file.save(value, tmp_path / "a.pt")
    with pytest.raises(DTypeError, match=r"save: \['a'\]: expected one of float64"):
        _torch_file.save({"a": np.zeros(2, "U3")}, tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_memory_is_that_of_the_file(tmp_path) -> None:
    """The array and, while it is read, a piece of at most 16 MB."""
    path = tmp_path / "a.pt"
    _torch_file.save({"a": np.zeros(2_000_000, np.float32)}, path)
    tracemalloc.start()
    try:
        _torch_file.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2.1 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_bfloat16_without_ml_dtypes_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    path = archive(tmp_path / "a.pt", described(kind=b"ctorch\nBFloat16Storage\n"), _0=bytes(8))
    with pytest.raises(DTypeError, match="storage '0' is bfloat16, which needs ml_dtypes"):
        _torch_file.load(path)
