"""ModuleDict and ParameterList."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import UsageError


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict([("a", nn.Linear(3, 2)), ("b", nn.Linear(3, 1))])
        self.scales = nn.ParameterList([gpunn.ones(2), nn.Parameter(gpunn.zeros(1))])

    def forward(self, x, head):
        return self.heads[head](x) * self.scales[0 if head == "a" else -1]


def test_their_parameters_belong_to_the_module() -> None:
    net = Heads()
    names = [name for name, _ in net.named_parameters()]
    assert names == ["heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias", "scales.0", "scales.1"]
    net(gpunn.ones(4, 3), "a").sum().backward()
    assert net.scales[0].grad is not None
    assert net.heads["b"].weight.grad is None
    other = Heads()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other.heads["a"].weight.detach().numpy(), net.heads["a"].weight.detach().numpy())


def test_keys_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    module: Any = torch.nn.Module

    class Theirs(module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(3, 1)})
            self.scales = torch.nn.ParameterList([torch.ones(2), torch.nn.Parameter(torch.zeros(1))])

    assert sorted(Theirs().state_dict()) == sorted(Heads().state_dict())


def test_module_dict_is_a_mapping() -> None:
    made = nn.ModuleDict({"x": nn.ReLU()})
    made["y"] = nn.Tanh()
    made.update({"x": nn.Sigmoid()})
    assert (list(made), len(made), "y" in made, "z" in made) == (["x", "y"], 2, True, False)
    assert [type(m).__name__ for m in made.values()] == ["Sigmoid", "Tanh"]
    assert [name for name, _ in made.items()] == list(made.keys())
    del made["x"]
    assert list(made) == ["y"]
    with pytest.raises(KeyError):
        made["x"]
    with pytest.raises(UsageError, match="ModuleDict: expected modules; got int at 'n'"):
        made["n"] = cast(Any, 3)
    with pytest.raises(UsageError, match="cannot be called"):
        made(gpunn.ones(1))


def test_parameter_list_refuses_and_shows() -> None:
    made = nn.ParameterList([gpunn.ones(2, 3)])
    assert "Parameter (2, 3)" in repr(made)
    assert [p.shape for p in made] == [(2, 3)]
    for index in (1, -2):
        with pytest.raises(IndexError, match=f"no parameter {index}; there are 1"):
            made[index]
    with pytest.raises(UsageError, match="expected parameters or tensors; got list"):
        made.append(cast(Any, [1.0]))
