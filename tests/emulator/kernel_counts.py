"""What the main kernels ask of memory at customary sizes: ``python -m tests.emulator.kernel_counts`` lists it.

The cases of ``test_kernel_counts.py``.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import gpunn
from gpunn import nn, optim
from gpunn._device import Device
from gpunn.emulator import KernelCount, counting
from gpunn.gpu.choices import tuned_by
from gpunn.gpu.emulated import EmulatorLoader
from tests.winograd import ByWinograd


@functools.cache
def device() -> Device:
    """An emulator that compiles only what counts."""
    return Device("emulator", np, EmulatorLoader(counting=True))


def _normal(shape: tuple[int, ...]) -> gpunn.Tensor:
    numbers = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return gpunn.tensor(numbers, device=device(), requires_grad=True)


def _layer(make: Callable[[], Any], *shape: int) -> Callable[[], None]:
    """Forward and backward of a layer on an input of this shape."""

    def run() -> None:
        y = make().to(device())(_normal(shape))
        y.backward(_normal(y.shape).detach())

    return run


def _cross_entropy() -> None:
    labels = gpunn.tensor(np.arange(64, dtype=np.int64), device=device())
    nn.CrossEntropyLoss()(_normal((64, 128)), labels).backward()


def _attention() -> None:
    q, k, v = (_normal((2, 128, 64)) for _ in range(3))
    y = nn.functional.scaled_dot_product_attention(q, k, v)
    y.backward(_normal(y.shape).detach())


def _update(make: Callable[[Iterable[Any]], Any]) -> Callable[[], None]:
    def run() -> None:
        layer = nn.Linear(128, 96).to(device())
        for p in layer.parameters():
            p.grad = _normal(p.shape).detach()
        make(layer.parameters()).step()

    return run


def _by_winograd(run: Callable[[], None]) -> Callable[[], None]:
    """The same where Winograd's algorithm is taken, which a rule leaves to larger convolutions."""

    def run_so() -> None:
        with tuned_by(ByWinograd()):
            run()

    return run_so


CASES: dict[str, Callable[[], Any]] = {
    "Conv2d(64, 64, 3)": _layer(lambda: nn.Conv2d(64, 64, 3, padding=1), 1, 64, 16, 16),
    "Conv2d(64, 64, 3) by Winograd": _by_winograd(_layer(lambda: nn.Conv2d(64, 64, 3, padding=1), 1, 64, 16, 16)),
    "Conv2d(64, 64, 1)": _layer(lambda: nn.Conv2d(64, 64, 1), 2, 64, 16, 16),
    "Conv2d(3, 32, 3)": _layer(lambda: nn.Conv2d(3, 32, 3, padding=1), 1, 3, 32, 32),
    "Conv2d(64, 64, 3, groups=64)": _layer(lambda: nn.Conv2d(64, 64, 3, padding=1, groups=64), 2, 64, 16, 16),
    "Conv2d(64, 64, 3, groups=16)": _layer(lambda: nn.Conv2d(64, 64, 3, padding=1, groups=16), 2, 64, 16, 16),
    "Conv2d(64, 64, 5, groups=64)": _layer(lambda: nn.Conv2d(64, 64, 5, padding=2, groups=64), 2, 64, 16, 16),
    "Linear(512, 128)": _layer(lambda: nn.Linear(512, 128), 64, 512),
    "bmm": lambda: gpunn.bmm(_normal((4, 64, 64)), _normal((4, 64, 64))).backward(_normal((4, 64, 64)).detach()),
    "attention": _attention,
    "BatchNorm2d(64)": _layer(lambda: nn.BatchNorm2d(64), 4, 64, 16, 16),
    "GroupNorm(8, 64)": _layer(lambda: nn.GroupNorm(8, 64), 2, 64, 32, 32),
    "LayerNorm(256)": _layer(lambda: nn.LayerNorm(256), 64, 256),
    "ReLU": _layer(nn.ReLU, 64, 256),
    "GELU": _layer(nn.GELU, 64, 256),
    "Dropout": _layer(lambda: nn.Dropout(0.5), 64, 256),
    "MaxPool2d(2)": _layer(lambda: nn.MaxPool2d(2), 4, 64, 16, 16),
    "MaxPool2d(3, 2, 1)": _layer(lambda: nn.MaxPool2d(3, 2, 1), 4, 64, 16, 16),
    "MaxPool2d(3)": _layer(lambda: nn.MaxPool2d(3), 4, 64, 15, 15),
    "AvgPool2d(2)": _layer(lambda: nn.AvgPool2d(2), 4, 64, 16, 16),
    "Softmax": _layer(lambda: nn.Softmax(1), 64, 256),
    "CrossEntropyLoss": _cross_entropy,
    "SGD": _update(lambda p: optim.SGD(p, lr=0.1, momentum=0.9)),
    "Adam": _update(lambda p: optim.Adam(p, lr=0.1)),
    "transpose": lambda: gpunn.transpose(_normal((64, 96)).detach(), 0, 1).contiguous(),
}


def measure(case: str) -> dict[str, KernelCount]:
    """Run a case and count; by kernel."""
    with counting() as counts:
        CASES[case]()
    return counts.kernels


def main() -> int:
    """Print a table of all cases, or of those named."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulator.kernel_counts", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="such as 'Linear(512, 128)' (default: all)")
    parser.add_argument("--lines", action="store_true", help="the lines that waste most, too")
    options = parser.parse_args()
    unknown = [case for case in options.cases if case not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; expected one of {', '.join(map(repr, CASES))}")
    print("| case | kernel | sectors of ideal | bank conflicts | branches that diverge |\n|---|---|---|---|---|")
    for case in options.cases or CASES:
        for kernel, found in measure(case).items():
            sectors, passes, branches = found.sector_efficiency, found.shared_memory, found.branches
            share = f"{passes.wasted / passes.least:.1%}" if passes.least else "-"
            apart = f"{branches.asked / branches.executions:.1%}" if branches.executions else "-"
            ideal = "-" if sectors is None else f"{sectors:.1%}"
            print(f"| `{case}` | {kernel} | {ideal} | {share} | {apart} |", flush=True)
            if options.lines:
                for line in found.worst():
                    print(f"    {line.file}:{line.line} {line.kind} {line.array}: {line.asked} for {line.least}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
