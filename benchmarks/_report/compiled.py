"""Every specialisation of every kernel compiled and loaded on this card, in many processes at once.

CuPy keeps what was compiled on disk, so the sections after this one need not wait for the compiler.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as OutOfTime
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from benchmarks._report.book import NO_TIME, Section
from benchmarks.compile_gate import sources
from gpunn._device import require_loader

# Each process has a context of its own on the card, half a gigabyte.
_MOST_PROCESSES = 12
_pool: Callable[[int], Executor] = functools.partial(ProcessPoolExecutor, mp_context=get_context("spawn"))


def run(section: Section, options: argparse.Namespace) -> None:
    """All of them, those with the longest source first."""
    declared = sorted(sources().items(), key=lambda item: -len(item[1].text))
    jobs = [(file, macros) for file, source in declared for macros in source.specialisations()]
    processes = max(1, min(_MOST_PROCESSES, (os.cpu_count() or 2) - 1))
    section.value("specialisations", len(jobs))
    section.value("processes", processes)
    start, done, slowest = time.monotonic(), 0, (0.0, "none")
    pool = _pool(processes)
    futures = {pool.submit(compile_one, options.device, file, macros): (file, macros) for file, macros in jobs}
    try:
        for future in as_completed(futures, timeout=max(0.0, section.remaining)):
            file, macros = futures[future]
            name = f"{file} [{' '.join(f'{key}={value}' for key, value in macros.items())}]"
            try:
                slowest = max(slowest, (future.result(), name))
                done += 1
            except BrokenProcessPool:
                raise
            except Exception as error:
                section.fail(name, error)
            section.value("compiled", done)
    except OutOfTime:
        section.cut(f"{len(jobs) - done} of {len(jobs)} specialisations {NO_TIME}")
    except BrokenProcessPool as error:
        section.fail(f"a process that compiled died, after {done} of {len(jobs)} specialisations", error)
    finally:
        _cancel(pool, futures)
    section.value("seconds", time.monotonic() - start)
    section.value("slowest", f"{slowest[1]}, {slowest[0]:.1f} s")


def _cancel(pool: Executor, futures: dict[Future[float], Any]) -> None:
    for future in futures:
        future.cancel()
    pool.shutdown(wait=False, cancel_futures=True)


def compile_one(name: str, file: str, macros: dict[str, str]) -> float:
    """Compile and load one specialisation as the product would; the seconds it took."""
    from gpunn._device import device

    target, source = device(name), sources()[file]
    start = time.monotonic()
    with target.active():
        require_loader(target).load(source.text, source.file, macros)
    return time.monotonic() - start
