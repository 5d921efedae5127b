"""Compile kernels before they are needed, many at once, so that no training step waits for the compiler.

Without a model: every specialisation of every kernel. With one: what training it uses, at this batch size. What was
compiled stays in CuPy's kernel cache (or the emulator's) until kernels, CuPy, the compiler or the kind of GPU change.
Ctrl-C stops it; what is done by then is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gpunn.cli.arguments import one_of, whole
from gpunn.cli.models import MODEL_HELP
from gpunn.cli.recipe import OPTIMIZERS
from gpunn.cli.summary import lengths, model_and_shape
from gpunn.errors import DeviceError, UsageError

_LISTED = 5  # failures


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", nargs="?", help=f"{MODEL_HELP} (default: compile everything)")
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")
    add("--batch-size", type=whole(1), metavar="N", help="items a step of the model (default: 128)")
    add("--optimizer", type=one_of(OPTIMIZERS), metavar="NAME", help="of the model's training (default: sgd)")
    add("--device", default="cuda", metavar="NAME", help="cuda (the default), cuda:1 or emulator")
    add("--processes", type=whole(1), metavar="N", help="how many compile at once (default: one a core, up to 12)")


def run(args: argparse.Namespace) -> int:
    """Compile, and say what came of it."""
    if args.model is None:
        for flag in ("input", "batch_size", "optimizer"):
            if getattr(args, flag) is not None:
                raise UsageError(f"--{flag.replace('_', '-')}: it is about a model; got none. Name one, as lenet5.")
    asked = None if args.model is None else model_and_shape(args.model, args.input)
    from gpunn import _warmup as warmup
    from gpunn._device import device

    home = device(args.device)
    if home.loader is None:
        raise DeviceError(f"warmup: device '{home}' runs no kernels; expected cuda, cuda:1, ... or emulator.")
    in_memory = os.environ.get("CUPY_CACHE_IN_MEMORY", "0")
    if home.ordinal is not None and in_memory not in ("", "0"):
        raise UsageError(f"warmup: CUPY_CACHE_IN_MEMORY={in_memory} keeps CuPy's cache in each process. Unset it.")
    jobs = warmup.every_job() if asked is None else _jobs_of(args, *asked[:2])
    processes = min(args.processes or warmup.usual_processes(), len(jobs))
    what = "" if args.model is None else f" that training {args.model} uses"
    print(
        f"compiling {len(jobs)} specialisations of {len({job.file for job in jobs})} kernel files{what} for "
        f"{_describe(home)}, {processes} at once",
        flush=True,
    )
    latest = warmup.Outcome(len(jobs))

    def told(outcome: Any) -> None:
        nonlocal latest
        latest = outcome
        show(outcome)

    try:
        with _progress(len(jobs)) as show:
            outcome = warmup.compile_all(home.name, jobs, processes=processes, told=told, stopping=_stopping)
    except KeyboardInterrupt:
        print(
            f"gpunn: interrupted; {latest.done} of {latest.jobs} are in the cache {warmup.cache_folder(home.name)}",
            file=sys.stderr,
        )
        return 130
    slowest = f"; longest {outcome.slowest[1]}, {outcome.slowest[0]:.1f} s" if outcome.slowest[1] else ""
    print(f"{outcome.compiled} compiled, {outcome.found} found in the cache, in {outcome.seconds:.1f} s{slowest}")
    files, size = len(warmup.cached_files(home.name)), warmup.cache_bytes(home.name) / 1e6
    print(f"cache: {warmup.cache_folder(home.name)}, {files:,} files, {size:,.1f} MB")
    return _complain(outcome)


def _jobs_of(args: argparse.Namespace, model: Any, shape: tuple[int, ...]) -> Any:
    """What training the model uses."""
    from gpunn import optim
    from gpunn._warmup import jobs_of_training

    classes: dict[str, Any] = {
        "sgd": lambda parameters: optim.SGD(parameters, lr=0.01, momentum=0.9),
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "adagrad": optim.Adagrad,
        "rmsprop": optim.RMSprop,
        "lamb": optim.LAMB,
    }
    return jobs_of_training(model, shape, args.batch_size or 128, classes[args.optimizer or "sgd"])


def _describe(home: Any) -> str:
    if home.ordinal is None:
        return str(home)
    from gpunn import cuda

    major, minor = cuda.get_device_capability(home)
    return f"{home} ({cuda.get_device_name(home)}, compute capability {major}.{minor})"


def _stopping() -> None:
    print("gpunn: stopping, as soon as those that have begun are done", file=sys.stderr)


def _complain(outcome: Any) -> int:
    """Failures on standard error; the exit status."""
    for job, error in outcome.failures[:_LISTED]:
        print(f"gpunn: error: {job}: {' '.join(str(error).split())}", file=sys.stderr)
    if len(outcome.failures) > _LISTED:
        print(f"gpunn: error: and {len(outcome.failures) - _LISTED} more", file=sys.stderr)
    if outcome.died is not None:
        print(
            f"gpunn: error: a process that compiled died ({outcome.died}); {outcome.left} specialisations are left. If "
            "memory was short, give --processes a smaller number.",
            file=sys.stderr,
        )
    return int(bool(outcome.failures) or outcome.died is not None)


@contextmanager
def _progress(jobs: int) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal, elsewhere a line after each quarter."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from rich import progress

        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn())
        with progress.Progress(*columns, transient=True) as bar:
            task = bar.add_task("compiling", total=jobs)
            yield lambda outcome: bar.update(task, completed=outcome.done + len(outcome.failures))
        return
    quarters = {-(-jobs * quarter // 4) for quarter in range(1, 4)}

    def line(outcome: Any) -> None:
        over = outcome.done + len(outcome.failures)
        if over in quarters:
            print(f"  {over} of {jobs}", flush=True)

    yield line
