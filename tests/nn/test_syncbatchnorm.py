"""SyncBatchNorm in one process: batch normalisation, with PyTorch's names, state and conversion; when it asks others.

What several ranks compute: tests/ops/test_sync_batch_norm.py, tests/distributed/test_syncbatchnorm.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.distributed.played import SameRows

SHAPES = [(5, 3), (5, 3, 4), (5, 3, 4, 2), (3, 3, 2, 3, 2)]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shape", SHAPES)
def test_is_batch_norm(shape: tuple[int, ...], where: str) -> None:
    from tests.parity import close, torch

    theirs = torch.nn.SyncBatchNorm(3, 1e-4, 0.3).double()
    mine = nn.SyncBatchNorm(3, 1e-4, 0.3, device=where, dtype=gpunn.float64)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for mode in (True, False):
        theirs.train(mode)
        mine.train(mode)
        x = gpunn.tensor(numbers(*shape), device=where, requires_grad=True)
        other = torch.tensor(numbers(*shape), requires_grad=True)
        for y in (mine(x), theirs(other)):
            (y * y * y).sum().backward()
        close("gradient", x.grad.numpy(), other.grad.numpy(), 1e-12, 1.0)  # float64, means of 36 numbers at most
        for key, value in theirs.state_dict().items():
            close(key, mine.state_dict()[key].numpy(), value.numpy(), 1e-12)


def test_converts_as_pytorch_does() -> None:
    torch = pytest.importorskip("torch")

    def made(lib: Any) -> Any:
        inner = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4, affine=False))
        net = lib.nn.ModuleDict({"a": inner, "b": lib.nn.BatchNorm2d(2, 1e-3, None), "c": lib.nn.ReLU()})
        return net.eval()

    before, theirs = made(gpunn), made(torch)
    bias, mean = before["b"].bias, before["b"].running_mean
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(before)
    assert converted is before
    assert repr(converted) == repr(torch.nn.SyncBatchNorm.convert_sync_batchnorm(theirs))
    assert converted["b"].bias is bias
    assert converted["b"].running_mean is mean
    assert [m.training for m in converted.modules()] == [m.training for m in theirs.modules()]
    assert list(converted.state_dict()) == list(theirs.state_dict())
    alone = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(2))
    assert isinstance(alone, nn.SyncBatchNorm)
    assert isinstance(alone, type(nn.BatchNorm2d(2)).__base__)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("ranks", [1, 2])
def test_asks_the_other_ranks_in_training_alone(ranks: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of others with the same rows nothing shows but in the unbiased variance, which is over twice the rows."""
    group = SameRows(ranks)
    monkeypatch.setattr("gpunn.nn.syncbatchnorm.current", lambda: group)
    mine, plain = (
        nn.Sequential(norm(3, momentum=0.5, device=where, dtype=gpunn.float64), nn.ReLU(), nn.Flatten())
        for norm in (nn.SyncBatchNorm, nn.BatchNorm2d)
    )
    assert nn.fusion.fused_pairs(mine) == [(mine[0], mine[1])]
    for mode in (True, False):
        gradients, outputs = [], []
        for net in (mine.train(mode), plain.train(mode)):
            x = gpunn.tensor(numbers(5, 3, 4, 2), device=where, requires_grad=True)
            outputs.append(net(x))
            (outputs[-1] * outputs[-1]).sum().backward()
            gradients.append(x.grad.numpy())
        # float64, sums of 40 numbers; in evaluation the estimates differ as below.
        if mode or ranks == 1:
            np.testing.assert_allclose(outputs[0].detach().numpy(), outputs[1].detach().numpy(), atol=1e-13)
            np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-13)
        assert group.calls == (["all_gather", "all_reduce"] if ranks > 1 else [])
    np.testing.assert_allclose(mine[0].running_mean.numpy(), plain[0].running_mean.numpy(), atol=1e-15)
    own = (plain[0].running_var.numpy() - 0.5) * 39 / 40
    expected = 0.5 + own * (40 * ranks) / (40 * ranks - 1)
    np.testing.assert_allclose(mine[0].running_var.numpy(), expected, atol=1e-14)
    assert mine[0].num_batches_tracked.item() == 1
    none = nn.SyncBatchNorm(3, track_running_stats=False, device=where, dtype=gpunn.float64).eval()
    none(gpunn.tensor(numbers(5, 3), device=where))
    assert len(group.calls) == (2 if ranks > 1 else 0)
    with pytest.raises(ShapeError, match="SyncBatchNorm: expected x of shape"):
        mine[0].train()(gpunn.ones(2, device=where))


def test_refuses() -> None:
    with pytest.raises(ShapeError, match="SyncBatchNorm: expected x of shape"):
        nn.SyncBatchNorm(2)(gpunn.ones(2))
    for call in (nn.SyncBatchNorm, nn.SyncBatchNorm.convert_sync_batchnorm):
        give: Any = call
        with pytest.raises(UsageError, match=r"SyncBatchNorm: process_group=.* there is one group, of all processes"):
            give(nn.ReLU() if call is not nn.SyncBatchNorm else 3, process_group="world")
    wrong: Any = 3
    with pytest.raises(UsageError, match="convert_sync_batchnorm: module: expected a module; got int"):
        nn.SyncBatchNorm.convert_sync_batchnorm(wrong)
