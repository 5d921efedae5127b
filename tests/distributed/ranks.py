"""What each rank does in tests/distributed/test_nccl.py: ``mpiexec -n 2 python -m tests.distributed.ranks NAME``."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import gpunn
from gpunn import nn, optim
from gpunn._capture import capture
from gpunn._device import Device, device
from gpunn.distributed._nccl import NcclChannel, Pending
from gpunn.errors import CaptureError, DeviceError, ShapeError, UsageError
from tests.distributed.training import train

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.Get_rank(), WORLD.Get_size()
REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": np.add,
    "product": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}
CHECKS: dict[str, Callable[[NcclChannel], None]] = {}


def check(function: Callable[[NcclChannel], None]) -> Callable[[NcclChannel], None]:
    CHECKS[function.__name__] = function
    return function


def gpu() -> Device:
    """A GPU for each rank where there are as many; the stand-in for NCCL does not mind that they share one."""
    count = device("cuda").xp.cuda.runtime.getDeviceCount()
    return device(f"cuda:{RANK % count}")


def channel() -> NcclChannel:
    return NcclChannel(gpu(), RANK, SIZE, functools.partial(WORLD.bcast, root=0))


def numbers(rank: int, dtype: str, shape: tuple[int, ...] = (3, 37)) -> np.ndarray:
    """What a rank gives; small integers, whose sums and products are exact in every order."""
    values = np.random.default_rng(rank).integers(0, 5, shape)
    return (values > 2) if dtype == "bool" else values.astype(dtype)


def reduced(op: str, arrays: list[np.ndarray]) -> np.ndarray:
    if op == "avg":
        return functools.reduce(np.add, [a / a.dtype.type(SIZE) for a in arrays])  # 2 and 4 ranks: exact
    return functools.reduce(REDUCTIONS[op], arrays).astype(arrays[0].dtype)


def upload(array: np.ndarray) -> Any:
    return gpu().array(array)


def tensor(values: Any) -> gpunn.Tensor:
    return gpunn.tensor(np.asarray(values, np.float32), device=gpu().name)


DTYPES = ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")


@check
def values(nccl: NcclChannel) -> None:
    """Every collective in every dtype."""
    for dtype in DTYPES:
        all_of_them = [numbers(rank, dtype) for rank in range(SIZE)]
        ops = ["max", "min"] if dtype == "bool" else list(REDUCTIONS)
        for op in [*ops, "avg"] if dtype.startswith("float") else ops:
            mine = upload(all_of_them[RANK])
            nccl.all_reduce(mine, op).wait()
            np.testing.assert_array_equal(mine.get(), reduced(op, all_of_them), f"{op} of {dtype}", strict=True)
        for root in range(SIZE):
            mine = upload(all_of_them[RANK])
            nccl.broadcast(mine, root).wait()
            np.testing.assert_array_equal(mine.get(), all_of_them[root], f"broadcast of {dtype}", strict=True)
        into = gpu().zeros((SIZE, 3, 37), dtype)
        nccl.all_gather(upload(all_of_them[RANK]), into).wait()
        np.testing.assert_array_equal(into.get(), all_of_them, f"gather of {dtype}", strict=True)
        into = gpu().zeros((SIZE, 3, 37), dtype)
        gpu().fill(into[RANK], upload(all_of_them[RANK]))
        nccl.all_gather(into[RANK], into).wait()
        np.testing.assert_array_equal(into.get(), all_of_them, f"gather in place of {dtype}", strict=True)
    for shape in ((), (1,), (0, 4), (3, 70001)):  # no axis, one, nothing, and more than a page of shared memory
        mine = upload(numbers(RANK, "float32", shape))
        nccl.all_reduce(mine).wait()
        expected = sum(numbers(rank, "float32", shape) for rank in range(SIZE))
        np.testing.assert_array_equal(mine.get(), expected)


@check
def overlapping(nccl: NcclChannel) -> None:
    """Several collectives under way while kernels run, waited for in another order."""
    first, second = (upload(numbers(RANK + 10 * k, "float32")) for k in range(2))
    other = tensor([1.0, 2.0, 3.0])
    pending = [nccl.all_reduce(first), nccl.all_reduce(second, "max")]
    for _ in range(5):
        other = other * 2.0 + 1.0
    pending[1].wait()
    pending[0].wait()
    pending[0].wait()
    np.testing.assert_array_equal(first.get(), sum(numbers(rank, "float32") for rank in range(SIZE)))
    np.testing.assert_array_equal(second.get(), reduced("max", [numbers(rank + 10, "float32") for rank in range(SIZE)]))
    np.testing.assert_array_equal(other.numpy(), [63.0, 95.0, 127.0])
    assert all(one.progress() for one in pending)
    nccl.check()


@check
def other_stream(nccl: NcclChannel) -> None:
    """Started on one stream and waited for on another."""
    streams = [gpunn.cuda.Stream(gpu()) for _ in range(2)]
    with gpunn.cuda.stream(streams[0]):
        mine = upload(numbers(RANK, "float32")) + gpu().array(np.float32(1))
        pending = nccl.all_reduce(mine)
    with gpunn.cuda.stream(streams[1]):
        pending.wait()
        result = (mine * 2).get()
    np.testing.assert_array_equal(result, 2 * (SIZE + sum(numbers(rank, "float32") for rank in range(SIZE))))


@check
def dropped(nccl: NcclChannel) -> None:
    """Nobody holds the array or the Pending: its memory may not be handed out before NCCL is done with it."""
    for _ in range(3):
        nccl.all_reduce(gpu().zeros((1000,), np.float32))
        with gpu().active():
            mine = gpu().xp.full((1000,), 7, np.float32)
        nccl.all_reduce(gpu().zeros((1000,), np.float32), "max").wait()
        np.testing.assert_array_equal(mine.get(), 7)
    # Waited for on another stream than the memory belongs to.
    streams = [gpunn.cuda.Stream(gpu()) for _ in range(2)]
    with gpunn.cuda.stream(streams[0]):
        pending = nccl.all_reduce(gpu().zeros((1000,), np.float32))
    with gpunn.cuda.stream(streams[1]):
        pending.wait()
    del pending
    with gpunn.cuda.stream(streams[0]):
        mine = gpu().xp.full((1000,), 7, np.float32)
        np.testing.assert_array_equal(mine.get(), 7)
        nccl.all_reduce(gpu().zeros((3,), np.float32)).wait()
        np.testing.assert_array_equal(mine.get(), 7)
    # What is done is not kept for ever.
    for _ in range(10):
        nccl.all_reduce(gpu().zeros((1000,), np.float32))
        nccl._stream.synchronize()
    assert len(nccl._kept) == 1, nccl._kept


def steps(nccl: NcclChannel, count: int = 6) -> None:
    """A captured step with kernels, all collectives, and kernels between and behind them."""
    gathered = gpu().zeros((SIZE, 3), np.float32)
    spread = gpu().zeros((3,), np.float32)

    def step(x: gpunn.Tensor) -> tuple[gpunn.Tensor, ...]:
        doubled = x * 2.0
        pending = nccl.all_reduce(doubled._physical)
        beside = (x + 1.0).exp() * 0.0  # runs while the sum is on its way
        pending.wait()
        result = doubled * doubled + beside
        largest = result + float(RANK)
        nccl.all_reduce(largest._physical, "max").wait()
        ours = x + float(RANK)
        nccl.all_gather(ours._physical, gathered).wait()
        return result, largest, ours

    captured = capture(step)
    for k in range(count):
        x = np.array([k, k + RANK, 1.0], np.float32)
        result, largest, _ = captured(tensor(x))
        everyone = [np.array([k, k + rank, 1.0], np.float32) for rank in range(SIZE)]
        expected = (2 * sum(everyone)) ** 2
        np.testing.assert_array_equal(result.numpy(), expected)
        np.testing.assert_array_equal(largest.numpy(), expected + SIZE - 1)
        np.testing.assert_array_equal(gathered.get(), [e + r for r, e in enumerate(everyone)])
        # And not captured in between, on the same channel.
        gpu().fill(spread, k + RANK)
        nccl.broadcast(spread, SIZE - 1).wait()
        np.testing.assert_array_equal(spread.get(), k + SIZE - 1)
    assert captured.graphs == 1


@check
def captured(nccl: NcclChannel) -> None:
    steps(nccl)


@check
def busy_elsewhere(nccl: NcclChannel) -> None:
    """A rank waits for a result while another waits for that rank by MPI: each has started its part."""
    mine = upload(numbers(RANK, "float32"))
    nccl.all_reduce(mine).wait()
    if RANK == 0:
        mine.get()
    WORLD.Barrier()

    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        y = x * 2.0
        nccl.all_reduce(y._physical).wait()
        return y + 1.0

    run = capture(step)
    for _ in range(3):
        y = run(tensor([1.0]))
        if RANK == SIZE - 1:
            assert y.item() == 2 * SIZE + 1
        WORLD.Barrier()
    np.testing.assert_array_equal(mine.get(), sum(numbers(rank, "float32") for rank in range(SIZE)))


@check
def unjoined(nccl: NcclChannel) -> None:
    """A capture that ends before a collective is waited for."""
    keep = []

    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        y = x * 2.0
        keep.append(nccl.all_reduce(y._physical))
        return y

    run = capture(step)
    run(tensor([1.0]))
    with pytest.raises(CaptureError, match="unjoined"):
        run(tensor([1.0]))
    with pytest.raises(CaptureError, match=r"all_reduce: it was started inside a captured step.*Call wait\(\) inside"):
        keep[1].wait()
    keep[0].wait()
    # The channel is as good as before.
    steps(nccl, 3)


@check
def started_before(nccl: NcclChannel) -> None:
    """A captured step that waits for what was started outside."""
    pending: list[Pending] = []

    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        y = x * 2.0
        for one in pending:
            one.wait()
        return y

    run = capture(step)
    run(tensor([1.0]))
    mine = upload(numbers(RANK, "float32"))
    pending.append(nccl.all_reduce(mine))
    with pytest.raises(CaptureError, match=r"all_reduce: it was started before this captured step"):
        run(tensor([1.0]))
    pending[0].wait()
    np.testing.assert_array_equal(mine.get(), sum(numbers(rank, "float32") for rank in range(SIZE)))

    runs: list[int] = []

    def closing(x: gpunn.Tensor) -> gpunn.Tensor:
        runs.append(1)
        if len(runs) > 1:  # not in the first run, which is none of a graph
            nccl.close()
        return x * 2.0

    other = capture(closing)
    other(tensor([1.0]))
    with pytest.raises(CaptureError, match="closing"):
        other(tensor([1.0]))


@check
def refused(nccl: NcclChannel) -> None:
    """Arguments that are wrong, found before anything is started."""
    good = upload(numbers(RANK, "float32"))

    def zeros(dtype: str) -> Any:
        return gpu().zeros((3, 37), dtype)

    cases: list[tuple[Any, type[Exception], str]] = [
        (
            lambda: nccl.all_reduce(np.zeros(3, np.float32)),
            UsageError,
            "expected a CuPy array on 'cuda:.'; got ndarray",
        ),
        (lambda: nccl.all_reduce(good.T), UsageError, "C-contiguous"),
        (lambda: nccl.all_reduce(zeros("int16")), UsageError, "got int16"),
        (lambda: nccl.all_reduce(zeros("complex64")), UsageError, "got complex64"),
        (
            lambda: nccl.all_reduce(good, "mean"),
            UsageError,
            "op: expected one of sum, product, max, min, avg; got 'mean'",
        ),
        (lambda: nccl.all_reduce(zeros("bool")), UsageError, "op='sum' of bool"),
        (lambda: nccl.all_reduce(zeros("int32"), "avg"), UsageError, "op='avg' of int32"),
        (lambda: nccl.broadcast(good, SIZE), UsageError, f"root: expected a rank from 0 to {SIZE - 1}; got {SIZE}"),
        (lambda: nccl.broadcast(good, -1), UsageError, "root"),
        (lambda: nccl.all_gather(good, good), ShapeError, r"into: expected shape \(2, 3, 37\); got \(3, 37\)"),
        (
            lambda: nccl.all_gather(good, gpu().zeros((SIZE, 3, 37), np.float64)),
            UsageError,
            "into: expected dtype float32",
        ),
        (lambda: NcclChannel(device("cpu"), 0, 1, lambda name: name or b""), UsageError, "expected a GPU"),
    ]
    count = device("cuda").xp.cuda.runtime.getDeviceCount()
    if count > 1:
        there = device(f"cuda:{(RANK + 1) % count}")
        elsewhere = there.zeros((3,), np.float32)
        cases.append((lambda: nccl.all_reduce(elsewhere), DeviceError, f"the array is on GPU {there.ordinal}"))
    for call, kind, message in cases:
        with pytest.raises(kind, match=message):
            call()
    nccl.close()
    nccl.close()
    with pytest.raises(UsageError, match="all_reduce: the channel is closed"):
        nccl.all_reduce(good)


# ---------------------------------------------------------------- ranks that do not agree


def told(nccl: NcclChannel, calls: Callable[[], Any]) -> None:
    """Every rank gets an error from a call, or at the latest from close()."""

    def all_of_it() -> None:
        calls()
        nccl.close()

    with pytest.raises(DeviceError, match=rf"NCCL: .* failed on rank {RANK} of {SIZE}"):
        all_of_it()


@check
def other_count(nccl: NcclChannel) -> None:
    told(nccl, lambda: nccl.all_reduce(upload(np.zeros(3 + RANK, np.float32))).wait())


@check
def other_dtype(nccl: NcclChannel) -> None:
    told(nccl, lambda: nccl.all_reduce(upload(np.zeros(4, ("float32", "int32")[RANK]))).wait())


@check
def other_op(nccl: NcclChannel) -> None:
    told(nccl, lambda: nccl.all_reduce(upload(np.zeros(4, np.float32)), ("sum", "max")[RANK]).wait())


@check
def other_root(nccl: NcclChannel) -> None:
    told(nccl, lambda: nccl.broadcast(upload(np.zeros(4, np.float32)), RANK).wait())


@check
def other_order(nccl: NcclChannel) -> None:
    def calls() -> None:
        a, b = upload(np.zeros(4, np.float32)), upload(np.zeros(5, np.float32))
        for array in (a, b) if RANK == 0 else (b, a):
            nccl.all_reduce(array).wait()

    told(nccl, calls)


@check
def other_step(nccl: NcclChannel) -> None:
    """Captured steps that differ, which only shows when they are replayed."""

    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        y = x * 2.0
        nccl.all_reduce(y._physical, ("sum", "max")[RANK] if np.size(keep) else "sum").wait()
        return y

    keep: list[int] = []
    run = capture(step)
    run(tensor([1.0]))
    keep.append(1)  # the second call, which captures, differs
    result: list[gpunn.Tensor] = []
    told(nccl, lambda: result.append(run(tensor([1.0]))))
    assert np.isnan(result[0].numpy()).all()


@check
def gone(nccl: NcclChannel) -> None:
    if RANK == 1:
        os._exit(0)
    told(nccl, lambda: nccl.all_reduce(upload(np.zeros(4, np.float32))).wait())
    os._exit(0)  # to leave MPI would wait for the other


@check
def late(nccl: NcclChannel) -> None:
    os.environ["GPUNN_NCCL_SECONDS"] = "1"  # only now: also joining takes some time
    if RANK == 1:
        time.sleep(3)
    told(nccl, lambda: nccl.all_reduce(upload(np.zeros(4, np.float32))).wait())


@check
def out_of_step(nccl: NcclChannel) -> None:
    """A rank makes one call more, and the other closes."""
    mine = upload(np.ones(4, np.float32))
    nccl.all_reduce(mine).wait()
    mine.get()
    if RANK == 0:
        told(nccl, lambda: nccl.all_reduce(mine).wait())


# ---------------------------------------------------------------- what the stand-in finds by itself


@check
def misaligned(nccl: NcclChannel) -> None:
    bytes_of_it = gpu().zeros((17,), np.uint8)
    raw(nccl, bytes_of_it.data.ptr + 1, bytes_of_it.data.ptr + 1, 4)


@check
def overlapped(nccl: NcclChannel) -> None:
    mine = gpu().zeros((8,), np.float32)
    raw(nccl, mine.data.ptr, mine.data.ptr + 8, 4)


@check
def host_memory(nccl: NcclChannel) -> None:
    mine = np.zeros(4, np.float32)
    raw(nccl, mine.ctypes.data, mine.ctypes.data, 4)


@check
def other_device(nccl: NcclChannel) -> None:
    there = device(f"cuda:{1 - RANK}")
    mine = there.zeros((4,), np.float32)
    raw(nccl, mine.data.ptr, mine.data.ptr, 4)


@check
def other_devices_stream(nccl: NcclChannel) -> None:
    there = device(f"cuda:{1 - RANK}")
    mine = gpu().zeros((4,), np.float32)
    with there.active():
        stream = there.xp.cuda.Stream(non_blocking=True)
        raw(nccl, mine.data.ptr, mine.data.ptr, 4, stream.ptr)


def raw(nccl: NcclChannel, source: int, target: int, count: int, stream: int | None = None) -> None:
    float32, add = nccl._types["float32"], nccl._ops["sum"]
    with pytest.raises(nccl._nccl.NcclError):
        nccl._comm.allReduce(source, target, count, float32, add, nccl._stream.ptr if stream is None else stream)


@check
def reduce_to_one(nccl: NcclChannel) -> None:
    """NCCL's reduce, which the channel does not use."""
    mine = upload(np.full(4, RANK + 1, np.float32))
    with gpu().active():
        gpu().xp.cuda.get_current_stream().synchronize()
        nccl._comm.reduce(
            mine.data.ptr, mine.data.ptr, 4, nccl._types["float32"], nccl._ops["sum"], 1, nccl._stream.ptr
        )
        nccl._stream.synchronize()
    np.testing.assert_array_equal(mine.get(), SIZE * (SIZE + 1) / 2 if RANK == 1 else RANK + 1)


@check
def replayed_after_close(nccl: NcclChannel) -> None:
    def step(x: gpunn.Tensor) -> gpunn.Tensor:
        y = x * 2.0
        nccl.all_reduce(y._physical).wait()
        return y

    run = capture(step)
    for _ in range(3):
        run(tensor([1.0])).numpy()
    nccl.close()
    assert np.isnan(run(tensor([1.0])).numpy()).all()


# ---------------------------------------------------------------- a channel with a mistake, which has to show


class _Deaf:
    """A stream that waits for nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def wait_event(self, event: Any) -> None:
        pass


def _differs(nccl: NcclChannel) -> bool:
    mine = tensor(numbers(RANK, "float32")) * 2.0 + 1.0
    nccl.all_reduce(mine._physical).wait()
    result = (mine * 1.0).numpy()
    return not np.array_equal(result, SIZE + 2 * sum(numbers(rank, "float32") for rank in range(SIZE)))


@check
def starts_too_early(nccl: NcclChannel) -> None:
    assert not _differs(nccl)
    nccl._stream = _Deaf(nccl._stream)
    print(f"rank {RANK}: wrong {_differs(nccl)}", flush=True)


@check
def waits_for_nothing(nccl: NcclChannel) -> None:
    assert not _differs(nccl)
    Pending.wait = lambda self: None
    print(f"rank {RANK}: wrong {_differs(nccl)}", flush=True)


def data_parallel() -> None:
    """Training over the group, whose arrays NCCL moves: as it comes and captured, the same bits on all ranks."""
    gpunn.distributed.init_process_group("nccl")
    ends = [_trained(wrap) for wrap in (lambda step: step, capture)]
    everyone = WORLD.allgather(ends)
    for other in everyone:
        for weights in other:
            for one, same in zip(ends[0], weights, strict=True):
                np.testing.assert_array_equal(one, same)
    gpunn.distributed.destroy_process_group()


def _trained(wrap: Callable[[Any], Any]) -> list[np.ndarray]:
    gpunn.manual_seed(RANK)  # the ranks begin differently, until DistributedDataParallel shares rank 0's
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).to(gpu().name)
    before = [p.detach().cpu().numpy().copy() for p in model.parameters()]
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(parallel(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = wrap(step)
    draw = np.random.default_rng(RANK)
    for _ in range(5):
        run(tensor(draw.standard_normal((4, 8))), gpunn.tensor(draw.integers(0, 4, 4), device=gpu().name))
    after = [p.detach().cpu().numpy() for p in model.parameters()]
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    return after


def trainer() -> None:
    """A Trainer whose arrays NCCL moves, in captured steps, and one whose arrays MPI moves, which captures nothing."""
    ends = []
    for backend in ("nccl", "mpi"):
        gpunn.distributed.init_process_group(backend)
        train(str(Path.cwd() / backend), "uneven", "cuda")
        gpunn.distributed.destroy_process_group()
        WORLD.Barrier()
        ends.append(gpunn.load(Path.cwd() / backend / "model.safetensors"))
    for name, value in ends[0].items():
        np.testing.assert_allclose(value.numpy(), ends[1][name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def main(name: str) -> None:
    if name in ("data_parallel", "trainer"):
        globals()[name]()
        return
    if name == "same_gpu":
        with pytest.raises(DeviceError, match=r"connecting the ranks failed on rank \d of 2.*a GPU of its own"):
            channel()
        return
    if name == "missing":
        with pytest.raises(DeviceError, match=r"libnccl.so.2|rank 0 cannot use it"):
            channel()
        return
    nccl = channel()
    CHECKS[name](nccl)
    nccl.close()


if __name__ == "__main__":
    main(sys.argv[1])
