"""Every kernel that the benchmark's cases do not launch, on large tensors, launch by launch."""

from __future__ import annotations

import argparse
import functools
import importlib
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks._report.book import Section
from benchmarks._report.launches import grouped, launch_row, time_launch
from benchmarks._report.sweep_ops import Op, Sizes, ops
from benchmarks._report.work import Ceilings, ceilings, random_array
from gpunn.bench.case import tensors, torch_tensors
from gpunn.bench.graphs import torch_or_none
from gpunn.bench.sides import CallSide, TorchClock
from gpunn.gpu.launcher import Launch, trace_launches

_SAMPLES = 5


def run(section: Section, options: argparse.Namespace) -> None:
    """All ops, those of layers first."""
    from gpunn._device import device

    if options.quick:
        section.cut("all of it: --quick")
        return
    target = device(options.device)
    torch = torch_or_none()
    section.value("how", "forward and backward; PyTorch: eager, its GPU time for the same, NHWC; MB: of all arrays")
    ceiling = ceilings(section, target)
    left_out = []
    for op in ops(Sizes()):
        if section.expired:
            if section.start(op.name):
                left_out.append(op.name)
                section.row("ops", op=op.name, note=section.why)
        else:
            section.attempt(op.name, functools.partial(_time, section, op, target, torch, ceiling), target.synchronize)
            target.xp.get_default_memory_pool().free_all_blocks()
    if left_out:
        section.cut(f"{'; '.join(left_out)}: {section.why}")


def _time(section: Section, op: Op, target: Any, torch: Any, ceiling: Ceilings) -> None:
    groups = grouped(launches_of(op, target))
    total = 0.0
    for group in groups:
        time = time_launch(target, group.launch)
        total += group.count * time.timing.median
        section.row("launches", op=op.name, **launch_row(group, time, ceiling))
    row: dict[str, Any] = {"op": op.name, "launches": sum(group.count for group in groups), "µs, all launches": total}
    del groups
    target.xp.get_default_memory_pool().free_all_blocks()
    if torch is not None and op.torch:
        try:
            theirs = _torch_us(op, target, torch)
            row |= {"PyTorch eager µs": theirs, "ratio": theirs / total if total else None}
        except Exception as error:  # ours was timed all the same
            row["note"] = f"not compared: {type(error).__name__}: {str(error)[:120]}"
            section.probe(f"{op.name}: PyTorch's side")
    section.row("ops", **row)


def launches_of(op: Op, target: Any) -> list[Launch]:
    """Those of the op and its gradients, in its second run: the first makes what is made once."""
    gpunn = importlib.import_module("gpunn")
    arrays = op.arrays(target)
    given = tensors(target, arrays, *op.leaves)
    for _ in range(2):
        with trace_launches() as launches:
            y = op.call(gpunn, given)
            if op.leaves:
                y.backward(_gradient(y, target))
                for name in op.leaves:
                    given[name].grad = None
        target.synchronize()
    return launches


def _gradient(y: Any, target: Any) -> Any:
    dy = random_array(target, y._physical.shape, 7)
    return tensors(target, {"dy": dy.astype(y._physical.dtype)})["dy"]


def _torch_us(op: Op, target: Any, torch: Any) -> float:
    """PyTorch's time for the same; its kernels are long enough that launching them costs nothing more."""
    given = torch_tensors(torch, op.arrays(target), True, *op.leaves)
    wanted = [given[name] for name in op.leaves]
    y = op.call(torch, given)
    dy = torch.randn_like(y) if wanted else None

    def once() -> None:
        y = op.call(torch, given)
        if wanted:
            torch.autograd.grad(y, wanted, dy)

    run: Callable[[], Any] = once
    side = CallSide(run, TorchClock(torch))
    for _ in range(_SAMPLES):
        side.sample()
    return 1e3 * statistics.median(side.samples)
