"""Which kernels some work uses, without running any, and compiling many of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import _warmup as warmup
from gpunn import nn, optim
from gpunn._device import Device, device
from gpunn._warmup import Job
from gpunn.errors import KernelError, UsageError
from gpunn.models import LeNet5

ROOT = Path(__file__).parent.parent


def _sgd(parameters: Any) -> Any:
    return optim.SGD(parameters, lr=0.1, momentum=0.9)


# -- which ----------------------------------------------------------------------------------------


def test_everything_is_every_specialisation_once() -> None:
    jobs = warmup.every_job()
    assert len(jobs) == len(set(jobs)) == sum(len(s.specialisations()) for s in warmup.sources().values())
    lengths = [len(warmup.sources()[job.file].text) for job in jobs]
    assert lengths == sorted(lengths, reverse=True)
    assert str(Job("sgd.cu", (("REAL", "float"), ("VEC", "4")))) == "sgd.cu [REAL=float VEC=4]"


def test_every_launch_of_the_battery_is_among_them_macros_in_order() -> None:
    """Caches go by text: -DA -DB is not -DB -DA."""
    from benchmarks._report.battery import _launch_all

    needed = warmup.jobs_used_by(_launch_all)
    assert len(needed) > 150
    assert set(needed) <= set(warmup.every_job())


@pytest.mark.emulator
@pytest.mark.parametrize("make", [_sgd, optim.Adam])
def test_what_training_uses_is_what_training_loads(
    make: Callable[[Any], Any], emulator: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of a Trainer, eager, captured and in evaluation mode, on a device that notes what it loads."""
    loaded = set()

    class Noting:
        def load(self, source: str, label: str, macros: Any) -> Any:
            loaded.add(Job(label, tuple(macros.items())))
            return emulator.loader.load(source, label, macros)

        capture, facts = emulator.loader.capture, emulator.loader.facts

    home = Device("emulator", np, Noting())

    def model() -> Any:
        return nn.Sequential(LeNet5(channels=(2, 4), hidden=8, image=(12, 12)), nn.BatchNorm1d(10), nn.Dropout(0.2))

    net = model()
    trainer = gpunn.Trainer(net, make(net.parameters()), device=home, log=None)
    batch = (gpunn.rand(3, 1, 12, 12).to(home), gpunn.tensor([0, 1, 2]).to(home))
    trainer.fit([batch] * 3, [batch] * 3)
    assert set(warmup.jobs_of_training(model(), (1, 12, 12), 3, make)) == loaded


def test_the_batch_size_and_the_optimiser_decide_what_is_needed() -> None:
    def needed(batch: int, make: Callable[[Any], Any] = _sgd) -> set[str]:
        return {str(job) for job in warmup.jobs_of_training(nn.Conv2d(64, 128, 3), (64, 8, 8), batch, make)}

    assert {"sgd.cu [REAL=float STORED=0 VEC=4]", "scalars.cu []"} <= needed(2)
    assert needed(2) != needed(512)
    assert not any(name.startswith("sgd") for name in needed(2, optim.Adam))


def test_a_model_without_class_scores_is_trained_on_the_sum() -> None:
    files = {job.file for job in warmup.jobs_of_training(nn.Linear(4, 1), (4,), 2, _sgd)}
    assert "reduce.cu" in files
    assert "softmax_cross_entropy.cu" not in files


def test_a_model_with_several_outputs_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.linear(x), x

    with pytest.raises(UsageError, match="warmup: expected a network that returns one tensor; got tuple"):
        warmup.jobs_of_training(Two(), (4,), 2, _sgd)


# -- compiling ------------------------------------------------------------------------------------

_JOBS = [Job("a.cu", (("N", str(number)),)) for number in range(5)]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Compile in threads, into an empty cache of a GPU."""
    monkeypatch.setattr(warmup, "_pool", ThreadPoolExecutor)
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_counts_what_was_compiled_and_what_was_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "1.cubin").write_bytes(b"12345")
    (here / "tmpabc").write_bytes(b"no module")

    def compile_one(name: str, job: Job) -> float:
        assert name == "cuda:1"
        number = job.macros[0][1]
        if number == "3":
            raise KernelError("does not compile")
        (here / f"{number}.cubin").write_bytes(b"12345")
        return float(number)

    monkeypatch.setattr(warmup, "compile_one", compile_one)
    told: list[int] = []
    outcome = warmup.compile_all("cuda:1", _JOBS, told=lambda outcome: told.append(outcome.done))
    assert (outcome.jobs, outcome.done, outcome.compiled, outcome.found, outcome.left) == (5, 4, 3, 1, 0)
    assert outcome.slowest == (4.0, _JOBS[4])
    ((job, error),) = outcome.failures
    assert (job, str(error)) == (_JOBS[3], "does not compile")
    assert len(told) == 5
    assert told[-1] == 4
    assert outcome.seconds > 0
    assert warmup.cached_files("cuda") == {f"{n}.cubin" for n in "0124"}
    assert warmup.cache_bytes("cuda") == 20


def test_nothing_to_do(here: Path) -> None:
    assert warmup.compile_all("cuda", []).done == 0


def test_when_time_is_up_the_rest_is_left(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(warmup, "compile_one", lambda name, job: go_on.wait(60) and 0.0)
    outcome = warmup.compile_all("cuda", _JOBS, processes=1, seconds=0)
    go_on.set()
    assert (outcome.done, outcome.left, outcome.died) == (0, 5, None)


def test_a_process_that_dies_ends_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_one(name: str, job: Job) -> float:
        if job is _JOBS[1]:
            raise BrokenProcessPool("killed")
        return 0.0

    monkeypatch.setattr(warmup, "compile_one", compile_one)
    outcome = warmup.compile_all("cuda", _JOBS, processes=1)
    assert str(outcome.died) == "killed"
    assert outcome.done + outcome.left == 5


def test_ctrl_c_waits_for_what_has_begun(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Job] = []
    ended: list[Job] = []
    stopped = threading.Event()

    def compile_one(name: str, job: Job) -> float:
        begun.append(job)
        if job is not _JOBS[0]:
            stopped.wait(60)
        ended.append(job)
        return 0.0

    def told(outcome: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "compile_one", compile_one)
    with pytest.raises(KeyboardInterrupt):
        warmup.compile_all("cuda", _JOBS, processes=1, told=told, stopping=stopped.set)
    assert stopped.is_set()
    assert begun == ended
    assert len(ended) < 5


def test_interrupts_are_held_while_processes_are_started(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(signal, "pthread_sigmask"):
        pytest.skip("needs signal masks")
    masks = []

    class Pool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
            return super().submit(*arguments, **options)

    monkeypatch.setattr(warmup, "_pool", Pool)
    monkeypatch.setattr(warmup, "compile_one", lambda name, job: 0.0)
    warmup.compile_all("cuda", _JOBS)
    assert all(signal.SIGINT in mask for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_ends_with_its_parent() -> None:
    """One that compiles is not left behind where its parent was killed."""
    program = (
        "import os, subprocess, sys, time\n"
        "inner = 'import sys, time, gpunn._warmup as w; w._end_with(int(sys.argv[1])); time.sleep(120)'\n"
        "child = subprocess.Popen([sys.executable, '-c', inner, str(os.getpid())], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(120)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.emulator
def test_processes_compile_for_the_emulator(emulator: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path))
    jobs = [Job("scalars.cu", ())]
    first = warmup.compile_all("emulator", jobs)
    again = warmup.compile_all("emulator", jobs)
    assert (first.compiled, first.found, again.compiled, again.found) == (1, 0, 0, 1)
    assert first.failures == again.failures == []
    (file,) = warmup.cached_files("emulator")
    assert file.startswith("scalars-")


@pytest.fixture
def emulator() -> Device:
    try:
        return device("emulator")
    except gpunn.errors.DeviceError as error:
        pytest.skip(str(error))
