"""``gpunn warmup``: what it prints, what it keeps, how it refuses and how it stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from gpunn import _device, cuda
from gpunn import _warmup as warmup
from gpunn._device import Device, cuda_is_available
from gpunn.cli.main import main
from gpunn.errors import KernelError
from tests.cli.test_cli import COMMAND, ROOT, refused
from tests.test_cuda import _Two


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for two GPUs, on which compiling a kernel leaves a file; threads instead of processes."""
    cupy: Any = _Two()
    gpus = {f"cuda:{n}": Device(f"cuda:{n}", cupy, object(), n) for n in (0, 1)}
    plain = Device("cuda-plain:0", cupy, None, 0)
    named = {**gpus, "cuda": gpus["cuda:0"], "cuda-plain": plain}
    real = _device.device
    monkeypatch.setattr(_device, "device", lambda name: named.get(name) or real(name))
    monkeypatch.setattr(cuda, "which_gpu", lambda which, where: which)
    monkeypatch.setattr(warmup, "_pool", ThreadPoolExecutor)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY", raising=False)

    def compile_one(name: str, job: warmup.Job) -> float:
        (tmp_path / f"{abs(hash((name, job)))}.cubin").write_bytes(bytes(1000))
        return 0.5

    monkeypatch.setattr(warmup, "compile_one", compile_one)
    return tmp_path


def test_everything(cache: Path, capsys: Any) -> None:
    jobs = len(warmup.every_job())
    assert main(["warmup", "--processes", "2"]) == 0
    first, *quarters, result, where = capsys.readouterr().out.splitlines()
    assert first == (
        f"compiling {jobs} specialisations of {len(warmup.sources())} kernel files for cuda:0 (NVIDIA One, compute "
        "capability 9.0), 2 at once"
    )
    assert quarters == [f"  {-(-jobs * quarter // 4)} of {jobs}" for quarter in (1, 2, 3)]
    assert result.startswith(f"{jobs} compiled, 0 found in the cache, in ")
    assert "s; longest " in result
    assert where == f"cache: {cache}, {jobs} files, {jobs / 1e3:.1f} MB"
    assert main(["warmup"]) == 0
    assert f"0 compiled, {jobs} found in the cache" in capsys.readouterr().out


def test_what_a_model_needs_on_the_second_gpu(cache: Path, capsys: Any) -> None:
    words = ["warmup", "lenet5", "--batch-size", "8", "--optimizer", "adam", "--device", "cuda:1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert " kernel files that training lenet5 uses for cuda:1 (NVIDIA Two, compute capability 12.1), " in said
    assert 5 < len(list(cache.iterdir())) < 30


def test_a_network_of_ones_own(cache: Path, tmp_path: Path, capsys: Any) -> None:
    net = tmp_path / "net.py"
    net.write_text("from gpunn import nn\n\ndef Net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 1))\n")
    assert main(["warmup", f"{net}:Net", "--input", "3,2,2"]) == 0
    assert f"that training {net}:Net uses" in capsys.readouterr().out


def test_failures_are_told_and_the_status_is_1(cache: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_one(name: str, job: warmup.Job) -> float:
        if job.file == "gemm.cu":
            raise KernelError("gemm.cu does not compile\nwith this")
        return 0.0

    monkeypatch.setattr(warmup, "compile_one", compile_one)
    assert main(["warmup"]) == 1
    caught = capsys.readouterr()
    lines = caught.err.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("gpunn: error: gemm.cu [REAL=")
    assert lines[0].endswith("]: gemm.cu does not compile with this")
    assert lines[5] == "gpunn: error: and 13 more"
    assert "compiled, " in caught.out


def test_a_process_that_dies_is_told(cache: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_one(name: str, job: warmup.Job) -> float:
        raise BrokenProcessPool("killed")

    monkeypatch.setattr(warmup, "compile_one", compile_one)
    assert main(["warmup", "lenet5"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("gpunn: error: a process that compiled died (killed); ")
    assert "give --processes a smaller number" in said


def test_ctrl_c_says_what_is_kept(cache: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_all(name: str, jobs: Any, *, stopping: Any, told: Any, **how: Any) -> Any:
        told(warmup.Outcome(len(jobs), done=3))
        stopping()
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "compile_all", compile_all)
    assert main(["warmup"]) == 130
    first, second = capsys.readouterr().err.splitlines()
    assert first == "gpunn: stopping, as soon as those that have begun are done"
    assert second == f"gpunn: interrupted; 3 of {len(warmup.every_job())} are in the cache {cache}"


def test_a_cache_that_lives_in_memory_is_refused(cache: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    assert "CUPY_CACHE_IN_MEMORY=1 keeps CuPy's cache in each process" in refused(capsys, "warmup")


def test_devices_without_kernels_are_refused(cache: Path, capsys: Any) -> None:
    said = refused(capsys, "warmup", "--device", "cuda-plain")
    assert "device 'cuda-plain:0' runs no kernels; expected cuda, cuda:1, ... or emulator" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "cpu"], "warmup: device 'cpu' runs no kernels"),
        (["--batch-size", "4"], "--batch-size: it is about a model; got none"),
        (["--optimizer", "adm", "lenet5"], "expected one of sgd, .*got 'adm'; did you mean 'adam'"),
        (["lenet"], "unknown model 'lenet': expected one of lenet5"),
        (["lenet5", "--processes", "0"], "expected a whole number of at least 1; got '0'"),
    ],
)
def test_wrong_use(capsys: Any, words: list[str], message: str) -> None:
    assert re.search(message, refused(capsys, "warmup", *words))


@pytest.mark.skipif(cuda_is_available(), reason="this machine has a GPU")
def test_without_a_gpu_says_why(capsys: Any) -> None:
    assert "device 'cuda'" in refused(capsys, "warmup")


@pytest.mark.emulator
def test_ctrl_c_leaves_only_whole_files(tmp_path: Path) -> None:
    """In a process group of its own, as a terminal's: processes and compilers get the signal too."""
    words = [*COMMAND, "warmup", "--device", "emulator", "--processes", "2"]
    environment = {**os.environ, "GPUNN_CACHE": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    program = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell's background job ignores Ctrl-C, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert program.stdout is not None
    if sys.platform != "linux" or "compiling" not in program.stdout.readline():
        pytest.skip("no emulator here")
    while not any(path.name.startswith("build-") for path in tmp_path.iterdir()):
        assert program.poll() is None
    os.killpg(program.pid, signal.SIGINT)
    _, said = program.communicate(timeout=300)
    assert program.returncode == 130, said
    assert "gpunn: stopping, as soon as those that have begun are done" in said
    assert "Traceback" not in said
    left = [path.name for path in tmp_path.iterdir() if path.suffix not in (".so", ".gch")]
    assert left == []
