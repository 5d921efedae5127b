"""gpunn convert: weights keep their bits from format to format; what a file holds besides is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpunn
from gpunn import _torch_file
from gpunn._safetensors import read_arrays
from gpunn.cli.main import main
from gpunn.data._npz_file import read_arrays as read_npz
from gpunn.errors import DataError
from gpunn.serialize import save_file
from tests.cli.test_cli import refused

READ = {".safetensors": lambda p: read_arrays(p)[0], ".npz": read_npz, ".pt": _torch_file.load}


def weights() -> dict[str, np.ndarray]:
    rng = np.random.Generator(np.random.Philox(1))
    return {
        "conv.weight": rng.normal(size=(3, 2, 5, 4)).astype(np.float32),
        "file": rng.normal(size=3),
        "bn.num_batches_tracked": np.array(7),
        "mask": np.array([True, False]),
        "half": rng.normal(size=(2, 2)).astype(np.float16),
        "none": np.zeros((0, 3), np.int32),
    }


@pytest.mark.parametrize("first", READ)
@pytest.mark.parametrize("second", READ)
def test_from_any_format_to_any_other(first, second, tmp_path, capsys) -> None:
    start, there, back = tmp_path / "a.safetensors", tmp_path / f"b{first}", tmp_path / f"c{second}"
    save_file(weights(), start)
    assert main(["convert", str(start), str(there)]) == 0
    assert main(["convert", str(there), str(back)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{back}: 6 arrays, 130 numbers, ")
    found = READ[second](back)
    assert found.keys() == weights().keys()
    for name, array in weights().items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)


def test_numpy_reads_what_was_written(tmp_path) -> None:
    save_file(weights(), tmp_path / "a.safetensors")
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.npz")]) == 0
    with np.load(tmp_path / "b.npz", allow_pickle=False) as found:
        for name, array in weights().items():
            np.testing.assert_array_equal(found[name], array)
    np.savez_compressed(tmp_path / "c.npz", a=np.asfortranarray(weights()["conv.weight"]), b=np.arange(3, dtype=">i4"))
    assert main(["convert", str(tmp_path / "c.npz"), str(tmp_path / "d.safetensors")]) == 0
    np.testing.assert_array_equal(gpunn.load_file(tmp_path / "d.safetensors")["a"].numpy(), weights()["conv.weight"])
    np.testing.assert_array_equal(gpunn.load_file(tmp_path / "d.safetensors")["b"].numpy(), [0, 1, 2])


def test_weights_inside_a_checkpoint(tmp_path, capsys) -> None:
    path, out = tmp_path / "a.pt", tmp_path / "b.npz"
    _torch_file.save({"epoch": 3, "model": weights(), "best": [1.0]}, path)
    line = refused(capsys, "convert", str(path), str(out))
    assert "it holds epoch (int), model (dict), best (list). Give --key NAME if one of these is it." in line
    assert "has no 'modle'; it holds epoch, model, best" in refused(
        capsys, "convert", str(path), str(out), "--key", "modle"
    )
    assert not out.exists()
    assert main(["convert", str(path), str(out), "--key", "model"]) == 0
    assert read_npz(out).keys() == weights().keys()


def test_refusals(tmp_path, capsys) -> None:
    save_file(weights(), tmp_path / "a.safetensors")
    given = str(tmp_path / "a.safetensors")
    assert "expected a file named .safetensors, .npz, .pt" in refused(capsys, "convert", given, "b.onnx")
    assert "--key: it is for .pt, .pth, .bin files" in refused(capsys, "convert", given, "b.npz", "--key", "x")
    assert "there is no such file" in refused(capsys, "convert", str(tmp_path / "none.safetensors"), "b.npz")
    assert "exists. Give another name, or --overwrite" in refused(capsys, "convert", given, given)
    (tmp_path / "c.npz").write_bytes(b"nothing")
    assert "cannot be read" in refused(capsys, "convert", str(tmp_path / "c.npz"), str(tmp_path / "d.pt"))
    assert main(["convert", given, str(tmp_path / "e.pt")]) == 0
    assert main(["convert", given, str(tmp_path / "e.pt"), "--overwrite"]) == 0


def test_an_npz_that_unpacks_to_far_more_is_refused(tmp_path) -> None:
    path: Path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(10_000_000, np.float32))
    with pytest.raises(DataError, match="its arrays unpack to more than"):
        read_npz(path)
