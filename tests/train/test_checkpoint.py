"""The checkpoint file: what comes back, and what is noticed when it is not as it was written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import DataError
from gpunn.serialize import load_file, save_file
from gpunn.train.checkpoint import read_checkpoint, write_checkpoint

STATE = {
    "epoch": 3,
    "rate": 0.1 + 0.2,
    "best": float("inf"),
    "nothing": [float("nan"), -float("inf"), None, True, "ä\n\x00"],
    "betas": (0.9, 0.999),
    "key": np.arange(6, dtype=np.uint64).reshape(2, 3) + 2**63,
    "counter": 2**127 + 1,
    "deep": {"number": np.float32(0.1), "empty": {}, "array": np.array(2.5)},
}


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(1))
    return {
        "model.a": rng.normal(size=(3, 2, 4, 4)).astype(np.float32),
        "model.b": np.array(7, np.int64),
        "optimizer.0.step": np.zeros((0, 3), np.float64),
    }


def write(path: Path) -> bytes:
    write_checkpoint(path, arrays(), STATE)
    return path.read_bytes()


def test_what_was_written_comes_back(tmp_path) -> None:
    path = tmp_path / "c.safetensors"
    write(path)
    found = read_checkpoint(path)
    assert found.path == path
    assert found.arrays.keys() == arrays().keys()
    for name, array in arrays().items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert list(found.part("model")) == ["a", "b"]
    state = found.state
    assert state["rate"].hex() == (0.1 + 0.2).hex()
    assert state["best"] == float("inf")
    assert np.isnan(state["nothing"].pop(0))
    assert state["nothing"] == [-float("inf"), None, True, "ä\n\x00"]
    assert state["betas"] == [0.9, 0.999]
    np.testing.assert_array_equal(state["key"], STATE["key"])
    assert state["key"].dtype == np.uint64
    assert state["counter"] == 2**127 + 1
    assert state["deep"]["number"] == np.float32(0.1)
    assert state["deep"]["empty"] == {}
    assert state["deep"]["array"].shape == ()


def test_tensors_are_written_in_logical_order_and_any_program_reads_them(tmp_path) -> None:
    from safetensors.numpy import load

    image = gpunn.tensor(arrays()["model.a"])
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, {"model.a": image}, {})
    np.testing.assert_array_equal(load(path.read_bytes())["model.a"], arrays()["model.a"])
    np.testing.assert_array_equal(load_file(path)["model.a"].numpy(), arrays()["model.a"])


def test_equal_content_gives_equal_bytes(tmp_path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_any_changed_byte_and_any_other_length_is_noticed(tmp_path) -> None:
    path = tmp_path / "c.safetensors"
    whole = write(path)
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(DataError):
            read_checkpoint(path)
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_checkpoint(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="its checksum does not fit its content"):
        read_checkpoint(path)
    path.write_bytes(whole)
    assert read_checkpoint(path).state["epoch"] == 3


def test_what_is_none(tmp_path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(DataError, match="expected a whole checkpoint; No such file"):
        read_checkpoint(path)
    with pytest.raises(DataError, match="expected a whole checkpoint; it is a folder"):
        read_checkpoint(tmp_path)
    save_file(arrays(), path)
    with pytest.raises(DataError, match="it has no checksum"):
        read_checkpoint(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="it is a pipe"):
        read_checkpoint(tmp_path / "pipe")


def test_a_state_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path) -> None:
    path = tmp_path / "c.safetensors"
    before = write(path)
    states: list[Any] = [{"a": object()}, {1: 2}, {"$float": "1"}, {"a": {"b": b"bytes"}}]
    for state in states:
        with pytest.raises(TypeError):
            write_checkpoint(path, arrays(), state)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
