"""What only CuPy has: streams, pools, several GPUs, graphs that give their memory back, an end of memory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import OutOfMemoryError
from gpunn.gpu.graph_memory import GraphMemory

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy() -> Any:
    return gpunn.device("cuda").xp


@pytest.fixture
def used(cupy: Any) -> Callable[[], int]:
    """Bytes of the GPU that are in use once CuPy has given back what nobody holds."""

    def read() -> int:
        gc.collect()
        cupy.cuda.Device().synchronize()
        cupy.get_default_memory_pool().free_all_blocks()
        free, total = cupy.cuda.runtime.memGetInfo()
        return int(total - free)

    return read


def train(where: str, captured: bool, steps: int = 4) -> list[float]:
    gpunn.manual_seed(0)
    layers = (nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10)).to(where)
    optimizer, loss = optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()

    def step(x: gpunn.Tensor, y: gpunn.Tensor) -> gpunn.Tensor:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return value

    run = gpunn.capture(step) if captured else step
    x = np.random.Generator(np.random.Philox(1)).standard_normal((4, 1, 8, 8)).astype(np.float32)
    batch = gpunn.tensor(x, device=where), gpunn.tensor([1, 2, 3, 4], device=where)
    return [run(*batch).item() for _ in range(steps)]


# -- memory ---------------------------------------------------------------------------------------


def test_a_hundred_dropped_graphs_leave_nothing(used: Callable[[], int]) -> None:
    x = gpunn.ones(100, 100, device="cuda")

    def one() -> None:
        step = gpunn.capture(lambda t: ((t * 2) + 1).sum())
        for _ in range(2):
            step(x)

    one()
    before = used()
    for _ in range(100):
        one()
    assert used() == before
    assert not GraphMemory.pools


def test_graphs_in_reference_cycles_leave_nothing(used: Callable[[], int]) -> None:
    def one() -> None:
        class Holder:
            pass

        holder = Holder()
        model = nn.Linear(64, 64).to("cuda")
        holder.model, holder.self = model, holder  # type: ignore[attr-defined]
        holder.step = gpunn.capture(lambda t: holder.model(t).sum())  # type: ignore[attr-defined]
        for _ in range(2):
            holder.step(gpunn.ones(8, 64, device="cuda"))  # type: ignore[attr-defined]

    one()
    before = used()
    for _ in range(5):
        one()
    assert used() == before


def test_a_hundred_recordings_of_one_step_stay_flat(used: Callable[[], int]) -> None:
    """Parameters that are replaced, so that no earlier graph is right."""
    model = nn.Linear(64, 64).to("cuda")
    x = gpunn.ones(8, 64, device="cuda")
    step = gpunn.capture(lambda t: model(t).sum())

    def record(times: int) -> int:
        for _ in range(times):
            model.bias = nn.Parameter(gpunn.zeros(64, device="cuda"))
            step(x)
        return used()

    flat = record(40)
    assert record(100) == flat
    assert step.graphs == 32


def test_dropped_trainers_leave_nothing(used: Callable[[], int]) -> None:
    images, labels = np.zeros((10, 1, 8, 8), np.float32), np.zeros(10, np.int64)

    def fit() -> None:
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
        trainer = gpunn.Trainer(model, optim.Adam(model.parameters()), device="cuda", log=None)
        loader = DataLoader(TensorDataset(images, labels), batch_size=4, device="cuda")
        trainer.fit(loader, loader, epochs=2)

    fit()
    before = used()
    for _ in range(5):
        fit()
    assert used() == before


def test_what_a_step_returned_outlives_its_graph(cupy: Any, used: Callable[[], int]) -> None:
    start = used()
    x = gpunn.ones(1000, device="cuda")
    step = gpunn.capture(lambda t: t * 3)
    for _ in range(2):
        result = step(x)
    del step
    gc.collect()
    others = [cupy.full(1000, 7, np.float32) for _ in range(50)]  # would lie in its memory, were that free
    np.testing.assert_array_equal(result.numpy(), np.full(1000, 3, np.float32))
    del result, others, x
    assert used() <= start
    assert not GraphMemory.pools


def test_out_of_memory_says_what_was_asked_for_and_what_is_free() -> None:
    layer = nn.Sequential(nn.Linear(4, 2**20)).to("cuda")
    with pytest.raises(
        OutOfMemoryError, match=r"^0 \(Linear\): device 'cuda:0' is out of memory.*asked for [\d,]+ bytes"
    ):
        layer(gpunn.zeros(2**20, 4, device="cuda"))  # 4 TB
    assert layer(gpunn.zeros(2, 4, device="cuda")).shape == (2, 2**20)
    with pytest.raises(OutOfMemoryError, match=r"of [\d,]+ bytes .*are free.*batch"):
        gpunn.empty(2**40, device="cuda")


# -- streams and threads --------------------------------------------------------------------------


def test_what_a_device_keeps_is_ready_on_every_stream(cupy: Any) -> None:
    device = gpunn.device("cuda")
    device._cache.clear()  # as in a new process
    with cupy.cuda.Stream(non_blocking=True):
        expected = train("cuda", False)
    assert train("cuda", False) == expected


def test_a_graph_is_replayed_on_the_stream_of_its_caller(cupy: Any) -> None:
    expected = train("cuda", False, 6)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    with streams[0]:
        assert train("cuda", True, 6) == expected
    step = gpunn.capture(lambda t: (t * 2).sum())
    x = gpunn.ones(10, device="cuda")
    cupy.cuda.Device().synchronize()
    for stream in (streams[0], streams[1], cupy.cuda.Stream.null, streams[0]):
        with stream:
            assert step(x).item() == 20


def test_threads_compute_side_by_side() -> None:
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        x = gpunn.full((50, 200), float(number), device="cuda")
        found[number] = [float(((x * 2) @ x.T).sum()) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(1, 4):
        np.testing.assert_allclose(found[n], [2.0 * n * n * 200 * 2500] * 5, rtol=1e-6)


# -- more than one GPU ----------------------------------------------------------------------------


@pytest.mark.skipif(gpunn.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("where", ["cuda:0", "cuda:1"])
@pytest.mark.parametrize("current", [0, 1])
def test_a_gpu_trains_whichever_is_current(cupy: Any, where: str, current: int, captured: bool) -> None:
    expected = train("cuda:0", False)
    with cupy.cuda.Device(current):
        assert train(where, captured) == expected
        assert cupy.cuda.runtime.getDevice() == current


@pytest.mark.skipif(gpunn.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("where", ["cuda:1", "cuda-plain:1"])
def test_tensors_change_in_place_on_a_gpu_that_is_not_current(where: str) -> None:
    x = gpunn.ones(2, 3, 4, 4, device=where)
    assert x.fill_(2).sum().item() == 192
    assert x.zero_().sum().item() == 0
    assert x.copy_(np.ones((2, 3, 4, 4), np.float32)).add_(1.0).clamp_(0, 1.5).sum().item() == 144
    x[0, 1] = 0
    assert x.sum().item() == 120
    for drawn in (x.normal_(), x.uniform_(0, 1)):
        assert np.isfinite(drawn.numpy()).all()
    assert x.array.device.id == 1
