"""What decides which devices tests run on, and what brings their arrays there and back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn._layout import address_of
from gpunn.errors import DeviceError
from gpunn.ops.batch_norm import batch_norm_statistics
from gpunn.ops.clip_grad import total_norm
from gpunn.ops.sgd import sgd_step
from tests import devices
from tests.devices import EVERYWHERE, HAS_GPU, call, upload


@pytest.mark.parametrize(
    ("expression", "only"),
    [
        ("", False),
        ("gpu", True),
        ("gpu and not parity", True),
        ("(emulator or gpu) and gpu", True),
        ("not gpu", False),
        ("gpu or emulator", False),
        ("not (gpu and parity)", False),
        ("emulator", False),
        ("gpu and", False),
    ],
)
def test_which_expressions_select_the_gpus_tests_alone(expression: str, only: bool) -> None:
    assert devices._selects_only_gpu(expression) == only


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_asking_for_the_gpus_tests_without_a_gpu_says_why() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", __file__]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    with pytest.raises(DeviceError) as caught:
        device("cuda")
    assert f"the tests marked gpu cannot run: {caught.value}" in done.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("cuda:99", "cuda:99|CuPy"), ("cpu", "expected 'cuda' or .*; got 'cpu'")]
)
def test_a_gpu_that_was_asked_for_by_name_and_is_not_there(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_TEST_DEVICE", name)
    monkeypatch.setattr(devices, "GPU", name)
    with pytest.raises(pytest.UsageError, match=message):
        devices.refuse_to_run_without("")


@pytest.mark.parametrize("where", EVERYWHERE)
def test_call_returns_and_changes_numpy_arrays(where: str) -> None:
    p, g, m = np.array([1.0, 2.0]), np.array([1.0, -1.0]), np.zeros(2)
    args: dict[str, Any] = {"params": [p], "grads": [g], "momenta": [m], "first": [True]}
    scalars = np.array([0.5, 0.9, 1.0, 0.0, 1.0])  # rate, momentum, undamped part, decay, sign
    assert call(sgd_step, where, **args, scalars=scalars, error=np.zeros(4, np.int32), nesterov=False) is None
    assert (p.tolist(), m.tolist(), g.tolist()) == ([0.5, 2.5], [1, -1], [1, -1])
    norm = call(total_norm, where, [np.array([3.0]), np.array([4.0])], 2.0)
    assert isinstance(norm, np.ndarray)
    assert norm == 5


def test_call_notices_what_was_written_to_and_should_not_be() -> None:
    there = SimpleNamespace(get=lambda: np.array([1.0, 0.0]))
    devices._assert_unchanged("x", [np.array([1.0, 0.0]), None, 3], [there, None, 3])
    with pytest.raises(AssertionError, match="dy was written to"):
        devices._assert_unchanged("dy", [np.array([1.0, -0.0])], [there])


def test_call_hands_options_to_the_body_of_kernels(kernels: str) -> None:
    x = np.arange(12.0).reshape(4, 3)
    mean, _ = call(batch_norm_statistics, kernels, x, None, None, None, 0.1, kernel={"threads": 32, "most": 2})
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-14)  # a rounding or two


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("skipped", [0, 1, 3])
def test_uploaded_arrays_keep_alignment_and_values(where: str, skipped: int) -> None:
    whole = device("emulator").empty((12,), np.float32) if where == "emulator" else np.empty(12, np.float32)
    whole[...] = np.arange(12)
    there = upload(whole[skipped:], device(where))
    assert address_of(there) % 16 == address_of(whole[skipped:]) % 16
    np.testing.assert_array_equal(devices.host(there), whole[skipped:])
    transposed = upload(np.arange(6).reshape(2, 3).T, device(where))
    assert transposed.flags.c_contiguous
    np.testing.assert_array_equal(devices.host(transposed), [[0, 3], [1, 4], [2, 5]])
    assert upload([None, 2], device(where)) == [None, 2]
