"""NCCL between processes, each with a GPU: the channel, on a stand-in for NCCL that checks what ranks do.

Every test starts ``mpiexec``; what the ranks do is in ``ranks.py``. The stand-in (``standin/nccl.cpp``) needs no more
than one GPU, or a CUDA driver that runs kernels on the CPU.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from gpunn._device import device
from gpunn.distributed import _nccl
from gpunn.gpu import diagnosis
from tests.devices import GPU
from tests.distributed.standin import build


def _mpiexec() -> str | None:
    beside = Path(sys.executable).with_name("mpiexec")  # mpich from PyPI
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def _why_not() -> str | None:
    if importlib.util.find_spec("mpi4py") is None:
        return "needs mpi4py"
    return "needs mpiexec (pip install mpich)" if _mpiexec() is None else build.missing()


ranks = [pytest.mark.gpu, pytest.mark.skipif(_why_not() is not None, reason=str(_why_not()))]
several = pytest.mark.parametrize("size", [2, 4])


class Ran:
    """What came of a run: its output, and what the stand-in wrote."""

    def __init__(self, done: subprocess.CompletedProcess[str], log: Path) -> None:
        self.output = done.stdout + done.stderr
        lines = log.read_text().splitlines() if log.exists() else []
        self.findings = [line for line in lines if line.startswith("FINDING")]
        # rank: name of a call: how often, and bytes
        self.counts: dict[int, dict[str, tuple[int, int]]] = {}
        for line in lines:
            if line.startswith("COUNTS"):
                found = re.findall(r"(\w+) (\d+) calls (\d+) bytes", line)
                self.counts[int(line.split()[3])] = {name: (int(calls), int(size)) for name, calls, size in found}


@pytest.fixture
def run(tmp_path: Path) -> functools.partial[Ran]:
    return functools.partial(_run, tmp_path)


def _run(folder: Path, name: str, size: int = 2, *, standin: bool = True, **more: str) -> Ran:
    command = _mpiexec()
    assert command is not None
    root = Path(__file__).parents[2]
    log = folder / "nccl.log"
    # A busy machine may let a rank be late; one that is gone is noticed at once.
    environment = dict(os.environ, GPUNN_NCCL_LOG=str(log), GPUNN_NCCL_SECONDS="60", OMP_NUM_THREADS="1", **more)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    if standin:
        environment |= build.environment()
    done = subprocess.run(
        # A rank that ends does not take the others with it: they have to notice.
        [command, "-disable-auto-cleanup", "-n", str(size), sys.executable, "-m", "tests.distributed.ranks", name],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    ran = Ran(done, log)
    assert done.returncode == 0, ran.output
    return ran


class TestRanks:
    pytestmark = ranks

    @several
    def test_values_of_all_collectives(self, run: functools.partial[Ran], size: int) -> None:
        ran = run("values", size)
        assert not ran.findings
        assert len(ran.counts) == size
        for counts in ran.counts.values():
            # 7 dtypes: 4 reductions of 6, 2 of bool, avg of 3; and 3 shapes that have elements
            assert counts["allReduce"][0] == 4 * 6 + 2 + 3 + 3
            each = 3 * 37 * (2 + 4 + 8 + 4 + 8 + 1 + 1)
            assert counts["broadcast"] == (7 * size, each * size)
            assert counts["allGather"] == (7 * 2, each * 2)

    @several
    @pytest.mark.parametrize("name", ["overlapping", "other_stream", "dropped", "busy_elsewhere"])
    def test_order(self, run: functools.partial[Ran], name: str, size: int) -> None:
        assert not run(name, size).findings

    @several
    def test_captured_step(self, run: functools.partial[Ran], size: int) -> None:
        ran = run("captured", size)
        assert not ran.findings
        # The capture itself runs nothing: 1 call as it is and 5 replays, and as many broadcasts outside.
        expected = {"allReduce": (12, 12 * 12), "allGather": (6, 6 * 12), "broadcast": (6, 6 * 12)}
        assert ran.counts == dict.fromkeys(range(size), expected)

    @pytest.mark.parametrize("name", ["unjoined", "started_before"])
    def test_what_a_capture_cannot_hold(self, run: functools.partial[Ran], name: str) -> None:
        assert not run(name).findings

    def test_wrong_arguments(self, run: functools.partial[Ran]) -> None:
        assert not run("refused").findings

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("other_count", r"allReduce of \d float32 by sum, but rank \d: allReduce of \d float32 by sum"),
            ("other_dtype", r"allReduce of 4 \w+ by sum, but rank \d: allReduce of 4 \w+ by sum"),
            ("other_op", r"allReduce of 4 float32 by \w+, but rank \d: allReduce of 4 float32 by \w+"),
            ("other_root", r"broadcast of 4 float32 with root \d, but rank \d: broadcast of 4 float32 with root \d"),
            ("other_order", r"call 1: allReduce of \d float32 by sum, but rank \d"),
            ("other_step", r"call 2: allReduce of 1 float32 by \w+, but rank \d: allReduce of 1 float32 by \w+"),
            ("gone", r"rank 0, call 1: rank 1 \(process \d+\) is gone, whose contribution is wanted to allReduce of 4"),
            ("out_of_step", r"rank 0, call 2: rank 1 \(process \d+\) is gone"),
        ],
    )
    def test_ranks_that_differ(self, run: functools.partial[Ran], name: str, found: str) -> None:
        ran = run(name)
        assert len(ran.findings) == 1, ran.findings
        assert re.search(found, ran.findings[0]), ran.findings

    def test_a_rank_that_is_late(self, run: functools.partial[Ran]) -> None:
        ran = run("late")
        assert len(ran.findings) == 1
        assert re.search(r"rank 0, call 1: rank 1 is late by \d s", ran.findings[0]), ran.findings

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("misaligned", "a pointer that is not aligned"),
            ("overlapped", "the arrays overlap"),
            ("host_memory", "a pointer that is no device memory"),
            ("other_device", "memory of device"),
            ("other_devices_stream", "a stream of device"),
        ],
    )
    def test_calls_that_the_stand_in_refuses(self, run: functools.partial[Ran], name: str, found: str) -> None:
        if name.startswith("other_device") and device("cuda").xp.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("needs two GPUs")
        with pytest.raises(AssertionError, match="a collective before close failed"):
            run(name)
        log = next(Path(run.args[0]).glob("nccl.log")).read_text()
        assert found in log

    def test_reduce(self, run: functools.partial[Ran]) -> None:
        ran = run("reduce_to_one")
        assert not ran.findings
        assert ran.counts[0]["reduce"] == (1, 16)

    def test_a_replay_after_close(self, run: functools.partial[Ran]) -> None:
        ran = run("replayed_after_close")
        assert "a graph runs allReduce of 1 float32 by sum of a communicator that is destroyed" in ran.findings[0]

    @pytest.mark.parametrize("name", ["starts_too_early", "waits_for_nothing"])
    def test_a_missing_order_shows(self, run: functools.partial[Ran], name: str) -> None:
        if not _waits_until_asked():
            pytest.skip("this driver does work by itself, so that a missing order need not show")
        assert run(name).output.count("wrong True") == 2

    def test_data_parallel_training(self, run: functools.partial[Ran]) -> None:
        if device("cuda").xp.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("needs two GPUs")
        ran = run("data_parallel")
        assert not ran.findings
        # Twice 5 steps, of which the capture itself runs nothing; one bucket, padded to multiples of 16 elements.
        size = 4 * (8 * 16 + 16 + 16 * 4 + 16)
        assert ran.counts[0]["allReduce"] == (10, 10 * size)

    def test_a_trainer_by_nccl_and_by_mpi(self, run: functools.partial[Ran]) -> None:
        if device("cuda").xp.cuda.runtime.getDeviceCount() < 2:
            pytest.skip("needs two GPUs")
        ran = run("trainer")
        assert not ran.findings
        # Three epochs of 4 steps, each with a bucket.
        assert ran.counts[0]["allReduce"][0] == 12

    def test_two_ranks_on_one_gpu(self, run: functools.partial[Ran]) -> None:
        if device("cuda").xp.cuda.runtime.getDeviceCount() > 1:
            pytest.skip("each rank has a GPU of its own")
        assert not run("same_gpu", GPUNN_NCCL_SAME_GPU="refuse").findings

    def test_no_library(self, run: functools.partial[Ran]) -> None:
        if _nccl.available(device(GPU).xp) is None:
            pytest.skip("NCCL is installed")
        run("missing", standin=False)


def _waits_until_asked() -> bool:
    """Whether this driver leaves work undone until something waits for it."""
    gpu = device(GPU)
    with gpu.active():
        stream = gpu.xp.cuda.Stream(non_blocking=True)
        with stream:
            gpu.xp.zeros((4,), "float32")
        time.sleep(0.2)
        undone = not stream.done
        stream.synchronize()
    return undone


@pytest.mark.parametrize(
    ("found", "package", "command"),
    [
        (["cupy-cuda12x"], "nvidia-nccl-cu12", "pip install nvidia-nccl-cu12."),
        (["cupy-cuda13x"], "nvidia-nccl-cu13", "pip install nvidia-nccl-cu13."),
        (["cupy"], "nvidia-nccl-cu12", "pip install nvidia-nccl-cu12, or conda install -c conda-forge nccl."),
    ],
)
def test_why_it_is_not_available(monkeypatch: pytest.MonkeyPatch, found: list[str], package: str, command: str) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_nccl, "_module", lambda cupy: types.SimpleNamespace(available=False))
    monkeypatch.setattr(diagnosis, "packages", lambda: found)
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.nccl", None)
    said = _nccl.available(None)
    assert said is not None
    assert said.startswith("NCCL, which sends arrays between GPUs, could not be loaded (")
    assert f"expected in the package {package}, which is not installed. Mend it with {command}" in said
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.27.3")
    said = _nccl.available(None)
    assert said is not None
    assert (
        f"of which 2.27.3 is installed but cannot be used. Mend it with pip install --force-reinstall {package}" in said
    )


def test_available() -> None:
    cupy = types.SimpleNamespace()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_nccl, "_module", lambda asked: types.SimpleNamespace(available=asked is cupy))
        assert _nccl.available(cupy) is None


def test_the_module_needs_no_cupy() -> None:
    program = "import sys; sys.modules['cupy'] = None; import gpunn.distributed._nccl"
    subprocess.run([sys.executable, "-c", program], check=True)
