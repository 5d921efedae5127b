"""What a replay must not do: allocate, wait for the device, or read anything back."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import gpunn
from gpunn._device import Device
from gpunn.errors import CaptureError, UsageError
from gpunn.gpu.launcher import trace_launches
from tests.test_capture import Run, batches

_WATCHED = ("empty", "zeros", "array", "to_host", "check")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How often each way to allocate on a device, or to wait for it, was taken."""
    counted: Counter = Counter()

    def watch(name: str) -> None:
        original = getattr(Device, name)

        def method(self: Device, *args: object, **kwargs: object) -> object:
            counted[name] += 1
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Device, name, method)

    for name in _WATCHED:
        watch(name)
    return counted


def test_a_replay_allocates_nothing_and_waits_for_nothing(kernels: str, calls: Counter) -> None:
    run = Run(kernels, captured=True)
    given = batches(kernels, 4)
    for batch in given[:2]:  # run once, captured and replayed once
        run.step(*batch)
    assert calls["empty"] > 0  # what is counted does happen
    calls.clear()
    for batch in given[2:]:
        run.step(*batch)
    assert not calls, dict(calls)


def test_a_capture_waits_for_nothing(kernels: str, calls: Counter) -> None:
    run = Run(kernels, captured=True)
    given = batches(kernels, 2)
    run.step(*given[0])
    calls.clear()
    run.step(*given[1])
    assert calls["to_host"] == calls["check"] == 0, dict(calls)


def test_replays_make_the_captured_launches_and_a_new_rate_one_more(kernels: str) -> None:
    run = Run(kernels, captured=True)
    given = batches(kernels, 5)
    for batch in given[:2]:
        run.step(*batch)

    def launched(batch: tuple) -> list[str]:
        with trace_launches() as launches:
            run.step(*batch)
        return sorted(launch.kernel for launch in launches)

    usual = launched(given[2])
    assert launched(given[3]) == usual
    run.optimizer.param_groups[0]["lr"] = 0.01
    extra = Counter(launched(given[4])) - Counter(usual)
    assert [name.partition("_")[0] for name in extra.elements()] == ["write"], extra


def test_a_captured_step_keeps_what_it_returned_until_the_next(kernels: str) -> None:
    run = Run(kernels, captured=True)
    given = batches(kernels, 4)
    losses = [run.step(*batch) for batch in given]
    assert losses[2] is losses[3]  # one array, overwritten
    expected = Run(kernels, captured=False)
    values = [expected.step(*batch).item() for batch in given]
    assert losses[3].item() == values[3]


def test_what_a_step_cannot_be_called_with() -> None:
    step = gpunn.capture(lambda *inputs: None)
    for inputs in ((), (np.ones(3),), (gpunn.ones(2), 3)):
        with pytest.raises(UsageError, match="called with tensors, at least one"):
            step(*inputs)


def test_reading_and_allocating_words_are_refused_by_name(kernels: str) -> None:
    def step(x: gpunn.Tensor) -> None:
        float(gpunn.relu(x).detach()[0])

    captured = gpunn.capture(step)
    x = gpunn.ones(3, device=kernels)
    captured(x)
    with pytest.raises(CaptureError):
        captured(x)
