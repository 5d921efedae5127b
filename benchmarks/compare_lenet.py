"""The lecture LeNet's training step on the CPU: gpunn against PyTorch, eager and channels-last.

``python -m benchmarks.compare_lenet [--batch 128] [--threads 2] [--steps N]`` first sees that all sides come
to the same losses, then times them in turn in one process, so that the ratio holds when the machine drifts.
Peak memory is measured in processes of their own. ``--layers`` also shows where gpunn's time goes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# NumPy and both libraries are imported late: this process must be small when it starts the processes
# whose memory is measured, because a child's ru_maxrss is at least what its parent's memory was.

RECORD = Path(__file__).parent / "results" / "compare_lenet.jsonl"
_ROOT = Path(__file__).parent.parent
_SIDES = ("gpunn", "torch", "torch-channels-last")
_CHECKED_STEPS = 5
# Both sides add a few thousand products in float32 in different orders, and five updates carry it on.
_LOSS_TOLERANCE = 1e-4
_MEMORY_STEPS = 5
# PyTorch's threads wait for each other at the end of every loop, so one core that is taken away for a while
# stops both: with two busy neighbours its step took five times as long, and ours hardly longer.
_DISTURBED = 0.05


def main(arguments: list[str] | None = None) -> int:
    """Compare; 1 if the losses differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare_lenet", description=__doc__)
    parser.add_argument("--batch", type=int, default=128, metavar="N", help="images a step (default 128)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="for each side (default 2)")
    parser.add_argument("--steps", type=int, default=30, metavar="N", help="timed steps of each side (default 30)")
    parser.add_argument("--layers", action="store_true", help="also time each of gpunn's primitives")
    parser.add_argument("--record", action="store_true", help=f"append the result to {RECORD.name}")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory measurement out")
    parser.add_argument("--peak-of", choices=_SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.peak_of:
        print(json.dumps(_peak_memory(options.peak_of, options.batch, options.threads)))
        return 0
    memory = {} if options.no_memory else {side: _ask_for_peak(side, options) for side in _SIDES}
    steps = {side: _make(side, options.batch, options.threads) for side in _SIDES}
    losses = {side: [step() for _ in range(_CHECKED_STEPS)] for side, step in steps.items()}
    worst = max(
        abs(ours - theirs) / max(abs(theirs), 1e-6)
        for side in _SIDES[1:]
        for ours, theirs in zip(losses["gpunn"], losses[side], strict=True)
    )
    print(f"losses of {_CHECKED_STEPS} steps: " + ", ".join(f"{loss:.5f}" for loss in losses["gpunn"]))
    print(f"largest relative difference from PyTorch's: {worst:.1e} (allowed {_LOSS_TOLERANCE:.0e})")
    if not worst <= _LOSS_TOLERANCE:
        print("FAILED: the sides do not compute the same; nothing was timed")
        return 1
    before = _processor_seconds()
    times = _interleaved(steps, options.steps)
    others = _share_of_others(before, _processor_seconds())
    result = _result(options, times, memory, worst, others)
    _show(result)
    if options.layers:
        _show_layers(steps["gpunn"])
    if options.record and others is not None and others > _DISTURBED:
        print("NOT recorded: run it again when nothing else does")
        return 1
    if options.record:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        with RECORD.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(f"appended to {RECORD}")
    return 0


# -- the sides ------------------------------------------------------------------------------------


def _make(side: str, size: int, threads: int) -> Callable[[], float]:
    """A function that does one step on the next of a few batches and returns the loss."""
    from benchmarks import lenet

    weights, data = lenet.initial_weights(), lenet.batches(size, 4)
    if side == "gpunn":
        from threadpoolctl import threadpool_limits

        from gpunn._device import device
        from gpunn.threads import set_num_threads

        threadpool_limits(limits=threads, user_api="blas")
        set_num_threads(threads)
        _, step = lenet.gpunn_step(weights, device("cpu"))
        ready = [lenet.gpunn_batch(batch, device("cpu")) for batch in data]
    else:
        import torch

        torch.set_num_threads(threads)
        last = side == "torch-channels-last"
        _, step = lenet.torch_step(weights, channels_last=last)
        ready = [lenet.torch_batch(batch, channels_last=last) for batch in data]
    turn = iter(range(1 << 62))
    return lambda: float(step(*ready[next(turn) % len(ready)]).item())


def _interleaved(steps: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Seconds of ``count`` steps of each side, in turns of three."""
    times: dict[str, list[float]] = {side: [] for side in steps}
    while len(times[_SIDES[-1]]) < count:
        for side, step in steps.items():
            # One step untimed: the other library's threads spin for a while before they sleep.
            step()
            for _ in range(min(3, count - len(times[side]))):
                start = time.perf_counter()
                step()
                times[side].append(time.perf_counter() - start)
    return times


def _peak_memory(side: str, size: int, threads: int) -> dict[str, float]:
    step = _make(side, size, threads)
    for _ in range(_MEMORY_STEPS):
        step()
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts kilobytes
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}


def _ask_for_peak(side: str, options: argparse.Namespace) -> float:
    command = [sys.executable, "-m", "benchmarks.compare_lenet", "--peak-of", side]
    command += ["--batch", str(options.batch), "--threads", str(options.threads)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout)["peak_mb"])


# -- whether anybody else was at work -------------------------------------------------------------


def _processor_seconds() -> tuple[float, float, float] | None:
    """(wall, all processes', this process's) seconds of processor time; None where Linux does not tell."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n")[0].split()[1:9])
    everybody = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), everybody, time.process_time()


def _share_of_others(before: tuple[float, ...] | None, after: tuple[float, ...] | None) -> float | None:
    """What other processes took of the machine's processor time in between, from 0 to 1."""
    if before is None or after is None:
        return None
    wall, everybody, own = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, everybody - own) / (wall * (os.cpu_count() or 1))


# -- what comes out -------------------------------------------------------------------------------


def _result(
    options: argparse.Namespace,
    times: dict[str, list[float]],
    memory: dict[str, float],
    difference: float,
    others: float | None,
) -> dict[str, Any]:
    """The line that is recorded."""
    import numpy
    import torch

    from benchmarks import lenet

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    sides = {}
    for side, seconds in times.items():
        low, median, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
        sides[side] = {
            "ms": 1e3 * median,
            "ms_quartiles": [1e3 * low, 1e3 * high],
            "ms_least": 1e3 * min(seconds),
            "gflops": lenet.step_flop(options.batch) / median / 1e9,
            "peak_mb": memory.get(side),
        }
    return {
        "case": "lenet5 training step",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "batch": options.batch,
        "dtype": "float32",
        "device": "cpu",
        "threads": options.threads,
        "steps": options.steps,
        "machine": platform.platform(),
        "processor": _processor(),
        "versions": {
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "torch": torch.__version__,
        },
        "commit": commit.stdout.strip() or None,
        "loss_difference": difference,
        "others_share_of_cpu": others,
        "sides": sides,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _show(result: dict[str, Any]) -> None:
    ours = result["sides"]["gpunn"]
    print(f"\nLeNet step, batch {result['batch']}, {result['threads']} threads, float32, {result['processor']}")
    others = result["others_share_of_cpu"]
    if others is not None and others > _DISTURBED:
        print(f"Other processes took {others:.0%} of the machine meanwhile: do not trust the times.")
    columns = f"{'ms':>8}{'quartiles':>16}{'least':>8}{'GFLOP/s':>9}"
    print(f"{'':22}{columns}{'gpunn is':>10}{'peak MB':>9}{'gpunn is':>10}")
    for side, row in result["sides"].items():
        low, high = row["ms_quartiles"]
        quartiles = f"{low:.1f}-{high:.1f}"
        text = f"{side:22}{row['ms']:8.1f}{quartiles:>16}{row['ms_least']:8.1f}{row['gflops']:9.1f}"
        text += f"{ours['ms'] / row['ms']:9.2f}x"
        if row["peak_mb"]:
            text += f"{row['peak_mb']:9.0f}{ours['peak_mb'] / row['peak_mb']:9.2f}x"
        print(text)


@contextmanager
def _timed_primitives() -> Iterator[dict[str, list[float]]]:
    """Collect the seconds of every call of every primitive, inclusive of primitives it calls."""
    from gpunn.primitive import Primitive

    seconds: dict[str, list[float]] = {}
    call = Primitive.__call__

    def timed(self: Primitive, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(self, *args, **kwargs)
        finally:
            seconds.setdefault(self.name, []).append(time.perf_counter() - start)

    Primitive.__call__ = timed
    try:
        yield seconds
    finally:
        Primitive.__call__ = call


def _show_layers(step: Callable[[], float], steps: int = 10) -> None:
    step()
    with _timed_primitives() as seconds:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        total = time.perf_counter() - start
    print(f"\n{'primitive (gpunn)':32}{'calls/step':>11}{'ms/step':>9}{'share':>8}   ms of each call in a step")
    for name, all_calls in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        calls = len(all_calls) // steps
        # The k-th call of every step is the same layer's: its median.
        each = [1e3 * statistics.median(all_calls[k::calls]) for k in range(calls)] if calls else []
        spent = sum(all_calls)
        print(
            f"{name:32}{calls:11}{1e3 * spent / steps:9.2f}{spent / total:8.1%}   "
            + " ".join(f"{ms:.2f}" for ms in each)
        )
    rest = total - sum(map(sum, seconds.values()))
    print(f"{'everything else':32}{'':11}{1e3 * rest / steps:9.2f}{rest / total:8.1%}")


if __name__ == "__main__":
    sys.exit(main())
