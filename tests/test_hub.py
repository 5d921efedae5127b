"""Weights from an address: fetched once, whole or not at all, checked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import gpunn
from gpunn import hub
from gpunn.errors import DataError, UsageError
from gpunn.utils import model_zoo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hub, "_chosen", None)
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file whose name says its hash."""
    file = tmp_path / "net.pth"
    gpunn.save({"weight": gpunn.ones(2)}, file)
    return file.rename(tmp_path / f"net-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth")


def test_weights_are_fetched_once(folder: Path, weights: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = weights.as_uri()
    assert hub.load_state_dict_from_url(url, check_hash=True)["weight"].tolist() == [1.0, 1.0]
    assert capfd.readouterr().err == f"downloading {url}\n"
    assert os.listdir(folder) == [weights.name]
    weights.unlink()
    assert model_zoo.load_url(url, map_location="cpu")["weight"].tolist() == [1.0, 1.0]
    assert capfd.readouterr().err == ""


def test_another_folder_and_name(folder: Path, weights: Path, tmp_path: Path) -> None:
    hub.load_state_dict_from_url(weights.as_uri(), tmp_path / "own", file_name="w.pth", progress=False)
    assert os.listdir(tmp_path / "own") == ["w.pth"]
    assert not folder.exists()
    hub.set_dir(tmp_path / "chosen")
    assert hub.get_dir() == str(tmp_path / "chosen")


def test_the_folder_is_pytorchs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(hub, "_chosen", None)
    for name, value in (("TORCH_HOME", str(tmp_path)), ("TORCH_HOME", None), ("XDG_CACHE_HOME", str(tmp_path / "c"))):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        assert hub.get_dir() == torch.hub.get_dir()


def test_other_content_leaves_nothing(folder: Path, weights: Path) -> None:
    other = weights.rename(weights.with_name("net-01234567.pth"))
    with pytest.raises(DataError, match="begins with 01234567"):
        hub.load_state_dict_from_url(other.as_uri(), check_hash=True)
    assert os.listdir(folder) == []


def test_what_cannot_be_fetched_is_told(folder: Path, tmp_path: Path) -> None:
    absent = (tmp_path / "absent.pth").as_uri()
    with pytest.raises(DataError, match="could not be fetched"):
        hub.load_state_dict_from_url(absent)
    assert os.listdir(folder) == []
    with pytest.raises(UsageError, match="holds no hash"):
        hub.load_state_dict_from_url(absent, check_hash=True)
    with pytest.raises(UsageError, match="expected https"):
        hub.download_url_to_file("ftp://example.org/w.pth", tmp_path / "w.pth")
    with pytest.raises(DataError, match="could not be written"):
        hub.download_url_to_file(absent, tmp_path / "no folder" / "w.pth")
    with pytest.raises(UsageError, match="a program for PyTorch"):
        hub.load("pytorch/vision", "resnet18")
