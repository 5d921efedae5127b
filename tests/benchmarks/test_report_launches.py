"""The device report's launches, one by one: of training steps, and of the sweep over all other kernels."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks._report import launches, networks, sweep
from benchmarks._report.book import Section
from benchmarks._report.networks import Step
from benchmarks._report.sweep_ops import SMALL, Op, Sizes, ops
from gpunn._device import Device, device
from gpunn._warmup import sources
from gpunn.bench import networks as bench_networks
from gpunn.bench import ops as bench_ops
from gpunn.bench.case import tensors, torch_tensors
from gpunn.bench.cases import all_cases
from gpunn.bench.work import bytes_of, flop_of
from gpunn.gpu.launcher import Launch, trace_launches
from gpunn.gpu.signatures import parse_signatures
from tests.traces import dry_launches

OPTIONS = Namespace(device="cuda", quick=False)
TINY = Step(bench_networks.lenet((2, 3), 8), 2)


# -- launches -------------------------------------------------------------------------------------


@pytest.mark.emulator
def test_a_steps_launches_are_measured_one_by_one(
    gpu: Device, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches, "STEPS", (TINY,))
    launches.run(section, OPTIONS)
    assert section.data["failures"] == []
    rows = section.data["tables"][f"launches of {TINY.title}"]
    assert sum(row["launches"] for row in rows) == section.data["values"][f"{TINY.title}: launches"]
    shares = [row["share of step"] for row in rows]
    assert shares == sorted(shares, reverse=True)
    together = section.data["values"][f"{TINY.title}: all its launches by themselves, µs"]
    assert together == pytest.approx(sum(row["launches"] * row["µs"] for row in rows))


def _traced(step: Step, target: Device) -> list[Launch]:
    once = networks.gpunn_step(step, target)
    batch = networks.gpunn_batch(step.batches(1)[0], target)
    with dry_launches() as made:
        once(*batch)
    return made


@pytest.mark.emulator
@pytest.mark.parametrize("batch", [1, 4])
def test_flop_of_launches_add_up_to_those_of_the_step(emulator: Device, batch: int) -> None:
    for network in (bench_networks.lenet(), bench_networks.mlp(), bench_networks.resnet_cifar(8, "A", 16)):
        made = _traced(Step(network, batch), emulator)
        assert sum(map(flop_of, made)) == network.step_flop(batch)


@pytest.mark.emulator
def test_flop_of_products_that_no_step_has(emulator: Device) -> None:
    named = {op.name: op for op in ops(SMALL)}
    s = SMALL
    for name, flop in (
        ("matmul", 3 * 2.0 * s.product**3),
        ("bmm", 3 * 2.0 * 32 * 4**3),
        ("locally_connected2d", 3 * 2.0 * s.batch * (s.side - 2) ** 2 * s.channels**2 * 9),
    ):
        assert sum(map(flop_of, sweep.launches_of(named[name], emulator))) == flop
    (case, *_) = bench_ops.convolution("grouped", 2, 8, 6, 8, 3, groups=4)
    run = case.ours(emulator, case.arrays(emulator))
    with trace_launches() as made:
        run()
    assert sum(map(flop_of, made)) == case.flop


@pytest.mark.emulator
def test_bytes_of_a_launch_count_each_array_once_and_twice_if_it_is_changed(emulator: Device) -> None:
    named = {op.name: op for op in ops(SMALL)}
    size = 4.0 * SMALL.rows * SMALL.columns
    (forward, backward) = sweep.launches_of(named["elu"], emulator)
    assert bytes_of(forward) == 2 * size
    assert bytes_of(backward) == 3 * size
    (added,) = sweep.launches_of(named["x += y"], emulator)
    assert bytes_of(added) == 3 * size
    (update,) = [launch for launch in _traced(TINY, emulator) if launch.kernel == "sgd_step"]
    parameters = 4.0 * TINY.network.parameters
    assert bytes_of(update) >= 5 * parameters
    assert bytes_of(update) < 5 * parameters + 100  # and a few words


def test_launches_that_are_the_same_are_grouped(emulator: Device) -> None:
    made = _traced(Step(bench_networks.resnet_cifar(8, "A", 16), 2), emulator)
    groups = launches.grouped(made)
    assert sum(group.count for group in groups) == len(made)
    assert len(groups) < len(made)
    assert sum(g.count * bytes_of(g.launch) for g in groups) == sum(map(bytes_of, made))


# -- the sweep ------------------------------------------------------------------------------------

# What only tensors that are too large for the emulator reach is recorded and not run, with sizes between the two.
MIDDLE = Sizes(3000, 64, 8, 64, 8, 256, 1000)
_READS_BACK = ("masked_select",)  # so it cannot be recorded alone
# No op calls the first one's primitive; the second copies a captured step's inputs; the last two need other processes.
_UNUSED = {"scale_by_scalar", "copy_arrays", "sync_batch_norm_pack", "sync_batch_norm_combine"}


@pytest.mark.emulator
def test_every_kernel_is_timed_by_a_case_or_the_sweep(emulator: Device) -> None:
    seen = {launch.kernel for op in ops(SMALL) for launch in sweep.launches_of(op, emulator)}
    for case in all_cases("tiny"):
        if case.group != "data":
            run = (case.eager or case.ours)(emulator, case.arrays(emulator))
            with trace_launches() as made:
                run()
            seen |= {launch.kernel for launch in made}
    for op in ops(MIDDLE):
        if op.name not in _READS_BACK:
            with dry_launches():
                seen |= {launch.kernel for launch in sweep.launches_of(op, emulator)}
    declared = {
        kernel
        for source in sources().values()
        for macros in source.specialisations()
        for kernel in parse_signatures(source.text, macros)
    }
    assert declared - seen == _UNUSED


@pytest.mark.emulator
def test_the_sweep_times_launches_and_compares(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("silu", "absolute_relu", "Adam")
    monkeypatch.setattr(sweep, "ops", lambda sizes: [op for op in ops(SMALL) if op.name in chosen])
    sweep.run(section, OPTIONS)
    assert section.data["failures"] == []
    rows = {row["op"]: row for row in section.data["tables"]["ops"]}
    assert rows["silu"]["ratio"] > 0
    assert "ratio" not in rows["absolute_relu"]
    assert rows["Adam"]["PyTorch eager µs"] > 0
    kernels_of = [row["kernel"] for row in section.data["tables"]["launches"] if row["op"] == "silu"]
    assert kernels_of == ["silu_forward", "silu_backward"]


def _shared_ops() -> Iterator[Op]:
    return (op for op in ops(SMALL) if op.torch)


@pytest.mark.parametrize("name", [op.name for op in _shared_ops()])
def test_pytorch_has_the_op_by_the_same_name(name: str) -> None:
    torch = pytest.importorskip("torch")
    op = next(op for op in _shared_ops() if op.name == name)
    host = device("cpu")
    ours = tensors(host, op.arrays(host), *op.leaves)
    theirs = torch_tensors(torch, op.arrays(host), True, *op.leaves)
    import gpunn

    y, want = op.call(gpunn, ours), op.call(torch, theirs)
    if y is None or op.name.startswith("dropout"):  # works in place, or draws at random
        return
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-4, atol=1e-5)  # other orders of sums
