"""What several processes check together: ``mpiexec -n 2 python -m tests.distributed.checks NAME``."""

from __future__ import annotations

import datetime
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest

import gpunn
import gpunn.nn.functional as F
from gpunn import distributed as dist
from gpunn import nn, optim
from gpunn.errors import DistributedError, ShapeError, UsageError
from gpunn.nn.parallel import DistributedDataParallel
from gpunn.utils.checkpoint import checkpoint
from gpunn.utils.data import DistributedSampler

# -- calls -------------------------------------------------------------------------------------------------------------


def collectives(device: str) -> None:
    """Every call, on every kind of numbers, against what NumPy makes of all ranks' arrays."""
    rank, size = dist.get_rank(), dist.get_world_size()
    numpy_ops: dict[str, Any] = {"SUM": np.sum, "PRODUCT": np.prod, "MIN": np.min, "MAX": np.max}
    for dtype in (np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_):
        for shape in ((), (0,), (3,), (2, 5), (2, 3, 4, 5)):
            arrays = [np.random.default_rng(r).integers(0, 2, shape).astype(dtype) for r in range(size)]
            own = lambda: gpunn.tensor(arrays[rank], device=device)  # noqa: E731, B023
            for name, function in numpy_ops.items():
                if dtype is np.bool_:
                    continue
                x = own()
                assert dist.all_reduce(x, getattr(dist.ReduceOp, name)) is None
                expected = function(np.stack(arrays), axis=0).astype(dtype)
                assert x.dtype == dtype
                assert x.shape == shape
                np.testing.assert_array_equal(x.cpu().numpy(), expected)
            x = own()
            work = dist.broadcast(x, size - 1, async_op=True)
            assert isinstance(work, dist.Work)
            assert not work.is_completed()
            assert work.wait()
            assert work.is_completed()
            assert work.wait()
            np.testing.assert_array_equal(x.cpu().numpy(), arrays[-1])
            places = [gpunn.zeros(shape, dtype=dtype, device=device) for _ in range(size)]
            dist.all_gather(places, own())
            for place, array in zip(places, arrays, strict=True):
                np.testing.assert_array_equal(place.cpu().numpy(), array)
    x = gpunn.full((3,), float(rank), device=device)
    dist.all_reduce(x, dist.ReduceOp.AVG)
    assert x.tolist() == [(size - 1) / 2] * 3
    x = gpunn.full((3,), float(rank), device=device)
    dist.reduce(x, 1)
    assert x.tolist() == [float(sum(range(size)) if rank == 1 else rank)] * 3
    whole = gpunn.zeros(4, 6, device=device)
    whole[:, ::2] = rank + 1.0  # a view that does not lie in one piece
    part = whole[:, ::2]
    dist.all_reduce(part)
    assert whole.sum().item() == 12 * sum(range(1, size + 1))
    objects: list[Any] = [None] * size
    dist.all_gather_object(objects, {"rank": rank, "long": "x" * (1000 * rank)})
    assert [(o["rank"], len(o["long"])) for o in objects] == [(r, 1000 * r) for r in range(size)]
    given: list[Any] = ["a", {1: 2}] if rank == 1 else [None, None]
    dist.broadcast_object_list(given, 1)
    assert given == ["a", {1: 2}]
    dist.barrier()


def questions() -> None:
    """What a program asks about its group, and what it may not do in one."""
    assert dist.is_initialized()
    assert dist.is_available()
    assert dist.is_mpi_available()
    assert dist.is_gloo_available()
    assert dist.get_backend() == "mpi"
    assert not dist.is_torchelastic_launched()
    assert 0 <= dist.get_rank() < dist.get_world_size()
    assert dist.get_local_rank() == dist.get_rank()
    x, size = gpunn.zeros(2), dist.get_world_size()
    for call, error, words in (
        (lambda: dist.init_process_group(), UsageError, "there is a group already"),
        (lambda: dist.broadcast(x, size), UsageError, f"a rank from 0 to {size - 1}; got {size}"),
        (lambda: dist.broadcast(x, 0, group_src=0), UsageError, "are the same here"),
        (lambda: dist.all_reduce(x, cast(Any, "sum")), UsageError, "ReduceOp.SUM"),
        (lambda: dist.all_gather([x] * (size + 1), x), ShapeError, f"expected {size} tensors"),
        (lambda: dist.all_gather([gpunn.zeros(3)] * size, x), ShapeError, "expected tensors of shape"),
        (lambda: dist.all_reduce(x, group=1), UsageError, "there is one group"),
        (lambda: dist.new_group([0]), UsageError, "there is one group"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            call()
    dist.destroy_process_group()
    assert not dist.is_initialized()
    dist.destroy_process_group()


def sampler() -> None:
    """The ranks' indices together are the data set, and each epoch has an order of its own."""
    rank, size = dist.get_rank(), dist.get_world_size()
    for n in (1, 7, 8, 33):
        for shuffle in (False, True):
            for drop_last in (False, True):
                mine = DistributedSampler(range(n), shuffle=shuffle, drop_last=drop_last, seed=3)
                orders = []
                for epoch in (0, 1):
                    mine.set_epoch(epoch)
                    everyone: list[Any] = [None] * size
                    dist.all_gather_object(everyone, list(mine))
                    assert len({len(part) for part in everyone}) == 1
                    assert len(mine) == len(everyone[rank])
                    flat = [i for group in zip(*everyone, strict=True) for i in group]
                    assert set(flat) <= set(range(n))
                    assert drop_last or set(flat) == set(range(n))
                    assert len(flat) == mine.total_size
                    assert not drop_last or len(set(flat)) == len(flat)
                    orders.append(flat)
                assert shuffle is (orders[0] != orders[1]) or n < 7


# -- training ----------------------------------------------------------------------------------------------------------


def _lenet(dtype: Any) -> nn.Module:
    layers = (
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    return nn.Sequential(*layers).to(dtype)


def _batches(steps: int, rows: int, dtype: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(5)
    for _ in range(steps):
        labels = rng.integers(0, 10, rows)
        images = rng.standard_normal((rows, 1, 28, 28)) * 0.3
        for image, label in zip(images, labels, strict=True):  # something to learn
            image[0, 2 * label : 2 * label + 4] += 1
        yield images.astype(dtype), labels


def lenet(out: str, optimizer: str, device: str, kind: str, rows: str, steps: str) -> None:
    """Train on parts of batches; rank 0 keeps the parameters and losses."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    dtype = np.dtype(kind)
    gpunn.manual_seed(1 + rank)  # the ranks begin with other parameters
    model = _lenet(dtype).to(device)
    if size == 1:
        gpunn.manual_seed(1)
    net = DistributedDataParallel(model, bucket_cap_mb=0.05) if size > 1 else model
    rate = {"SGD": 0.05, "Adam": 0.001}[optimizer]
    opt = getattr(optim, optimizer)(model.parameters(), lr=rate)

    def step(x: gpunn.Tensor, y: gpunn.Tensor) -> gpunn.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    run = gpunn.capture(step)
    losses = []
    n = int(rows)
    for x, y in _batches(int(steps), n, dtype):
        part = slice(rank * n // size, (rank + 1) * n // size)
        loss = run(gpunn.tensor(x[part], device=device), gpunn.tensor(y[part], device=device)).detach().clone()
        if size > 1:
            dist.all_reduce(loss, dist.ReduceOp.AVG)
        losses.append(loss.item())
    if device != "cpu":
        assert run.graphs == 1
    if size > 1:
        everyone: list[Any] = [None] * size
        dist.all_gather_object(everyone, [p.tolist() for p in model.parameters()])
        assert all(other == everyone[0] for other in everyone), "the ranks' parameters differ"
    if rank == 0:
        gpunn.save({**model.state_dict(), "losses": gpunn.tensor(losses, dtype=np.float64)}, out)


class _Odd(nn.Module):
    """A weight that is used twice, one that a second output needs, one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.second = nn.Linear(4, 2)
        self.unused = nn.Linear(3, 3)
        self.recomputes = False

    def forward(self, x: gpunn.Tensor) -> tuple[gpunn.Tensor, gpunn.Tensor]:
        if self.recomputes and not x.requires_grad:
            return checkpoint(self.forward, x.detach().requires_grad_(True), use_reentrant=False)
        y = self.shared(self.shared(x).tanh())
        return y, self.second(y)


def gradients() -> None:
    """Means of gradients where parameters are shared, unused, recomputed, hooked, and added up before."""
    rank, size = dist.get_rank(), dist.get_world_size()
    inputs = [gpunn.tensor(np.random.default_rng(r).standard_normal((3, 4))) for r in range(size)]

    def fresh() -> _Odd:
        gpunn.manual_seed(7)
        return _Odd().to(np.float64)

    def expected(loss: Any, module: nn.Module) -> list[Any]:
        for x in inputs:
            (loss(module, x) / size).backward()
        return [None if p.grad is None else p.grad.numpy() for p in module.parameters()]

    def compare(found: nn.Module, wanted: list[Any]) -> None:
        for (name, p), w in zip(found.named_parameters(), wanted, strict=True):
            assert (p.grad is None) is (w is None), name
            if w is not None:
                np.testing.assert_allclose(p.grad.numpy(), w, rtol=1e-12, atol=1e-14, err_msg=name)

    both = lambda m, x: m(x)[0].sum() + m(x)[1].square().sum()  # noqa: E731 - forward twice, one backward
    model = fresh()
    with pytest.raises(DistributedError, match=r"no gradient to unused\.weight, unused\.bias"):
        both(DistributedDataParallel(model), inputs[rank]).backward()
    assert all(p.grad is None for p in model.parameters())
    for megabytes in (None, 1e-5):  # one bucket, and one for each parameter
        model = fresh()
        wrapped = DistributedDataParallel(model, find_unused_parameters=True, bucket_cap_mb=megabytes)
        both(wrapped, inputs[rank]).backward()
        compare(model, expected(both, fresh()))
        model = fresh()
        model.unused.requires_grad_(False)
        both(DistributedDataParallel(model, bucket_cap_mb=megabytes), inputs[rank]).backward()
        compare(model, expected(both, fresh()))

    # Only rank 0 uses the second output: the others' gradient is 0 there.
    model = fresh()
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    y, z = wrapped(inputs[rank])
    (y.sum() + z.sum() if rank == 0 else y.sum()).backward()
    wanted = fresh()
    for r, x in enumerate(inputs):
        y, z = wanted(x)
        ((y.sum() + z.sum() if r == 0 else y.sum()) / size).backward()
    compare(model, [None if p.grad is None else p.grad.numpy() for p in wanted.parameters()])

    # Two batches added up, of which only the second is averaged: the mean of the sums.
    model = fresh()
    model.unused.requires_grad_(False)
    wrapped = DistributedDataParallel(model)
    with wrapped.no_sync():
        both(wrapped, inputs[rank]).backward()
    both(wrapped, inputs[rank]).backward()
    compare(model, [None if g is None else 2 * g for g in expected(both, fresh())])

    # Recomputed in backward, where no tape shows the parameters before.
    model, wanted = fresh(), fresh()
    for module in (model, wanted):
        module.unused.requires_grad_(False)
        module.recomputes = True
    wrapped = DistributedDataParallel(model)
    wrapped(inputs[rank])  # a forward without a backward
    both(wrapped, inputs[rank]).backward()
    compare(model, expected(both, wanted))
    around = checkpoint(lambda v: wrapped(v)[0], inputs[rank], use_reentrant=False).sum()
    with pytest.raises(DistributedError, match="Use checkpoint inside of the module, not around it"):
        around.backward()

    # A hook of the program's own sees this rank's gradient, once.
    model = fresh()
    model.unused.requires_grad_(False)
    seen = []
    model.shared.weight.register_hook(lambda g: seen.append(g.numpy().copy()))
    both(DistributedDataParallel(model), inputs[rank]).backward()
    compare(model, expected(both, fresh()))
    assert len(seen) == 1


def large() -> None:
    """A parameter of 8 MB between small ones, whose mean is made in place."""
    rank, size = dist.get_rank(), dist.get_world_size()
    inputs = [gpunn.tensor(np.random.default_rng(r).standard_normal((2, 1024))) for r in range(size)]

    def fresh() -> nn.Module:
        gpunn.manual_seed(7)
        return nn.Sequential(nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, 3)).to(np.float64)

    model, wanted = fresh(), fresh()
    wrapped = DistributedDataParallel(model)
    assert len(wrapped._reducer.bucket_bytes) == 2
    for _ in range(2):
        wrapped(inputs[rank]).sum().backward()
        for x in inputs:
            (wanted(x).sum() / size).backward()
        for found, p in zip(model.parameters(), wanted.parameters(), strict=True):
            np.testing.assert_allclose(found.grad.numpy(), p.grad.numpy(), rtol=1e-10, atol=1e-13)
            p.grad = None
        model.zero_grad()


def start() -> None:
    """Parameters and buffers become rank 0's; models that differ are told of by name."""
    rank = dist.get_rank()
    gpunn.manual_seed(rank)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model[1].running_mean.fill_(rank)
    wrapped = DistributedDataParallel(model)
    gpunn.manual_seed(0)
    first = nn.Linear(3, 4)
    assert (model[0].weight == first.weight).all().item()
    assert model[1].running_mean.tolist() == [0.0] * 4
    assert all(name.startswith("module.") for name in wrapped.state_dict())
    model[1].running_mean.fill_(rank)
    wrapped(gpunn.ones(2, 3) * gpunn.tensor([[1.0], [2.0]])).sum().backward()  # begins with rank 0's buffers
    means: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(means, model[1].running_mean.tolist())
    assert all(mean == means[0] for mean in means)
    for build, words in (
        (lambda: nn.Linear(3, 4 + rank), "weight (4, 3) float32"),
        (lambda: nn.Linear(3, 4, bias=rank == 0), "bias (4,) float32"),
        (lambda: nn.Linear(3, 4).to(np.float64 if rank else np.float32), "float64"),
        (lambda: nn.Linear(3, 4).requires_grad_(True) if rank else _frozen(), "without a gradient"),
    ):
        with pytest.raises(DistributedError, match=f"modules differ.*{re.escape(words)}"):
            DistributedDataParallel(build())
    for wrong in (nn.Sequential(nn.ReLU()), nn.Linear(2, 2).requires_grad_(False)):
        with pytest.raises(UsageError, match="no parameter of the module requires a gradient"):
            DistributedDataParallel(wrong)


def _frozen() -> nn.Module:
    made = nn.Linear(3, 4)
    made.bias.requires_grad_(False)
    return made


# -- faults ------------------------------------------------------------------------------------------------------------


def faults(kind: str) -> None:
    """One rank, or all, do what they should not; the test looks at how the job ends."""
    rank = dist.get_rank()
    dist.barrier()
    print(f"ready {rank} {os.getpid()}", flush=True)
    if kind == "one raises" and rank == 1:
        raise ValueError("only here")
    if kind == "all raise":
        raise ValueError("everywhere")
    if kind == "one exits" and rank == 1:
        sys.exit(0)
    if kind == "killed" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "late" and rank == 1:
        time.sleep(5)
    if kind == "never" and rank == 1:
        time.sleep(100)
    dist.barrier()
    print("done", flush=True)


def main() -> None:
    """Run a check in the group."""
    name, *arguments = sys.argv[1:]
    limit = datetime.timedelta(seconds=4) if arguments == ["never"] else None
    dist.init_process_group(timeout=limit)
    globals()[name](*arguments)


if __name__ == "__main__":
    main()
