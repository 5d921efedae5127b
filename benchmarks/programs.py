"""``python -m benchmarks.programs``: forward and backward of PyTorch programs with both libraries, in CPU seconds.

Each program of ``tests/programs`` runs as it is written and with gpunn in its import lines, in a process of its own
with one thread, on the same batch of 8. The two processes take turns, one step each. Shown are the least CPU time of a
step, and the peak of resident memory above what the process had before it built the network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("MKL", "OMP", "OPENBLAS")}

# what is printed -> the file in tests/programs, and arguments of its build()
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "LeNet": ("lenet", {}),
    "AlexNet": ("alexnet", {}),
    "VGG11": ("vgg", {}),
    "GoogLeNet": ("googlenet", {}),
    "DenseNet-121": ("densenet", {}),
    "MobileNetV2": ("mobilenetv2", {}),
    "ShuffleNetV2": ("shufflenetv2", {}),
    "EfficientNet-B0": ("efficientnet", {}),
    "ResNet-18": ("resnet", {}),
    "ResNet-50": ("resnet", {"depth": 50}),
    "ResNeXt-50": ("resnext", {}),
    "SENet-18": ("senet", {}),
    "SqueezeNet": ("squeezenet", {}),
    "ViT": ("plain_vit", {}),
    "GPT": ("nanogpt", {}),
}


@dataclass(frozen=True)
class Result:
    """One network: the least CPU seconds of a step and the peak in MB, ours and PyTorch's."""

    network: str
    seconds: float
    torch_seconds: float
    megabytes: float
    torch_megabytes: float

    @property
    def time_ratio(self) -> float:
        return self.seconds / self.torch_seconds

    @property
    def memory_ratio(self) -> float:
        return self.megabytes / self.torch_megabytes


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table as it grows, and its geometric means."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAMES", help="such as VGG11,GPT (default: all)")
    parser.add_argument(
        "--rounds", type=int, default=7, help="steps of each that count, after two that do not (default 7)"
    )
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--worker", nargs=2, metavar=("NETWORK", "LIBRARY"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return work(*options.worker)
    names = options.only.split(",") if options.only else list(NETWORKS)
    unknown = [name for name in names if name not in NETWORKS]
    if unknown or options.rounds < 1:
        parser.error(
            f"--only: expected names out of {', '.join(NETWORKS)}, and --rounds at least 1; got {options.only!r}"
        )
    results = []
    if not options.json:
        print(f"{'':16} {'ours':>9} {'PyTorch':>9} {'ratio':>6}   {'ours':>7} {'PyTorch':>7} {'ratio':>6}")
    for name in names:
        result = compare(name, options.rounds)
        results.append(result)
        print(json.dumps(asdict(result)) if options.json else line(result), flush=True)
    if not options.json:
        times, memory = (geometric_mean([getattr(r, key) for r in results]) for key in ("time_ratio", "memory_ratio"))
        print(f"{'geometric mean':16} {'':9} {'':9} {times:6.2f}   {'':7} {'':7} {memory:6.2f}")
    return 0


def compare(name: str, rounds: int) -> Result:
    """Both libraries' steps of one network, taking turns."""
    with worker(name, "gpunn") as ours, worker(name, "torch") as theirs:
        times = [(ask(ours, "step"), ask(theirs, "step")) for _ in range(rounds + 2)][2:]
        mine, others = (min(column) for column in zip(*times, strict=True))
        return Result(name, mine, others, ask(ours, "peak"), ask(theirs, "peak"))


def line(result: Result) -> str:
    """A row of the table: CPU milliseconds, then megabytes."""
    times = f"{result.seconds * 1e3:6.1f} ms {result.torch_seconds * 1e3:6.1f} ms {result.time_ratio:6.2f}"
    memory = f"{result.megabytes:4.0f} MB {result.torch_megabytes:4.0f} MB {result.memory_ratio:6.2f}"
    return f"{result.network:16} {times}   {memory}"


def geometric_mean(ratios: list[float]) -> float:
    """The mean of ratios in which a half and a double are nothing."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


@contextlib.contextmanager
def worker(name: str, library: str) -> Iterator[subprocess.Popen[str]]:
    """A process that makes a step, or tells its peak, for each line it is given."""
    command = [sys.executable, "-m", "benchmarks.programs", "--worker", name, library]
    places = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": places}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT, env=environment
    )
    with process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()


def ask(process: subprocess.Popen[str], what: str) -> float:
    """What the worker answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{' '.join(map(str, process.args[3:]))}: ended; its own message is above")  # type: ignore[index]
    return float(answer)


def work(name: str, library: str) -> int:
    """The worker: answers ``step`` with CPU seconds and ``peak`` with megabytes."""
    import numpy as np

    from tests.programs._with_gpunn import program

    file, arguments = NETWORKS[name]
    made = program(file, ours=library == "gpunn")
    lib = sys.modules[library]
    lib.set_num_threads(1)
    lib.manual_seed(0)
    arrays = made.batch(np.random.Generator(np.random.Philox(7)))
    before = _memory("VmRSS")
    _forget_the_peak()
    net = made.build(**arguments).train()
    batch = [lib.tensor(a.astype(np.float32) if a.dtype.kind == "f" else a) for a in arrays]
    for asked in sys.stdin:
        if asked == "peak\n":
            print(_memory("VmHWM") - before, flush=True)
            continue
        start = time.process_time()
        net.zero_grad()
        loss, _ = made.loss(net, *batch)
        loss.backward()
        print(time.process_time() - start, flush=True)
        del loss, _
    return 0


def _memory(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` (its peak) of this process, in MB."""
    for row in Path("/proc/self/status").read_text().splitlines():
        if row.startswith(f"{field}:"):
            return int(row.split()[1]) / 1024
    raise RuntimeError(f"benchmarks.programs: /proc/self/status has no {field}; run this on Linux")


def _forget_the_peak() -> None:
    """Imports have peaks of their own."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.exit(main())
