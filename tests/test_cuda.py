"""gpunn.cuda: without a GPU, on a stand-in for CuPy with two, and on a real one where there is one."""

from __future__ import annotations

import contextlib
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

import gpunn
from gpunn import cuda
from gpunn._device import Device, cuda_is_available, device
from gpunn.errors import CaptureError, DeviceError, UsageError
from gpunn.gpu import streams
from gpunn.gpu.graph_memory import GraphMemory

without_gpu = pytest.mark.skipif(cuda_is_available(), reason="this machine has a GPU")
on_gpu = pytest.mark.gpu


# -- without a GPU --------------------------------------------------------------------------------


@without_gpu
def test_without_a_gpu_counts_are_zero() -> None:
    assert cuda.device_count() == 0
    assert cuda.memory_allocated() == cuda.memory_reserved("cuda:1") == cuda.max_memory_allocated(0) == 0
    cuda.empty_cache()


@without_gpu
@pytest.mark.parametrize(
    "ask",
    [
        *(cuda.current_device, cuda.get_device_name, cuda.get_device_capability, cuda.synchronize),
        *(cuda.reset_peak_memory_stats, cuda.current_stream, cuda.default_stream, cuda.Event, cuda.Stream),
    ],
)
def test_without_a_gpu_everything_else_says_why(ask: Any) -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda'.* use device='cpu'"):
        ask()


# -- on a stand-in --------------------------------------------------------------------------------


class _Hook:
    """As cupy.cuda.MemoryHook: registered for the calling thread, told of each allocation."""

    registered = threading.local()

    def __enter__(self) -> _Hook:
        self.registered.hooks = [*getattr(self.registered, "hooks", []), self]
        return self


class _Event:
    made: ClassVar[list[dict[str, bool]]] = []

    def __init__(self, **how: bool) -> None:
        self.made.append(how)
        self.done, self.at = False, 0.0

    def record(self, stream: Any) -> None:
        self.at = stream.clock

    def synchronize(self) -> None:
        self.done = True


class _Stream:
    null: Any

    def __init__(self, ptr: int = 7, **how: Any) -> None:
        self.ptr, self.how, self.clock, self.done = ptr, how, 0.0, True
        self.waited: list[Any] = []
        self.outer: list[Any] = []  # as CuPy's, which may be entered again

    def wait_event(self, event: Any) -> None:
        self.waited.append(event)

    def __enter__(self) -> _Stream:
        self.outer.append(_Two.stream)
        _Two.stream = self
        return self

    def __exit__(self, *_: Any) -> None:
        _Two.stream = self.outer.pop()


class _Two:
    """CuPy with two GPUs, as far as gpunn.cuda asks for it."""

    stream: Any

    def __init__(self) -> None:
        self.now = 0
        self.waited: list[int] = []
        self.freed: list[int] = []
        self.used, self.held = {0: 0, 1: 0}, {0: 0, 1: 0}
        _Stream.null = _Two.stream = _Stream(0)
        properties = [{"name": b"NVIDIA One", "major": 9, "minor": 0}, {"name": b"NVIDIA Two", "major": 12, "minor": 1}]
        runtime = types.SimpleNamespace(
            getDevice=lambda: self.now,
            getDeviceCount=lambda: 2,
            getDeviceProperties=lambda ordinal: properties[ordinal],
            deviceSynchronize=lambda: self.waited.append(self.now),
        )
        self.cuda = types.SimpleNamespace(
            Device=self.current,
            Event=_Event,
            MemoryHook=_Hook,
            Stream=_Stream,
            get_current_stream=lambda: _Two.stream,
            get_elapsed_time=lambda start, end: end.at - start.at,
            runtime=runtime,
        )

    @contextlib.contextmanager
    def current(self, ordinal: int) -> Iterator[None]:
        outer, self.now = self.now, ordinal
        try:
            yield
        finally:
            self.now = outer

    def get_default_memory_pool(self) -> Any:
        return types.SimpleNamespace(
            used_bytes=lambda: self.used[self.now],
            total_bytes=lambda: self.held[self.now],
            free_all_blocks=lambda: self.freed.append(self.now),
        )

    def allocate(self, size: int) -> None:
        self.used[self.now] += size
        self.held[self.now] = max(self.held[self.now], self.used[self.now])
        for hook in getattr(_Hook.registered, "hooks", []):
            hook.malloc_postprocess(device_id=self.now, size=size, mem_size=size, mem_ptr=1, pmem_id=1)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> _Two:
    cupy: Any = _Two()
    gpus = {f"cuda:{n}": Device(f"cuda:{n}", cupy, object(), n) for n in (0, 1)}
    gpus["cuda"] = gpus["cuda:0"]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for module, name in ((cuda, "find"), (streams, "device")):
        monkeypatch.setattr(module, name, lambda name: gpus.get(name) or device(name))
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "_peaks", cuda._Peaks())
    monkeypatch.setattr(_Hook, "registered", threading.local())
    monkeypatch.setattr(_Event, "made", [])
    return cupy


def test_a_gpu_may_be_named_in_five_ways(two: _Two) -> None:
    assert cuda.device_count() == 2
    assert cuda.get_device_name() == "NVIDIA One"
    other = cuda.Stream(1).device
    assert [cuda.get_device_name(name) for name in (1, "cuda:1", other)] == ["NVIDIA Two"] * 3
    assert cuda.get_device_capability(1) == (12, 1)
    with two.current(1):
        assert cuda.current_device() == 1
        assert cuda.get_device_name() == "NVIDIA Two"
    cuda.synchronize("cuda:1")
    assert two.waited == [1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cpu", r"get_device_name: device: expected a GPU, such as 0 or 'cuda:1'; got 'cpu'"),
        (True, "expected a GPU's number, .*; got True"),
        (1.0, "expected a GPU's number, .*; got 1.0"),
        (-1, "unknown device 'cuda:-1'"),
    ],
)
def test_what_is_no_gpu_is_refused(two: _Two, name: Any, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        cuda.get_device_name(name)


def test_memory_is_counted_by_gpu(two: _Two) -> None:
    two.allocate(1000)
    with two.current(1):
        two.allocate(512)
        assert cuda.memory_allocated() == 512
    two.used[0] = 200
    assert (cuda.memory_allocated(), cuda.memory_allocated(1)) == (200, 512)
    assert (cuda.memory_reserved("cuda:0"), cuda.memory_reserved(1)) == (1000, 512)
    cuda.empty_cache()
    cuda.empty_cache(1)
    assert two.freed == [0, 1]


def test_what_graphs_hold_counts_and_stays(two: _Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.allocate(1000)
    two.held[0] = 1200

    class Pool:
        """Of a graph on the first GPU. To free its blocks would be an error: it has no such method."""

        def total_bytes(self) -> int:
            return 40 if two.now == 0 else 0

    monkeypatch.setattr(GraphMemory, "pools", {Pool()})
    assert (cuda.memory_allocated(), cuda.memory_reserved(), cuda.max_memory_allocated()) == (1040, 1240, 1040)
    assert (cuda.memory_allocated(1), cuda.memory_reserved(1)) == (0, 0)
    cuda.empty_cache()


def test_the_peak_is_the_most_since_it_was_watched(two: _Two) -> None:
    two.allocate(5000)
    two.used[0] = 100
    assert cuda.max_memory_allocated() == 100  # what was before is not known
    two.allocate(900)
    two.used[0] = 300
    assert cuda.max_memory_allocated() == 1000
    assert cuda.max_memory_allocated(1) == 0
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == 300
    with two.current(1):
        two.allocate(64)
        two.used[1] = 0
    assert (cuda.max_memory_allocated(0), cuda.max_memory_allocated(1)) == (300, 64)


def test_what_other_threads_hold_counts_when_this_one_allocates(two: _Two) -> None:
    cuda.reset_peak_memory_stats()
    other = threading.Thread(target=two.allocate, args=(700,))
    other.start()
    other.join()
    two.allocate(1)
    two.used[0] = 0
    assert cuda.max_memory_allocated() == 701


def test_unwatched_allocations_cost_nothing(two: _Two) -> None:
    cuda.memory_allocated()
    two.allocate(1)
    assert not hasattr(_Hook.registered, "hooks")
    cuda.max_memory_allocated()
    cuda.max_memory_allocated()
    assert len(_Hook.registered.hooks) == 1


def test_streams(two: _Two) -> None:
    side = cuda.Stream(1, priority=-1)
    assert side.device.name == "cuda:1"
    assert side._stream.how == {"non_blocking": True, "priority": -1}
    usual = cuda.current_stream()
    assert usual == cuda.default_stream() != side
    assert len({usual, cuda.default_stream(), side}) == 2
    assert repr(side) == "Stream(device='cuda:1', cuda_stream=0x7)"
    with cuda.stream(side):
        assert cuda.current_device() == 1
        assert cuda.current_stream() == side
        with cuda.stream(None):
            assert cuda.current_stream() == side
    assert cuda.current_stream() == usual
    assert side.query()
    side.wait_stream(usual)
    assert len(side._stream.waited) == 1


def test_a_block_on_a_stream_is_used_again_and_in_itself(two: _Two) -> None:
    side, usual = cuda.Stream(1), cuda.current_stream()
    block = cuda.stream(side)
    for _ in range(2):
        with block:
            assert cuda.current_stream() == side
            with cuda.stream(usual), block:
                assert cuda.current_stream() == side
            assert cuda.current_stream() == side
        assert cuda.current_stream() == usual
    with pytest.raises(KeyError), block:
        raise KeyError
    assert cuda.current_stream() == usual

    @block
    def generate() -> Any:
        yield cuda.current_stream()
        yield cuda.current_stream()

    running = generate()
    assert next(running) == side
    assert cuda.current_stream() == usual
    assert next(running) == side
    with pytest.raises(UsageError, match=r"stream: expected a gpunn.cuda.Stream or None; got int"):
        cuda.stream(7)


def test_events(two: _Two) -> None:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True, blocking=True)
    assert start.query()  # nothing was recorded, so there is nothing to wait for
    start.wait()
    assert _Two.stream.waited == []
    start.record()
    assert not start.query()
    start.synchronize()
    assert start.query()
    side = cuda.Stream()
    side._stream.clock = 2.5
    end.record(side)
    assert [how["block"] for how in _Event.made] == [False, True]
    assert not any(how["disable_timing"] for how in _Event.made)
    with pytest.raises(UsageError, match=r"the second event has not been reached: call its synchronize\(\) first"):
        start.elapsed_time(end)
    end.synchronize()
    assert start.elapsed_time(end) == 2.5
    with pytest.raises(UsageError, match="the second event has not been recorded"):
        start.elapsed_time(cuda.Event(enable_timing=True))
    with pytest.raises(UsageError, match=r"the first event takes no time: make it by Event\(enable_timing=True\)"):
        cuda.Event().elapsed_time(end)
    with pytest.raises(UsageError, match="recorded on cuda:0, so it cannot be on cuda:1"):
        end.record(cuda.Stream(1))


@pytest.mark.parametrize("wait", ["synchronize", "empty_cache", "stream", "event"])
def test_a_captured_step_waits_for_nothing(two: _Two, wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = {"stream": cuda.Stream().synchronize, "event": cuda.Event().synchronize}
    step = types.SimpleNamespace(frozen=True)
    monkeypatch.setattr("gpunn._capture_state._state", types.SimpleNamespace(watch=step))
    with pytest.raises(CaptureError, match="inside a captured step"):
        waits.get(wait, getattr(cuda, wait, None))()


# -- on a GPU -------------------------------------------------------------------------------------


@on_gpu
def test_memory_of_a_real_gpu() -> None:
    pool = device("cuda").xp.get_default_memory_pool()
    if device("cuda").xp.cuda.get_allocator().__self__ is not pool:
        pytest.skip("this process does not use CuPy's default pool")
    before = cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    x = gpunn.zeros(1000, 256, device="cuda")
    assert cuda.memory_allocated() == before + x.array.nbytes
    del x
    assert cuda.memory_allocated() == before
    assert cuda.max_memory_allocated() == before + 1_024_000
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    cuda.empty_cache()
    assert cuda.memory_allocated() == before


@on_gpu
def test_streams_and_events_of_a_real_gpu() -> None:
    assert cuda.get_device_name()
    assert cuda.get_device_capability() >= (5, 0)
    x = gpunn.tensor(np.arange(-4, 4, dtype=np.float32), device="cuda")
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        assert cuda.current_stream() == side
        start.record()
        y = gpunn.relu(x)
        end.record()
    cuda.current_stream().wait_event(end)
    assert y.tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
    side.synchronize()
    assert side.query()
    assert end.query()
    assert start.elapsed_time(end) > 0
    cuda.synchronize()
