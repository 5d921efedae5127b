"""L2 on weights only: which parameters are which, and the penalty as a number."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import UsageError
from tests.devices import EVERYWHERE


class OddNorm(nn.Module):
    """A norm whose parameters have two axes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.ones((2, 3), np.float32))


class Odd(nn.Module):
    """A bias with three axes, as untied ones have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.ones((2, 3), np.float32))
        self.bias = nn.Parameter(np.ones((2, 3, 3), np.float32))


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3), OddNorm(), Odd())


def _names(net: nn.Module, members: list[Any]) -> set[str]:
    names = {id(p): name for name, p in net.named_parameters()}
    return {names[id(p)] for p in members}


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    net = _net()
    decayed, others = optim.decay_groups(net, 0.1)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert _names(net, decayed["params"]) == {"0.weight", "3.weight", "5.weight"}
    assert _names(net, others["params"]) == {"0.bias", "1.weight", "1.bias", "3.bias", "4.weight", "5.bias"}


def test_named_parameters_go_by_name_and_shape() -> None:
    net = _net()
    decayed, others = optim.decay_groups(net.named_parameters(), 0.1)
    assert _names(net, decayed["params"]) == {"0.weight", "3.weight", "4.weight", "5.weight"}
    assert _names(net, others["params"]) == {"0.bias", "1.weight", "1.bias", "3.bias", "5.bias"}


def test_an_empty_group_is_left_out() -> None:
    w = gpunn.ones(2, 2, requires_grad=True)
    assert len(optim.decay_groups([("w", w)], 0.1)) == 1


def test_refusals() -> None:
    with pytest.raises(UsageError, match="weight_decay: expected a number >= 0"):
        optim.decay_groups(_net(), -1.0)
    with pytest.raises(UsageError, match="pairs of a name and a Tensor; got Parameter"):
        optim.decay_groups(cast(Any, _net().parameters()), 0.1)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_penalty_is_half_lambda_times_the_squares_of_the_weights(where: str) -> None:
    net = nn.Linear(2, 2).to(where)
    with gpunn.no_grad():
        net.weight.copy_(np.array([[1, 2], [3, 4]], np.float32))
        net.bias.fill_(7)
    groups = optim.decay_groups(net, 0.5)
    assert optim.l2_penalty(groups) == pytest.approx(0.25 * 30, rel=1e-6)
    optimizer = optim.SGD(groups, lr=0.1)
    assert optim.l2_penalty(optimizer) == pytest.approx(0.25 * 30, rel=1e-6)
    assert optim.l2_penalty(optim.SGD(net.parameters(), lr=0.1)) == 0
