"""gpunn.save and gpunn.load, as PyTorch programs call them."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import DataError, DeviceError, DTypeError, UsageError
from tests.devices import EVERYWHERE


def trained(where: str = "cpu") -> tuple[nn.Module, optim.Adam]:
    """A network and its optimiser after two steps."""
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).to(where)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        model(gpunn.randn(5, 2, 4, 4, device=where)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def arrays_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: t.numpy() for name, t in model.state_dict().items()}


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_checkpoint_as_the_tutorial_writes_it_goes_on(tmp_path: Path, where: str) -> None:
    model, optimizer = trained(where)
    path = tmp_path / "checkpoint.pt"
    gpunn.save(
        {"epoch": 2, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "loss": np.float32(0.5)}, path
    )
    gpunn.manual_seed(9)
    other, resumed = trained(where)
    saved = gpunn.load(path, map_location=where)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert (saved["epoch"], saved["loss"]) == (2, 0.5)
    x = gpunn.randn(5, 2, 4, 4, device=where)
    for net, steps in ((model, optimizer), (other, resumed)):
        steps.zero_grad()
        net(x).square().sum().backward()
        steps.step()
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(arrays_of(other)[name], array, err_msg=name)


def test_containers_and_dtypes_come_back(tmp_path: Path) -> None:
    value: dict[str, Any] = OrderedDict(
        images=gpunn.randn(2, 3, 4, 5),
        labels=gpunn.tensor([1, 2]),
        mask=gpunn.tensor([True, False]),
        scalar=gpunn.tensor(2.5, dtype=gpunn.float64),
        array=np.arange(3),
        rest=[1, ("a", None, {3: 0.25})],
        flag=np.bool_(True),
    )
    gpunn.save(value, tmp_path / "a.pth")
    back = gpunn.load(tmp_path / "a.pth")
    assert list(back) == list(value)
    for name in ("images", "labels", "mask", "scalar", "array"):
        assert isinstance(back[name], gpunn.Tensor), name
        assert back[name].dtype == value[name].dtype, name
        np.testing.assert_array_equal(back[name].numpy(), np.asarray(value[name]), err_msg=name)
    assert back["rest"] == value["rest"]
    assert back["flag"] is True
    assert not back["images"].requires_grad


def test_a_tensor_by_itself_to_an_open_file() -> None:
    file = io.BytesIO()
    file.write(b"before")
    x = gpunn.randn(3)
    gpunn.save(x, file)
    file.seek(6)
    np.testing.assert_array_equal(gpunn.load(file).numpy(), x.numpy())


def test_what_is_there_twice_is_in_the_file_once(tmp_path: Path) -> None:
    weight = gpunn.randn(1000)
    gpunn.save({"encoder": weight, "decoder": weight}, tmp_path / "tied.pt")
    assert (tmp_path / "tied.pt").stat().st_size < 6000
    back = gpunn.load(tmp_path / "tied.pt")
    np.testing.assert_array_equal(back["decoder"].numpy(), weight.numpy())


def test_two_tensors_of_one_address_are_two(tmp_path: Path) -> None:
    """A flattened tensor shares memory with its base, and an image's memory is in another order."""
    x = gpunn.randn(2, 3, 4, 4)
    y = gpunn.randn(6)
    gpunn.save([x, x.flatten(), y, y.reshape(2, 3), y[:3]], tmp_path / "views.pt")
    for got, wanted in zip(gpunn.load(tmp_path / "views.pt"), (x, x.flatten(), y, y.reshape(2, 3), y[:3]), strict=True):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


def test_the_suffix_safetensors_writes_that_format(tmp_path: Path) -> None:
    model, _ = trained()
    gpunn.save(model.state_dict(), tmp_path / "m.safetensors")
    for back in (gpunn.load(tmp_path / "m.safetensors"), gpunn.load_file(tmp_path / "m.safetensors")):
        assert sorted(back) == sorted(model.state_dict())
    with pytest.raises(UsageError, match=r"one dictionary of tensors; got list. Name the file \*.pt"):
        gpunn.save([gpunn.ones(2)], tmp_path / "n.safetensors")


def test_where_tensors_go(tmp_path: Path, kernels: str) -> None:
    path = tmp_path / "a.pt"
    gpunn.save({"x": gpunn.ones(2)}, path)
    places: list[Any] = [kernels, gpunn.device(kernels), {"cpu": kernels}]
    for wanted in places:
        assert gpunn.load(path, map_location=wanted)["x"].device == gpunn.device(kernels)
    places = [None, lambda storage, location: storage, {"cuda:0": kernels}]
    for wanted in places:
        assert gpunn.load(path, map_location=wanted)["x"].device.name == "cpu"
    gpunn.save({"x": gpunn.ones(2, device=kernels)}, path)
    home = kernels if kernels.startswith("cuda") else "cpu"  # no other program knows the emulator
    assert gpunn.load(path)["x"].device == gpunn.device(home)


def test_a_device_that_is_not_here_says_how_to_do_without(tmp_path: Path) -> None:
    gpunn.save(gpunn.ones(2), tmp_path / "here.pt")
    path = tmp_path / "there.pt"
    with zipfile.ZipFile(tmp_path / "here.pt") as here, zipfile.ZipFile(path, "w") as there:
        for name in here.namelist():
            there.writestr(name, here.read(name).replace(b"cpu", b"tpu"))
    with pytest.raises(DeviceError, match=r"saved on 'tpu', which cannot be used here .*map_location=\"cpu\""):
        gpunn.load(path)
    assert gpunn.load(path, map_location="cpu").shape == (2,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: nn.Linear(2, 3), r"got Linear. Save its state_dict\(\)"),
        (lambda: {"a": [nn.Linear(2, 3)]}, r"got Linear as \['a'\]\[0\]. Save its state_dict\(\)"),
        (lambda: {"args": {1, 2}}, r"got set as \['args'\]"),
        (lambda: {"time": np.datetime64(0, "s")}, r"got datetime64 as \['time'\]"),
        (lambda: {(1, nn.ReLU()): 1}, r"got ReLU as 's key\[1\]"),
    ],
)
def test_refuses_what_is_no_data(tmp_path: Path, value, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gpunn.save(value(), tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_refuses(tmp_path: Path) -> None:
    with pytest.raises(DTypeError, match=r"\['x'\]: expected one of .*float32.*; got uint16"):
        gpunn.save({"x": np.zeros(2, "uint16")}, tmp_path / "a.pt")
    number: Any = 3
    with pytest.raises(UsageError, match="f: expected a path or an open binary file; got int"):
        gpunn.save({}, number)
    with pytest.raises(UsageError, match="f: expected a path or an open binary file; got int"):
        gpunn.load(number)
    with pytest.raises(UsageError, match=r"pickle_module=.* is not supported: no module pickles"):
        gpunn.load(tmp_path / "a.pt", pickle_module=pytest)
    with pytest.raises(DataError, match="there is no such file"):
        gpunn.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no weights at all")
    with pytest.raises(DataError, match="expected a whole safetensors file"):
        gpunn.load(tmp_path / "text.pt")
    with pytest.raises(DataError, match=r"the open file: .*expected a zip archive"):
        gpunn.load(io.BytesIO(b"no weights at all"))


def test_pytorch_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model, optimizer = trained()
    gpunn.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "ours.pt")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 4)
    )
    saved = torch.load(tmp_path / "ours.pt", weights_only=True)
    theirs.load_state_dict(saved["model"])
    torch.optim.Adam(theirs.parameters()).load_state_dict(saved["optimizer"])
    x = np.random.Generator(np.random.Philox(0)).normal(size=(3, 2, 4, 4)).astype(np.float32)
    model.eval(), theirs.eval()
    # A convolution and a product of at most 18 terms: rounding.
    np.testing.assert_allclose(
        model(gpunn.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    torch.save({"model": theirs.state_dict(), "epoch": 1}, tmp_path / "theirs.pt")
    back = gpunn.load(tmp_path / "theirs.pt")
    assert list(back["model"]) == list(model.state_dict())
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(back["model"][name].numpy(), array)
