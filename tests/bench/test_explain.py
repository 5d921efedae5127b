"""Which kernels a network launches, whose they are, and what is counted of them."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._warmup import sources
from gpunn.bench import resources
from gpunn.bench.cards import CARDS
from gpunn.bench.explain import LayerLaunch, count, launches_of, list_launches
from gpunn.bench.work import bytes_of, flop_of
from gpunn.emulator import available
from gpunn.errors import UsageError
from gpunn.gpu.launcher import KernelSource, kernel_folder
from gpunn.gpu.signatures import parse_signatures
from gpunn.models import LeNet5, ResNetCifar

H100 = CARDS["H100"]
WHOLE = {"check_index", "sort_chunks", "merge_runs"}  # of an embedding: they write the numbers that others index with
emulator = pytest.mark.skipif(available() is not None, reason=str(available()))


def listed(model: Any, shape: tuple[int, ...] = (1, 28, 28), batch: int = 4) -> list[LayerLaunch]:
    return list_launches(model, shape, batch)


def test_launches_are_those_of_a_step_and_have_their_layers() -> None:
    found = [(one.layer, one.phase, one.kernel) for one in listed(LeNet5())]
    assert found == [
        ("conv1", "forward", "conv2d_first_forward"),
        ("conv1", "forward", "max_pool2d_forward"),
        ("conv2", "forward", "conv2d_forward"),
        ("conv2", "forward", "max_pool2d_forward"),
        ("fc1", "forward", "gemm_nt"),
        ("fc2", "forward", "gemm_nt"),
        ("(loss)", "forward", "cross_entropy_forward"),
        ("fc2", "backward", "gemm_backward"),
        ("fc1", "backward", "gemm_backward"),
        ("conv2", "backward", "max_pool2d_backward"),
        ("conv2", "backward", "conv2d_backward"),
        ("conv1", "backward", "max_pool2d_backward_pairs"),
        ("conv1", "backward", "conv2d_first_backward_weight"),
    ]


@pytest.mark.emulator
@emulator
def test_launches_are_those_that_the_emulator_makes() -> None:
    from gpunn.gpu.launcher import trace_launches

    model = ResNetCifar(8, "A", 3, 10).to("emulator")
    x = gpunn.tensor(np.zeros((2, 3, 16, 16), np.float32), device="emulator")
    labels = gpunn.tensor(np.zeros(2, np.int64), device="emulator")
    with trace_launches() as made:
        nn.CrossEntropyLoss()(model(x), labels).backward()
    expected = [(one.kernel, one.grid, one.block, one.shared, bytes_of(one), flop_of(one)) for one in made]
    found = []
    for one in listed(ResNetCifar(8, "A", 3, 10), (3, 16, 16), 2):
        found += [(one.kernel, one.grid, one.block, one.shared, one.traffic, one.flop)] * one.times
    assert sorted(found) == sorted(expected)


def test_nothing_keeps_the_arrays_of_a_listing() -> None:
    arrays = [
        weakref.ref(arg)
        for one in listed(LeNet5())
        for arg in (*one.args, *(array for array, _, _ in one.pointees))
        if isinstance(arg, np.ndarray) and arg.base is None
    ]
    gc.collect()
    assert len(arrays) > 10
    # The device's own counters of split sums, and where errors are reported, are whole numbers; the seed of 1 is small.
    alive = [array() for array in arrays]
    assert [a.shape for a in alive if a is not None and a.dtype.kind == "f" and a.size > 1] == []


def test_equal_launches_of_a_layer_are_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
            return self.fc(self.fc(x))

    found = listed(Twice(), (8,))
    forward = [(one.kernel, one.times) for one in found if one.phase == "forward" and one.layer == "fc"]
    assert forward == [("gemm_nt", 2)]
    # The weight is used twice, so its gradients meet, outside any layer.
    assert {one.kernel for one in found if one.layer == "(gradients)"} == {"accumulate"}


def test_work_of_a_launch() -> None:
    (forward, *_) = listed(nn.Sequential(nn.Linear(784, 100)), (784,), 32)
    assert forward.flop == 2 * 32 * 784 * 100
    assert forward.traffic == 4 * (32 * 784 + 784 * 100 + 100 + 32 * 100) + _partial(forward)
    assert forward.least_us(H100) == H100.least_us(forward.flop, forward.traffic)


def _partial(one: LayerLaunch) -> int:
    """What a split reduction leaves and its tickets."""
    given = {p.name: a for p, a in zip(one.parameters, one.args, strict=True)}
    partial, tickets = given["partial"], given["tickets"]
    return (0 if partial is None else partial.nbytes) + (0 if tickets is None else 2 * tickets.nbytes)


def test_layers_inside_belong_to_a_layer() -> None:
    model = ResNetCifar(8, "A", 3, 10)
    names = [name for name, _ in model.named_modules()]
    found = listed(model, (3, 16, 16))
    inside = {one.layer for one in launches_of(found, "layer2.0", names)}
    assert inside >= {"layer2.0.conv1", "layer2.0.bn1"}
    assert all(layer.startswith("layer2.0") for layer in inside)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("conv3", "there is no layer 'conv3'; expected one of conv1, relu1, pool1, .*did you mean 'conv"),
        ("", "there is no layer ''"),
        ("relu1", "layer 'relu1' launches no kernel of its own: .* These do: conv1, conv2, fc1, fc2."),
    ],
)
def test_layers_that_launch_nothing_are_refused(layer: str, message: str) -> None:
    model = LeNet5()
    names = [name for name, _ in model.named_modules() if name]
    with pytest.raises(UsageError, match=message) as error:
        launches_of(listed(model), layer, names)
    assert len(str(error.value)) < 500


def test_a_network_of_several_outputs_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: gpunn.Tensor) -> Any:
            return x, x

    with pytest.raises(UsageError, match="expected a network that returns one tensor; got tuple"):
        listed(Pair(), (8,))


def test_every_kernel_is_found_in_its_file() -> None:
    for file, source in sources().items():
        for kernel in parse_signatures(source.text, source.specialisations()[0]):
            at, line = resources.kernel_line(file, kernel)
            text = (kernel_folder() / at).read_text(encoding="utf-8").splitlines()
            assert f"{kernel}(" in text[line - 1], (file, kernel, at, line)
            assert any("__global__" in before for before in text[max(0, line - 2) : line]), (file, kernel)


def test_resources_are_those_of_the_table_and_of_this_source_only(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = listed(LeNet5())[0]
    needs = launch.resources(H100)
    assert needs is not None
    assert 16 <= needs.registers <= 255
    assert (needs.stack, needs.spill_stores, needs.spill_loads) == (0, 0, 0)
    held = launch.occupancy(H100)
    assert held is not None
    assert held.blocks > 0
    monkeypatch.setattr(KernelSource, "content_hash", lambda self, macros: "changed")
    assert launch.resources(H100) is None
    assert launch.occupancy(H100) is None


def test_without_the_table_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resources, "table_path", lambda: tmp_path / "none.tsv")
    assert listed(LeNet5())[0].resources(H100) is None


@pytest.mark.emulator
@emulator
def test_counts_of_some_blocks_leave_the_arrays_of_others_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 8)
            self.fc = nn.Linear(8 * 784, 3)

        def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
            return self.fc(self.embedding((x * 0).to(np.int64)).flatten(1))

    found = listed(Net(), (784,), 8)
    split = [one for one in found if one.kernel.startswith("gemm") and any(p.name == "tickets" for p in one.parameters)]
    count(found, 2)
    assert {one.kernel for one in found} >= WHOLE
    for one in found:
        assert one.uncounted == ""
        assert one.counts is not None
        assert one.counts.kernel == one.kernel
        assert one.counts.launches == 1
        assert one.counts.counted_blocks == (one.blocks if one.kernel in WHOLE else min(2, one.blocks))
        assert one.counts.global_memory.asked >= one.counts.global_memory.least > 0
    for one in split:  # a block that is not the last leaves a ticket behind
        tickets = next(a for p, a in zip(one.parameters, one.args, strict=True) if p.name == "tickets")
        assert tickets is None or not tickets.any()
