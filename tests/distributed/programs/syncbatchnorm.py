"""What each rank does in ``tests/distributed/test_syncbatchnorm.py``: ``... syncbatchnorm NAMES DEVICE DTYPES``.

Names and dtypes are separated by commas: all of the former with all of the latter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import distributed as dist
from gpunn import nn, optim
from gpunn.errors import CaptureError, DistributedError, ShapeError
from gpunn.models.resnet_cifar import ResNetCifar
from gpunn.nn import functional as F
from gpunn.nn.parallel import DistributedDataParallel
from gpunn.utils.checkpoint import checkpoint

CHECKS: dict[str, Callable[[str, Any], None]] = {}
# Of all ranks' sizes: 1e-12 in float64; in float32 some 40 roundings, of sums of up to 300 numbers in another order.
LIMIT = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 5e-6}


def check(function: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
    CHECKS[function.__name__] = function
    return function


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def my_part(counts: list[int]) -> slice:
    start = sum(counts[: dist.get_rank()])
    return slice(start, start + counts[dist.get_rank()])


def on_all(own: np.ndarray) -> list[np.ndarray]:
    """Everybody's array."""
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, own)
    return everyone


def assert_near(what: str, got: np.ndarray, expected: np.ndarray, dtype: Any, units: float = 1) -> None:
    limit = units * LIMIT[np.dtype(dtype)] * np.abs(expected).max(initial=1)
    off = np.abs(got - expected).max(initial=0)
    assert got.shape == expected.shape, (what, got.shape, expected.shape)
    assert off <= limit, f"{what}: off by {off:.2e}, allowed are {limit:.2e}"


# -- one layer --------------------------------------------------------------------------------------------------------

_ROWS = ([3, 5, 2, 1], [0, 4, 0, 7], [6, 0, 1, 0])  # of the ranks' batches, the first of them
_KINDS: dict[str, dict[str, Any]] = {
    "rows": {"rest": ()},
    "sequences": {"rest": (7,), "momentum": None},
    "images": {"rest": (4, 5), "relu": True, "residual": True},
    "volumes": {"rest": (2, 3, 2), "relu": True},
    "no parameters": {"rest": (3, 2), "affine": False, "residual": True},
    "no bias": {"rest": (), "bias": False},
    "no estimates": {"rest": (2,), "tracked": False},
}


@check
def layers(device: str, dtype: Any) -> None:
    """Three batches of different sizes: the same as a batch norm of all ranks' rows in float64."""
    plain = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    for name, kind in _KINDS.items():
        options = (4, 1e-4, kind.get("momentum", 0.3), kind.get("affine", True), kind.get("tracked", True))
        more = {"bias": kind.get("bias", True)}
        mine = nn.SyncBatchNorm(*options, device=device, dtype=dtype, **more)
        whole = plain[len(kind["rest"])](*options, dtype=np.float64, **more)
        for k, parameter in enumerate(mine.parameters()):
            parameter.data = gpunn.tensor(numbers(4, seed=k).astype(dtype), device=device)
        for parameter, given in zip(whole.parameters(), mine.parameters(), strict=True):
            parameter.data = gpunn.tensor(given.detach().numpy().astype(np.float64))
        for step, rows in enumerate(_ROWS):
            counts = rows[: dist.get_world_size()]
            x = (3 * numbers(sum(counts), 4, *kind["rest"], seed=10 + step) + 2).astype(dtype)
            extra = numbers(*x.shape, seed=20 + step).astype(dtype) if kind.get("residual") else None
            got = _gradients(mine, x, extra, my_part(counts), device, dtype, kind)
            expected = _gradients(whole, x, extra, slice(None), "cpu", np.float64, kind)
            for key, value in expected.items():
                if key in ("weight", "bias"):  # this rank's part of a sum
                    assert_near(f"{name}: {key}", np.sum(on_all(got[key]), axis=0), value, dtype)
                else:
                    assert_near(f"{name}: {key}", got[key], value[my_part(counts)], dtype)
            for key, buffer in mine.named_buffers():
                assert_near(f"{name}: {key}", buffer.numpy(), dict(whole.named_buffers())[key].numpy(), dtype)
                for other in on_all(buffer.numpy()):
                    np.testing.assert_array_equal(buffer.numpy(), other, f"{name}: {key} of another rank")


def _gradients(layer: Any, x: Any, extra: Any, part: slice, device: str, dtype: Any, kind: Any) -> dict[str, Any]:
    leaves = {"x": x[part]} | ({} if extra is None else {"residual": extra[part]})
    given = {k: gpunn.tensor(v.astype(dtype), device=device, requires_grad=True) for k, v in leaves.items()}
    y = layer(given["x"], residual=given.get("residual"), activation="relu" if kind.get("relu") else None)
    layer.zero_grad()
    (y * y).sum().backward()
    made = {"y": y.detach(), **{k: t.grad for k, t in given.items()}}
    return {k: v.numpy() for k, v in (made | {k: p.grad for k, p in layer.named_parameters()}).items()}


@check
def modes(device: str, dtype: Any) -> None:
    """Under no_grad the ranks still meet; in evaluation, and in one without estimates, a rank is alone."""
    rank = dist.get_rank()
    layer = nn.SyncBatchNorm(3, device=device, dtype=dtype)
    x = gpunn.tensor(numbers(4, 3, seed=rank).astype(dtype), device=device, requires_grad=True)
    with gpunn.set_grad_enabled(rank == 0):
        y = layer(x)
    assert y.requires_grad == (rank == 0)
    whole = np.concatenate(on_all(x.detach().numpy()))
    expected = (whole - whole.mean(axis=0)) / np.sqrt(whole.var(axis=0) + 1e-5)
    assert_near("y", y.detach().numpy(), expected[4 * rank : 4 * rank + 4], dtype)
    for other in (layer.eval(), nn.SyncBatchNorm(3, track_running_stats=False, device=device, dtype=dtype).eval()):
        if rank == 0:  # the others make no call
            other(x).sum().backward()


@check
def too_small(device: str, dtype: Any) -> None:
    """One value on all ranks together is refused on each; one on this rank is not."""
    layer = nn.SyncBatchNorm(3, device=device, dtype=dtype)
    ones = gpunn.ones(1, 3, device=device, dtype=dtype)
    for rank in range(dist.get_world_size()):
        with pytest.raises(ShapeError, match=r"SyncBatchNorm: expected more than 1 value per channel.* ranks together"):
            layer(ones if dist.get_rank() == rank else ones[:0])
    assert not layer.running_mean.numpy().any()
    assert layer.num_batches_tracked.item() == 0
    layer(ones * dist.get_rank())
    assert layer.num_batches_tracked.item() == 1
    layer(ones[:0])  # nothing anywhere
    assert layer.num_batches_tracked.item() == 1


@check
def computed_again(device: str, dtype: Any) -> None:
    """A checkpoint calls the layer a second time, within backward: the same gradients."""
    got = []
    for again in (False, True):
        layer = nn.SyncBatchNorm(3, device=device, dtype=dtype)
        x = gpunn.tensor(numbers(4, 3, seed=dist.get_rank()).astype(dtype), device=device, requires_grad=True)
        y = checkpoint(layer, x, use_reentrant=False) if again else layer(x)
        (y * y * y).sum().backward()
        got.append((x.grad.numpy(), layer.weight.grad.numpy()))
    for one, other in zip(*got, strict=True):
        np.testing.assert_array_equal(one, other)


@check
def ended(device: str, dtype: Any) -> None:
    """Rank 1 makes one call less than the others, which learn of it."""
    layer = nn.SyncBatchNorm(3, device=device, dtype=dtype)
    x = gpunn.ones(4, 3, device=device, dtype=dtype)
    layer(x)
    if dist.get_rank() != 1:
        with pytest.raises(DistributedError, match=r"all_gather: rank 1 .* ended before"):
            layer(x)
        print("told")


# -- networks ---------------------------------------------------------------------------------------------------------


def network(device: str, dtype: Any, bias: bool = False) -> nn.Sequential:
    """Convolutions and batch norms, with fused neighbours."""
    gpunn.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=bias), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32, 16, bias=bias), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 5),
    )  # fmt: skip
    return net.to(device=device, dtype=dtype)


_OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4),
    "Adam": lambda p: optim.Adam(p, lr=1e-2),
}


def trained(net: Any, optimiser: Any, batches: list[tuple[Any, Any]], captured: bool = False) -> list[float]:
    """The losses of steps on these batches."""

    def step(x: Any, target: Any) -> Any:
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x), target)
        loss.backward()
        optimiser.step()
        return loss

    run = gpunn.capture(step) if captured else step
    return [run(*batch).item() for batch in batches]


def batches_of(count: int, size: int, part: slice, device: str, dtype: Any) -> list[tuple[Any, Any]]:
    made = []
    for k in range(count):
        x, target = numbers(size, 1, 8, 8, seed=k), np.random.default_rng(k).integers(0, 5, size)
        x = x + 0.5 * target[:, None, None, None]
        made.append((x[part].astype(dtype), target[part]))
    return [(gpunn.tensor(x, device=device), gpunn.tensor(target, device=device)) for x, target in made]


def state_of(net: Any) -> dict[str, np.ndarray]:
    return {key.removeprefix("module."): value.numpy().copy() for key, value in net.state_dict().items()}


@check
def training(device: str, dtype: Any) -> None:
    """Twenty steps on the ranks' parts of batches of 128: the weights of one process with the whole batches."""
    ranks = dist.get_world_size()
    for name, make in _OPTIMISERS.items():
        alone = network(device, dtype)
        whole = trained(alone, make(alone.parameters()), batches_of(20, 128, slice(None), device, dtype))
        net = DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(network(device, dtype)))
        part = my_part([128 // ranks] * ranks)
        losses = trained(net, make(net.parameters()), batches_of(20, 128, part, device, dtype))
        losses = np.mean(on_all(np.array(losses)), axis=0)
        assert whole[-1] < 0.5 * whole[0], "nothing was learnt, which says little"
        expected, got = state_of(alone), state_of(net)
        off = {key: float(np.abs(got[key] - expected[key]).max()) for key in expected}
        worst = max(off, key=lambda key: off[key])
        if dist.get_rank() == 0:
            apart = np.abs(losses - whole).max()
            print(f"{name} {np.dtype(dtype)}: {worst} is off by {off[worst]:.2e}, a loss by {apart:.2e}")
        # Roundings that 20 steps have carried along: 2e-15 and 6e-7 were measured, of numbers up to 2. Convolutions in
        # front of norms have no bias: its gradient is 0, of which Adam divides the roundings by their own size.
        limit = 1e-12 if dtype == np.float64 else 5e-6
        assert max(off.values()) <= limit, (name, off)
        for key, value in got.items():
            for other in on_all(value):
                np.testing.assert_array_equal(value, other, f"{name}: {key} of another rank")


@check
def captured(device: str, dtype: Any) -> None:
    """A captured step is the eager one, bit for bit, in batches of two sizes."""
    states = []
    for capture in (False, True):
        net = DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(network(device, dtype)))
        size, rank = dist.get_world_size(), dist.get_rank()
        large = batches_of(4, 5 * size, slice(5 * rank, 5 * rank + 5), device, dtype)
        small = batches_of(3, 3 * size, slice(3 * rank, 3 * rank + 3 - rank % 3), device, dtype)
        order = [large[0], large[1], small[0], large[2], small[1], large[3], small[2]]
        optimiser = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        states.append((trained(net, optimiser, order, capture), state_of(net)))
    assert states[0][0] == states[1][0]
    for key, value in states[0][1].items():
        np.testing.assert_array_equal(value, states[1][1][key], key)


@check
def residual_network(device: str, dtype: Any) -> None:
    """A ResNet, whose norms add and rectify, after one step: as with the whole batch."""
    gpunn.manual_seed(2)
    alone = ResNetCifar(20).to(device=device, dtype=dtype)
    gpunn.manual_seed(2)
    net = DistributedDataParallel(
        nn.SyncBatchNorm.convert_sync_batchnorm(ResNetCifar(20).to(device=device, dtype=dtype))
    )
    ranks = dist.get_world_size()
    x, target = numbers(2 * ranks, 3, 16, 16).astype(dtype), np.arange(2 * ranks) % 10
    for model, part in ((alone, slice(None)), (net, my_part([2] * ranks))):
        y = model(gpunn.tensor(x[part], device=device))
        F.cross_entropy(y, gpunn.tensor(target[part], device=device)).backward()
    for (key, p), q in zip(alone.named_parameters(), net.parameters(), strict=True):
        assert_near(key, q.grad.numpy(), p.grad.numpy(), dtype, 100)  # through 20 layers
    expected, got = state_of(alone), state_of(net)
    for key, value in expected.items():
        assert_near(key, got[key], value, dtype, 10)


@check
def unused(device: str, dtype: Any) -> None:
    """Ranks that use other parameters before their last batch norm: their calls stay in order."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.SyncBatchNorm(3, device=device, dtype=dtype)
            self.last = nn.Linear(3, 2, device=device, dtype=dtype)
            self.first = nn.Linear(3, 3, device=device, dtype=dtype)  # registered last, so its bucket is the first

        def forward(self, x: Any) -> Any:
            return self.last(self.norm(self.first(x) if dist.get_rank() == 0 else x.requires_grad_()))

    gpunn.manual_seed(3)
    net = DistributedDataParallel(Net(), find_unused_parameters=True, bucket_cap_mb=1e-5)
    for step in range(3):
        net(gpunn.tensor(numbers(4, 3, seed=step).astype(dtype), device=device)).square().sum().backward()
    for other in on_all(net.module.first.weight.grad.numpy()):
        np.testing.assert_array_equal(net.module.first.weight.grad.numpy(), other)


@check
def captured_by_mpi(device: str, dtype: Any) -> None:
    """MPI reads memory of the host, at the time of the call: no graph of a GPU can hold that."""
    layer = nn.SyncBatchNorm(3, device=device, dtype=dtype)
    step = gpunn.capture(lambda x: layer(x).sum())
    x = gpunn.tensor(numbers(4, 3).astype(dtype), device=device)
    step(x)
    with pytest.raises(CaptureError, match=r"all_gather: MPI, .* Use the backend 'nccl'"):
        step(x)
    layer(x)  # the ranks are still together


def main(names: str, device: str, dtypes: str) -> None:
    # Ranks of a GPU each have NCCL; on one GPU, or where kernels run on the CPU, arrays travel by MPI.
    dist.init_process_group("mpi" if names == "captured_by_mpi" else "auto", timeout=timedelta(seconds=60))
    if dist.get_backend() == "nccl" and device == "cuda":
        device = f"cuda:{dist.get_local_rank()}"
    for name in names.split(","):
        for dtype in dtypes.split(","):
            CHECKS[name](device, np.dtype(dtype).type)


if __name__ == "__main__":
    main(*sys.argv[1:])
