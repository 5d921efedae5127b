"""Weight files: what is saved is what is loaded, here and by PyTorch, and no failure leaves half a file."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn._device import device as get_device
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, UsageError
from gpunn.serialize import check_writable_folder, load_file, read_metadata, save_file, write_atomically
from tests.devices import EVERYWHERE

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64", "complex64"]

named_arrays = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name != "__metadata__"),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    ),
    max_size=4,
)
metadata = st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=4)


def raw_file(header: dict, data: bytes = b"") -> bytes:
    """A safetensors file from its description, for files that ``save_file`` would not write."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=EVERYWHERE)
def device(request):
    return get_device(request.param)


@pytest.fixture
def weights():
    """Asymmetric in every axis, so that no wrong order of axes goes unnoticed."""
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.standard_normal((5, 3, 2, 4), dtype=np.float32),
        "fc.weight": rng.standard_normal((3, 7), dtype=np.float32),
        "fc.bias": rng.standard_normal(3, dtype=np.float32),
        "norm.num_batches_tracked": np.array(12, np.int64),
    }


# -- round trips ---------------------------------------------------------------------------


@settings(deadline=None)
@given(arrays=named_arrays, metadata=metadata)
def test_what_is_saved_is_loaded(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(arrays, path, metadata)
    loaded = load_file(path)
    assert list(loaded) == sorted(arrays)
    for name, array in arrays.items():
        result = loaded[name]
        assert isinstance(result, Tensor)
        assert (result.shape, result.dtype) == (array.shape, array.dtype)
        assert result.numpy().tobytes() == array.tobytes()  # bytes: NaN is itself here
    assert read_metadata(path) == metadata


def test_tensors_of_every_device(tmp_path, weights, device):
    tensors = {name: Tensor(device.array(array), device) for name, array in weights.items()}
    path = tmp_path / "w.safetensors"
    save_file(tensors, path)
    for target in (device, "cpu"):
        loaded = load_file(path, target)
        for name, array in weights.items():
            assert loaded[name].device is get_device(target)
            np.testing.assert_array_equal(loaded[name].numpy(), array)


def test_layout_in_memory_does_not_matter(tmp_path, weights):
    """Channels-last, transposed, strided, big-endian and read-only arrays: one and the same file."""
    conv, matrix = weights["conv.weight"], weights["fc.weight"]
    frozen = matrix.copy()
    frozen.flags.writeable = False
    channels_last = np.ascontiguousarray(conv.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not channels_last.flags.c_contiguous
    forms = [
        (conv, matrix),
        (channels_last, np.asfortranarray(matrix)),
        (Tensor(conv, "cpu"), np.repeat(matrix, 2, axis=1)[:, ::2]),
        (Tensor(channels_last, "cpu", requires_grad=True), matrix.astype(">f4")),
        (np.flip(np.flip(conv, 1).copy(), 1), frozen),
    ]
    written = set()
    for a, b in forms:
        save_file({"conv": a, "matrix": b}, tmp_path / "w.safetensors")
        written.add((tmp_path / "w.safetensors").read_bytes())
    assert len(written) == 1
    # The arrays' bytes follow the header in the order of the names.
    assert written.pop().endswith(conv.tobytes() + matrix.tobytes())


def test_loaded_weights_are_ones_own(tmp_path, weights):
    path = tmp_path / "w.safetensors"
    save_file(weights, path)
    before = path.read_bytes()
    for tensor in load_file(path).values():
        tensor.fill_(0)
        assert not tensor.numpy().any()
    assert path.read_bytes() == before


def test_loaded_images_are_channels_last_in_memory(tmp_path, weights):
    save_file(weights, tmp_path / "w.safetensors")
    conv = load_file(tmp_path / "w.safetensors")["conv.weight"]
    assert conv.array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_torch_reads_it_and_is_read(tmp_path, weights):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as torch_load
    from safetensors.torch import save_file as torch_save

    save_file({name: Tensor(a, "cpu") for name, a in weights.items()}, tmp_path / "ours", {"model": "x"})
    for name, tensor in torch_load(tmp_path / "ours").items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name])
    torch_save({name: torch.from_numpy(a) for name, a in weights.items()}, tmp_path / "theirs")
    loaded = load_file(tmp_path / "theirs")
    assert sorted(loaded) == sorted(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array)


def test_equal_content_gives_equal_bytes(tmp_path, weights):
    """Whatever the order they were given in; the package alone shuffles the metadata."""
    metadata = {f"key {i}": str(i) for i in range(8)}
    written = set()
    for step in (1, -1) * 4:
        path = tmp_path / "w.safetensors"
        save_file(dict(list(weights.items())[::step]), path, dict(list(metadata.items())[::step]))
        written.add(path.read_bytes())
    assert len(written) == 1
    assert read_metadata(tmp_path / "w.safetensors") == metadata


def test_arrays_start_on_eight_bytes(tmp_path):
    for length in range(8):
        save_file({"a" * length: np.zeros(3)}, tmp_path / "w")
        assert int.from_bytes((tmp_path / "w").read_bytes()[:8], "little") % 8 == 0


def test_bfloat16(tmp_path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    save_file({"w": np.array([1.5, -2.25, 3], bfloat16)}, tmp_path / "w")
    loaded = load_file(tmp_path / "w")["w"]
    assert loaded.dtype == bfloat16
    np.testing.assert_array_equal(loaded.float().numpy(), [1.5, -2.25, 3])


# -- files that cannot be read -------------------------------------------------------------


def test_truncation_anywhere_is_noticed(tmp_path, weights):
    save_file({"w": weights["fc.weight"], "b": weights["fc.bias"]}, tmp_path / "whole", {"k": "v"})
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "cut"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        for read in (load_file, read_metadata):
            with pytest.raises(DataError, match=rf"cut: expected a whole .*found {length} bytes.*copy it again"):
                read(path)
    path.write_bytes(data + b"\x00")
    with pytest.raises(DataError, match="expected a whole safetensors file"):
        load_file(path)


@settings(max_examples=300, deadline=None)
@given(places=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_corrupt_header_is_an_error_or_another_header(tmp_path_factory, places):
    """Names and dtypes of one size can change into others unnoticed; nothing else may happen."""
    path = tmp_path_factory.mktemp("weights") / "w"
    save_file({"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3)}, path, {"k": "v"})
    data = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    for place, mask in places:
        data[place % header] ^= mask
    path.write_bytes(data)
    try:
        loaded = load_file(path)
    except (DataError, DTypeError):
        return
    assert sum(tensor.numpy().nbytes for tensor in loaded.values()) == 48


@pytest.mark.parametrize("read", [load_file, read_metadata])
def test_missing_file_and_folder(tmp_path, read):
    with pytest.raises(DataError, match=r"absent: expected a safetensors file; there is no such file"):
        read(tmp_path / "absent")
    with pytest.raises(DataError, match="that is a folder"):
        read(tmp_path)


def test_a_file_the_system_will_not_read(tmp_path, weights, monkeypatch):
    save_file(weights, tmp_path / "w")

    def refuse(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("gpunn._safetensors.fill", refuse)
    with pytest.raises(DataError, match=r"w: expected a whole safetensors file.*Input/output error"):
        load_file(tmp_path / "w")


@pytest.mark.parametrize("name", ["F8_E4M3", "F8_E5M2"])
def test_dtypes_numpy_does_not_have(tmp_path, name):
    (tmp_path / "w").write_bytes(raw_file({"x": {"dtype": name, "shape": [2], "data_offsets": [0, 2]}}, b"ab"))
    with pytest.raises(DTypeError, match=f"'x' is {name}, which NumPy does not have"):
        load_file(tmp_path / "w")


def test_bfloat16_without_ml_dtypes(tmp_path, monkeypatch):
    (tmp_path / "w").write_bytes(raw_file({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, b"ab"))
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(DTypeError, match=r"'x' is bfloat16, which needs ml_dtypes.*pip install ml_dtypes"):
        load_file(tmp_path / "w")


# -- what cannot be saved ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], "'x' is list"),
        (np.float32(1), "'x' is float32"),
        (np.array(["a"]), "'x' is <U1"),
        (np.array([None]), "'x' is object"),
        (np.zeros(2, np.complex128), "'x' is complex128"),
        (np.zeros(2, "M8[s]"), r"'x' is datetime64\[s\]"),
    ],
)
def test_unsuitable_values_are_refused_by_name(tmp_path, value, message):
    with pytest.raises(DTypeError, match=message):
        save_file({"fine": np.zeros(2), "x": value}, tmp_path / "w")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", [3, None, "__metadata__"])
def test_unsuitable_names_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match=f"got {name!r}"):
        save_file({name: np.zeros(2)}, tmp_path / "w")


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {3: "epoch"}, {"a": None}])
def test_metadata_must_be_strings(tmp_path, metadata):
    with pytest.raises(UsageError, match="expected metadata of strings"):
        save_file({"x": np.zeros(2)}, tmp_path / "w", metadata)


# -- whole or not at all -------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, step, fault, existing):
    path = tmp_path / "w.safetensors"
    if existing:
        save_file({"old": np.zeros(2)}, path)
    before = path.read_bytes() if existing else None

    def fail(*args):
        raise fault

    monkeypatch.setattr(os, step, fail)
    expected = DataError if isinstance(fault, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        save_file({"new": np.ones(3)}, path)
    if isinstance(fault, OSError):
        assert f"{path}: could not be written: No space left on device" in str(caught.value)
    assert files_in(tmp_path) == (["w.safetensors"] if existing else [])
    assert (path.read_bytes() if existing else None) == before


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(("sync", os.fstat(fd))), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(("move", b)), replace(a, b)))
    write_atomically(tmp_path / "f", b"some ", memoryview(b"content"))
    assert (tmp_path / "f").read_bytes() == b"some content"
    assert [name for name, _ in steps][:2] == ["sync", "move"]
    assert (stat.S_ISREG(steps[0][1].st_mode), steps[0][1].st_size) == (True, 12)
    if os.name == "posix":  # and the folder, so that the name is on the disk too
        assert [name for name, _ in steps] == ["sync", "move", "sync"]
        assert stat.S_ISDIR(steps[2][1].st_mode)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_the_file_has_ordinary_permissions(tmp_path):
    """As any new file of this user, not the 0600 of a temporary file: others may have to read it."""
    (tmp_path / "ordinary").write_bytes(b"")
    save_file({"x": np.zeros(2)}, tmp_path / "w")
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_destinations_that_cannot_be(tmp_path):
    (tmp_path / "file").write_bytes(b"keep")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "absent" / "w", tmp_path / "file" / "w", tmp_path / "folder"):
        with pytest.raises(DataError, match=f"{path.name}: could not be written: .*folder exists"):
            save_file({"x": np.zeros(2)}, path)
    assert files_in(tmp_path) == ["file", "folder"]
    assert files_in(tmp_path / "folder") == []


# -- output folders ------------------------------------------------------------------------


def test_a_folder_is_created_and_left_empty(tmp_path):
    path = tmp_path / "a" / "b"
    assert check_writable_folder(str(path)) == path
    assert files_in(path) == []
    (path / "earlier").write_bytes(b"")
    check_writable_folder(path)
    assert files_in(path) == ["earlier"]


@pytest.mark.parametrize("below", ["", "out", "out/run1"])
def test_a_file_in_the_way_is_named(tmp_path, below):
    blocker = tmp_path / "file"
    blocker.write_bytes(b"keep")
    with pytest.raises(
        UsageError,
        match=rf"{below or 'file'}: expected a folder to write to; {re.escape(str(blocker))} is a file",
    ):
        check_writable_folder(blocker / below)
    assert blocker.read_bytes() == b"keep"


@pytest.mark.parametrize("step", ["pathlib.Path.mkdir", "tempfile.NamedTemporaryFile", "os.fsync"])
def test_what_the_system_refuses_is_said(tmp_path, monkeypatch, step):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(step, refuse)
    with pytest.raises(UsageError, match=r"out: expected a folder that can be written to.*Read-only file system"):
        check_writable_folder(tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out").is_dir() or files_in(tmp_path / "out") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            check_writable_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)
