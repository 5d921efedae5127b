"""The device registry, and what it says about devices this machine does not have."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import gpunn
from gpunn._device import Device, cuda_is_available, device, same_device
from gpunn.errors import DeviceError


def test_one_object_for_one_name() -> None:
    cpu = device("cpu")
    assert device("cpu") is cpu
    assert device(cpu) is cpu
    assert copy.deepcopy(cpu) is cpu
    assert pickle.loads(pickle.dumps(cpu)) is cpu


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "", "emulator:0"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(DeviceError, match="expected one of cpu, cuda, cuda-plain, emulator, auto"):
        device(name)


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1", "cuda-plain"])
def test_cuda_without_a_gpu_says_what_is_missing_and_the_fix(name: str) -> None:
    with pytest.raises(DeviceError, match=r"pip install 'gpunn\[cuda12\]'|finds no usable NVIDIA GPU"):
        device(name)


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a GPU")
def test_auto_without_a_gpu_is_cpu() -> None:
    assert device("auto") is device("cpu")
    assert not gpunn.cuda.is_available()


def test_emulator_without_a_compiler_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunn import emulator
    from gpunn.loaders import EmulatorLoader

    monkeypatch.setattr(emulator, "available", lambda: "needs g++: apt install g++")
    with pytest.raises(DeviceError, match="apt install g"):
        EmulatorLoader()


def test_mixing_devices_names_the_op_and_both() -> None:
    fake = Device("fake", np)
    with pytest.raises(DeviceError, match="add: inputs are on different devices, cpu and fake"):
        same_device("add", device("cpu"), fake)


def test_reported_bad_data_is_raised_once_and_cleared() -> None:
    cpu = device("cpu")
    cpu.error_buffer[:] = [1, cpu.layer_id("loss"), 7, 12]
    with pytest.raises(gpunn.errors.LabelError, match="loss: label 12 at position 7"):
        cpu.synchronize()
    cpu.synchronize()
