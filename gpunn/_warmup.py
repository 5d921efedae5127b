"""Compiling kernels before they are needed: which there are, which some work uses, and many of them at once.

What was compiled stays in the cache that the device's loader reads: CuPy's for a GPU, the emulator's own for the
emulator. ``gpunn warmup`` and the device report are made of this.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as OutOfTime
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._device import Device, device, require_loader
from gpunn.errors import UsageError
from gpunn.gpu.emulated import EmulatorLoader
from gpunn.gpu.launcher import KernelSource, kernel_folder
from gpunn.ops import import_all

# On a GPU each process has a context of its own there, half a gigabyte.
MOST_PROCESSES = 12


@dataclass(frozen=True)
class Job:
    """One specialisation of one kernel file: what is compiled at once."""

    file: str
    macros: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.file} [{' '.join(f'{name}={value}' for name, value in self.macros)}]"


@dataclass
class Outcome:
    """What became of some jobs.

    Attributes
    ----------
    jobs, done : int
        How many there were, and how many can be launched now.
    compiled : int
        How many of those were not in the cache before: by the files that it has more than at the start.
    failures : list of (Job, Exception)
    left : int
        How many were not begun, for want of time or because a process died.
    died : Exception or None
        What is known of a process that died.
    seconds : float
    slowest : (float, Job or None)
        The seconds of the job that took longest.
    """

    jobs: int
    done: int = 0
    compiled: int = 0
    failures: list[tuple[Job, Exception]] = field(default_factory=list)
    died: Exception | None = None
    seconds: float = 0.0
    slowest: tuple[float, Job | None] = (0.0, None)

    @property
    def found(self) -> int:
        """How many were in the cache already."""
        return self.done - self.compiled

    @property
    def left(self) -> int:
        """How many were not begun."""
        return self.jobs - self.done - len(self.failures)


# -- which ----------------------------------------------------------------------------------------


def sources() -> dict[str, KernelSource]:
    """Every kernel file that ops launch; a test compares this with the folder."""
    import_all()
    # Tests register sources of their own; only files of the kernel folder are the product's. No op launches those of
    # its subfolder.
    declared = sorted(KernelSource.registry.items())
    return {name: source for name, source in declared if "/" not in name and (kernel_folder() / name).exists()}


def every_job() -> list[Job]:
    """All specialisations of all kernels."""
    return _longest_first(
        Job(source.file, tuple(macros.items())) for source in sources().values() for macros in source.specialisations()
    )


def jobs_used_by(work: Callable[[Device], Any]) -> list[Job]:
    """The specialisations that ``work(device)`` launches.

    It is given a device on which no kernel is compiled and launches do nothing, so arrays hold no results. Which
    kernel is launched depends on shapes, dtypes and options, all of which are as they would be.
    """
    loader = _Noting()
    with np.errstate(all="ignore"):
        work(Device("emulator", np, loader))
    return _longest_first(loader.seen)


def jobs_of_training(model: Any, shape: Sequence[int], batch_size: int, optimizer: Callable[[Any], Any]) -> list[Job]:
    """The specialisations that training on batches of ``batch_size`` items of ``shape`` uses, captured or not.

    Parameters
    ----------
    model : Module
        It is moved away, so pass one that is not needed any more.
    shape : sequence of int
        Of one item.
    batch_size : int
    optimizer : callable
        Makes the optimiser of the model's parameters.

    Returns
    -------
    list of Job
        Forward, mean cross-entropy (or the sum, where the model gives no class scores), backward, update, the
        trainer's totals; and the same batch in evaluation mode.
    """
    return jobs_used_by(functools.partial(_train, model, (batch_size, *shape), optimizer))


def _train(model: Any, shape: tuple[int, ...], optimizer: Callable[[Any], Any], home: Device) -> None:
    from gpunn._capture import capture
    from gpunn._creation import zeros
    from gpunn._tensor import Tensor
    from gpunn.nn.loss import CrossEntropyLoss
    from gpunn.tape import no_grad
    from gpunn.train.evaluation import Totals

    model = model.to(home)
    made = optimizer(model.parameters())
    criterion, totals = CrossEntropyLoss(), Totals(home)

    def loss_of(x: Any, labels: Any) -> Any:
        scores = model(x)
        if not isinstance(scores, Tensor):
            raise UsageError(f"warmup: expected a network that returns one tensor; got {type(scores).__name__}.")
        if scores.ndim != 2 or scores.shape[1] < 2:
            return scores.sum()
        loss = criterion(scores, labels)
        totals.add(loss, scores, labels)
        return loss

    def step(x: Any, labels: Any) -> None:
        made.zero_grad()
        loss_of(x, labels).backward()
        made.step()

    @no_grad()
    def test(x: Any, labels: Any) -> None:
        loss_of(x, labels)

    x, labels = zeros(*shape, device=home), zeros(shape[0], dtype=np.int64, device=home)
    for run, training in ((step, True), (test, False)):
        model.train(training)
        captured = capture(run)
        captured(x, labels)  # as it is
        captured(x, labels)  # captured


class _Noting:
    """A loader that notes what it is asked to load."""

    def __init__(self) -> None:
        self.seen: set[Job] = set()

    facts = EmulatorLoader.facts

    def load(self, source: str, label: str, macros: Mapping[str, str]) -> _Noting:
        self.seen.add(Job(label, tuple(macros.items())))
        return self

    def function(self, kernel: str, parameters: Any) -> _Noting:
        return self

    def run(self, *launch: Any) -> None:
        """Nothing."""

    def prepare(self, *launch: Any) -> Callable[..., None]:
        return self.run

    def capture(self, body: Callable[[], Any]) -> tuple[_Noting, Any]:
        return self, body()

    def replay(self) -> None:
        """Nothing."""


def _longest_first(jobs: Iterable[Job]) -> list[Job]:
    """A process that begins the longest last would keep all others waiting."""
    known = sources()
    return sorted(jobs, key=lambda job: (-len(known[job.file].text), str(job)))


# -- compiling ------------------------------------------------------------------------------------


def compile_all(
    name: str,
    jobs: Sequence[Job],
    *,
    processes: int | None = None,
    seconds: float | None = None,
    told: Callable[[Outcome], None] = lambda outcome: None,
    stopping: Callable[[], None] = lambda: None,
) -> Outcome:
    """Compile and load ``jobs`` for the device of this name, in processes of their own.

    Parameters
    ----------
    name : str
    jobs : sequence of Job
    processes : int, optional
        As many as there are cores for this process, up to 12, if not given.
    seconds : float, optional
        When to stop beginning new ones.
    told : callable
        Given the outcome so far behind each job.
    stopping : callable
        Called on Ctrl-C, before those that have begun are waited for.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, when the jobs that had begun are done and kept: one that is killed would leave parts of files.
    """
    start, before = time.monotonic(), cached_files(name)
    outcome = Outcome(len(jobs))
    if not jobs:
        return outcome
    pool = _pool(max(1, min(processes or usual_processes(), len(jobs))))
    futures: dict[Future[float], Job] = {}
    try:
        with _interrupts_held():  # for as long as processes are started, which inherit that
            futures = {pool.submit(compile_one, name, job): job for job in jobs}
        for future in as_completed(futures, timeout=None if seconds is None else max(0.0, seconds)):
            _note(outcome, futures[future], future)
            told(outcome)
    except OutOfTime:
        pass  # which `left` says
    except BrokenProcessPool as error:
        outcome.died = error
    except KeyboardInterrupt:
        stopping()
        raise
    finally:
        for future in futures:
            future.cancel()
        pool.shutdown(wait=outcome.died is None and seconds is None, cancel_futures=True)
        outcome.seconds = time.monotonic() - start
        outcome.compiled = min(outcome.done, len(cached_files(name) - before))
    return outcome


def _note(outcome: Outcome, job: Job, future: Future[float]) -> None:
    try:
        outcome.slowest = max(outcome.slowest, (future.result(), job), key=lambda pair: pair[0])
        outcome.done += 1
    except BrokenProcessPool:
        raise
    except Exception as error:  # whatever compiling it raised, it is told with the others
        outcome.failures.append((job, error))


def compile_one(name: str, job: Job) -> float:
    """Compile and load one specialisation as a launch would; the seconds it took."""
    target, source = device(name), sources()[job.file]
    start = time.monotonic()
    with target.active():
        require_loader(target).load(source.text, source.file, dict(job.macros))
    return time.monotonic() - start


def usual_processes() -> int:
    """A process for each core that this one may use, up to 12; itself it only waits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_PROCESSES, cores)


def _pool(processes: int) -> Executor:
    # Not forked: CUDA cannot be used in a fork of a process that uses it.
    return ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    )


def _end_with(parent: int) -> None:
    """Let this process end soon after its parent, which may be killed and could not tell it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back for the block, and for good in the processes that it starts: their parent stops them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- the cache ------------------------------------------------------------------------------------


def cache_folder(name: str) -> Path:
    """Where the device of this name keeps what was compiled."""
    if name.startswith("cuda"):
        return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
    from gpunn.emulator.build import cache_folder

    return cache_folder()


def cached_files(name: str) -> set[str]:
    """The compiled modules in that folder, whoever made them."""
    folder, ending = cache_folder(name), ".cubin" if name.startswith("cuda") else ".so"
    found = {path.name for path in folder.glob(f"*{ending}")} if folder.is_dir() else set()
    return {file for file in found if not file.startswith("runtime-")}  # the emulator's own library


def cache_bytes(name: str) -> int:
    """The size of those files."""
    folder = cache_folder(name)
    return sum((folder / file).stat().st_size for file in cached_files(name))
