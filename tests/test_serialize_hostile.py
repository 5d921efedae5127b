"""Safetensors files made to do harm: refused by our own error, before they cost memory, and never a dead process."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn import load_file, save_file
from gpunn._files import fill
from gpunn.errors import DataError, GpunnError
from gpunn.serialize import read_metadata
from tests.hostile import refusal


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def raw(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (raw({"x": entry("F32", [0, 1 << 62], [0, 0])}), "which NumPy cannot hold"),
        (raw({"x": entry("F32", [0] + [1 << 40] * 3, [0, 0])}), "which NumPy cannot hold"),
        (raw({"x": entry("F32", [1] * 65 + [2], [0, 8])}, bytes(8)), "has 66 axes; NumPy's arrays have at most 64"),
        (raw({"x": entry("F32", [1 << 31, 1 << 33])}, bytes(8)), "in 8 bytes"),
        (raw({"x": entry(shape=[3])}, bytes(8)), "is F32 [3] in 8 bytes"),
        (raw({"x": entry(shape=[True, 2])}, bytes(8)), "another kind of dtype, shape"),
        (raw({"x": entry(shape=[-1, -2])}, bytes(8)), "another kind of dtype, shape"),
        (raw({"x": entry(shape=[2.0])}, bytes(8)), "another kind of dtype, shape"),
        (raw({"x": entry(shape=2)}, bytes(8)), "another kind of dtype, shape"),
        (raw({"x": entry(offsets=[0, 8, 8])}, bytes(8)), "another kind of dtype, shape"),
        (raw({"x": entry(offsets=[8, 0])}, bytes(8)), "in -8 bytes"),
        (raw({"x": entry(dtype=["F32"])}, bytes(8)), "another kind of dtype, shape"),
        (raw({"x": {**entry(), "more": 1}}, bytes(8)), "has no dtype, shape and data_offsets"),
        (raw({"x": [1, 2]}, bytes(8)), "has no dtype, shape and data_offsets"),
        (raw({"x": entry(offsets=[4, 12])}, bytes(12)), "at bytes 4 to 12, where 0 was expected"),
        (raw({"x": entry(), "y": entry()}, bytes(8)), "at bytes 0 to 8, where 8 was expected"),
        (raw({"x": entry()}, bytes(9)), "its arrays take 8 bytes; 9 follow"),
        (raw({"x": entry()}, bytes(7)), "its arrays take 8 bytes; 7 follow"),
        (raw(b'{"x":%s,"x":%s}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)), "a name occurs twice"),
        (raw({"__metadata__": {"a": 1}, "x": entry()}, bytes(8)), "its metadata are not strings"),
        (raw({"__metadata__": "a"}), "its metadata are not strings"),
        (raw([]), "it is a list"),
        (raw(b'{"x":NaN}'), "NaN is not JSON"),
        (raw(b'{"\xff":1}'), "utf-8"),
        (raw(b"\xef\xbb\xbf{}"), "BOM"),
        (raw(b"[" * 100_000), "nested too deeply"),
        (raw(b"{" + b'"x":' + b"9" * 5000 + b"}"), "integer string conversion"),
        (raw(b"[" + b"[]," * 1_000_000 + b"[]]"), "parsed, its 3000004 bytes would take"),
        ((1 << 63).to_bytes(8, "little") + bytes(9), "a header of 9223372036854775808 bytes"),
        (b"\x00" * 5, "no length of a header"),
        (raw({"\x1b[2J\n" + "x" * 3000: entry(shape=[3])}, bytes(8)), "\\x1b[2J\\"),
        (raw({"x": entry("F8\x1b" + "X" * 4000)}, bytes(8)), "which NumPy does not have"),
        (raw({"x": entry("BOOL", [8])}, bytes([0, 1, 2, 0, 0, 0, 0, 0])), "expected bytes 0 and 1 in 'x'"),
    ],
)
def test_headers_that_lie(tmp_path, content, message):
    (tmp_path / "w").write_bytes(content)
    if "5000" in message or b"9" * 5000 in content:
        with pytest.raises(DataError):  # old Pythons convert it, and find that it is no tensor
            load_file(tmp_path / "w")
        return
    # What is read is at most the file, and parsed up to the memory that a header may take.
    assert message in refusal(lambda: load_file(tmp_path / "w"), 26_000_000)


def test_300_000_tensors(tmp_path):
    header = {f"{i}": entry("U8", [0], [0, 0]) for i in range(300_000)}
    (tmp_path / "w").write_bytes(raw(header))
    refusal(lambda: load_file(tmp_path / "w"), 16_000_000 + 10 * (tmp_path / "w").stat().st_size)
    header = {f"{i}": entry("U8", [0], [0, 0]) for i in range(12_000)}
    (tmp_path / "w").write_bytes(raw(header))
    message = refusal(lambda: load_file(tmp_path / "w"), 16_000_000 + 10 * (tmp_path / "w").stat().st_size)
    assert "it holds 12000. A model has fewer and larger ones" in message


def test_many_tensors_and_long_metadata_are_read(tmp_path):
    tensors = {f"layers.{i}.weight": np.full((2, 3), i, np.float32) for i in range(9000)}
    state = json.dumps(list(range(60_000)))
    save_file(tensors, tmp_path / "w", {"state": state})
    loaded = load_file(tmp_path / "w")
    assert len(loaded) == 9000
    np.testing.assert_array_equal(loaded["layers.8999.weight"].numpy(), tensors["layers.8999.weight"])
    assert read_metadata(tmp_path / "w") == {"state": state}


def test_a_file_cut_short_while_it_is_read(tmp_path, monkeypatch):
    """A mapped file would end the process with SIGBUS."""
    path = tmp_path / "w"
    save_file({"a": np.zeros(100_000), "b": np.ones(100_000)}, path)

    def cut(stream: Any, array: np.ndarray) -> int:
        os.truncate(path, path.stat().st_size // 2)
        return fill(stream, array)

    monkeypatch.setattr("gpunn._safetensors.fill", cut)
    assert "cut short while it was read" in refusal(lambda: load_file(path))


def test_loading_takes_the_memory_of_the_arrays(tmp_path):
    save_file({"a": np.zeros(1 << 20), "b": np.zeros(3)}, tmp_path / "w")
    tracemalloc.start()
    loaded = load_file(tmp_path / "w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loaded["a"].shape == (1 << 20,)
    assert (8 << 20) < peak < 2.1 * (8 << 20)


def test_shapes_that_are_odd_and_right(tmp_path):
    arrays: dict[str, np.ndarray] = {
        "zero": np.zeros((0, 1 << 20, 3), np.int16),
        "axes": np.ones((1,) * 32),
        "scalar": np.array(2.5, np.float32),
        "": np.array([True, False]),
        "name\n": np.arange(3, dtype=np.uint64),
    }
    save_file(arrays, tmp_path / "w")
    loaded = load_file(tmp_path / "w")
    assert {name: tensor.shape for name, tensor in loaded.items()} == {name: a.shape for name, a in arrays.items()}
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array)


def test_weights_of_anybody_in_a_model(tmp_path: Path) -> None:
    """The keys come from the file, and are shown when they do not fit."""
    from gpunn import nn

    save_file({"\x1b[2J" + "k" * 2000: np.zeros(2), "weight": np.zeros((3, 3), np.float32)}, tmp_path / "w")
    with pytest.raises(GpunnError) as caught:
        nn.Linear(2, 3).load_state_dict(load_file(tmp_path / "w"))
    assert len(str(caught.value)) < 1000
