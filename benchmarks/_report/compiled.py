"""Every specialisation of every kernel compiled and loaded on this card, in many processes at once.

CuPy keeps what was compiled on disk, so the sections after this one need not wait for the compiler.
"""

from __future__ import annotations

import argparse

from benchmarks._report.book import Section
from gpunn import _warmup as warmup

_LISTED = 20  # failures: where the compiler is missing, all of them are the same


def run(section: Section, options: argparse.Namespace) -> None:
    """All of them, those with the longest source first."""
    compile_jobs(section, options.device, warmup.every_job(), section.remaining)


def compile_jobs(section: Section, device: str, jobs: list[warmup.Job], seconds: float) -> None:
    """Compile ``jobs``, for so many seconds at most; what failed and what is left is told."""
    section.value("specialisations", len(jobs))
    section.value("processes", min(warmup.usual_processes(), len(jobs)))

    def told(outcome: warmup.Outcome) -> None:
        section.value("ready", outcome.done)  # a sign of life

    outcome = warmup.compile_all(device, jobs, seconds=seconds, told=told)
    for job, error in outcome.failures[:_LISTED]:
        section.fail(str(job), error)
    if len(outcome.failures) > _LISTED:
        section.fail(f"{len(outcome.failures) - _LISTED} more that do not compile")
    section.value("ready", outcome.done)
    section.value("compiled", outcome.compiled)
    section.value("found in the cache", outcome.found)
    section.value("compiling took", f"{outcome.seconds:.1f} s")
    section.value("longest", f"{outcome.slowest[1]}, {outcome.slowest[0]:.1f} s")
    if outcome.died is not None:
        section.fail(f"a compiling process died, after {outcome.done} of {outcome.jobs} specialisations", outcome.died)
    elif outcome.left:
        section.cut(f"{outcome.left} of {outcome.jobs} specialisations {section.why}")
