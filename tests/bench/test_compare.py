"""Devices compared: that they compute the same, what does not fit, and from where on one pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn import nn
from gpunn._device import Device, device
from gpunn.bench import compare
from gpunn.bench.compare import Point, case_of, measure_all, pays_from, record
from gpunn.bench.networks import Network, gpunn_network, gpunn_step

_SHAPE = (1, 4, 4)


def _build() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def _no_twin(torch: Any) -> Any:
    raise NotImplementedError


_NETWORK = Network("small", "small", _SHAPE, 3, _build, _no_twin, ())
_QUICK = {"seconds": 1e-9, "least": 1, "most": 1}


def _measure(batches: list[int], modes: list[str], devices: list[Device], **options: Any) -> list[Point]:
    return list(measure_all([_NETWORK], batches, modes, devices, **{**_QUICK, **options}))


def test_devices_take_turns_and_compute_the_same(kernels: str) -> None:
    points = _measure([6, 2], ["train", "inference"], [device("cpu"), device(kernels)])
    assert [(p.mode, p.batch) for p in points] == [("train", 2), ("train", 6), ("inference", 2), ("inference", 6)]
    for point in points:
        assert point.wrong == ""
        assert point.error is not None
        assert list(point.sides) == ["cpu", str(device(kernels))]
        assert all(numbers["samples"] == 1 and numbers["ms"] > 0 for numbers in point.sides.values())
        ours = point.sides["cpu"]
        assert ours["items_per_second"] == pytest.approx(1e3 * point.batch / ours["ms"])


def test_one_device_alone() -> None:
    (point,) = _measure([2], ["train"], [device("cpu")])
    assert point.error is None
    assert point.wrong == ""
    assert list(point.sides) == ["cpu"]


def test_a_batch_that_the_network_cannot_take_is_left_out() -> None:
    one, two = _measure([1, 2], ["train"], [device("cpu")])  # batch norm of a single image
    assert one.sides == {}
    assert one.missing["cpu"].startswith("cannot be computed: 2 (BatchNorm1d): expected more than 1 value")
    assert list(two.sides) == ["cpu"]
    assert two.missing == {}


class _Small(Device):
    """A device by another name, into which at most four images fit."""

    def __init__(self) -> None:
        super().__init__("small", np)
        self.tried: list[int] = []

    def array(self, host: Any, dtype: Any = None) -> Any:
        if host.ndim == 4:
            self.tried.append(len(host))
        if host.ndim == 4 and len(host) > 4:
            raise MemoryError("Unable to allocate")
        return super().array(host, dtype)


def test_what_does_not_fit_is_said_and_larger_batches_are_not_tried() -> None:
    small = _Small()
    points = _measure([2, 4, 8, 16], ["inference"], [device("cpu"), small])
    assert [list(p.sides) for p in points] == [["cpu", "small"], ["cpu", "small"], ["cpu"], ["cpu"]]
    assert [p.missing for p in points] == [
        {},
        {},
        {"small": "does not fit: Unable to allocate"},
        {"small": "batch 8 did not fit"},
    ]
    assert small.tried == [2, 4, 8]
    assert points[2].error is None


def test_devices_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gpunn_network

    def wrong(network: Network, home: Device, dtype: str) -> Any:
        net = right(network, home, dtype)
        if home.name == "small":
            net[1].weight.detach()[0, 0] += 0.1
        return net

    monkeypatch.setattr(compare, "gpunn_network", wrong)
    (point,) = _measure([4], ["inference"], [device("cpu"), _Small()])
    assert point.sides == {}
    assert point.wrong.startswith("cpu and small differ by ")
    assert point.wrong.endswith("in call 1; 1e-03 is allowed")


def test_a_wrong_gradient_shows_in_the_second_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gpunn_step

    def wrong(net: Any) -> Any:
        step = right(net)
        if net[1].weight.device.name != "small":
            return step

        def changed(x: Any, labels: Any) -> Any:
            loss = step(x, labels)
            net[5].bias.detach()[0] += 0.05  # as an update that is wrong
            return loss

        return changed

    monkeypatch.setattr(compare, "gpunn_step", wrong)
    (point,) = _measure([4], ["train"], [device("cpu"), _Small()])
    assert point.wrong.endswith("in call 2; 1e-03 is allowed")


def test_inference_changes_nothing_and_training_does() -> None:
    home = device("cpu")
    for mode, same in (("inference", True), ("train", False)):
        run = case_of(_NETWORK, 4, mode, "float32").prepare(home)
        first, second = (run()[0].copy() for _ in range(2))
        assert np.array_equal(first, second) is same
        assert first.shape == ((4, 3) if same else ())


def _points(*throughputs: tuple[int, float | None, float | None]) -> list[Point]:
    found = []
    for batch, one, other in throughputs:
        sides = {"cpu": one, "cuda": other}
        found.append(
            Point("n", "train", batch, {k: {"items_per_second": v} for k, v in sides.items() if v is not None})
        )
    return found


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        # From a quarter of the throughput at 4 to four times at 64, on logarithmic axes: half way, at 16.
        (_points((4, 4, 1), (64, 4, 16)), 16.0),
        (_points((1, 1, 0.5), (4, 4, 1), (64, 4, 16), (256, 4, 20)), 16.0),
        (_points((1, 1, 2), (8, 1, 3)), 1.0),  # always
        (_points((1, 2, 1), (8, 2, 1)), None),  # never
        (_points((1, 1, 2), (8, 2, 1)), None),  # not with the largest batch
        (_points((1, 1, 2), (2, 2, 1), (8, 2, 8)), 2 * 4 ** (1 / 3)),  # from 2 on: the first does not last
        (_points((1, 2, 1), (4, 1, 2), (8, 1, None)), 2.0),  # the largest does not fit
        (_points((1, 2, None)), None),
        ([], None),
    ],
)
def test_where_a_device_starts_to_pay(points: list[Point], expected: float | None) -> None:
    found = pays_from(points, "cuda", "cpu")
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_record_of_a_point() -> None:
    home = device("cpu")
    (point,) = _measure([2], ["inference"], [home, _Small()])
    found = record(point, [home, _Small()], "float32", 2)
    assert (found["case"], found["group"], found["device"]) == ("small-b2.inference", "compare", "cpu,small")
    ratio = found["sides"]["small"]["ms"] / found["sides"]["cpu"]["ms"]
    assert found["sides"]["small"]["ratio"] == pytest.approx(ratio)
    assert found["sides"]["cpu"]["ratio"] == 1
    assert found["gpu"] is None
