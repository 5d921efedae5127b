"""Containers: ModuleDict, ParameterList, ParameterDict, and editing of Sequential and ModuleList."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import RangeError, UnknownNameError, UsageError


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


def _edits(library: Any) -> list[list[Any]]:
    """Kinds of the members, and names of the state, behind each edit of a Sequential and of a ModuleList."""
    made = library.nn
    seen = []

    def note(container: Any) -> None:
        seen.append([type(m).__name__ for m in container] + list(container.state_dict()))

    for kind in ("Sequential", "ModuleList"):

        def new(*members: Any, kind: str = kind) -> Any:
            return made.Sequential(*members) if kind == "Sequential" else made.ModuleList(members)

        net = new(made.Linear(3, 4), made.ReLU(), made.Linear(4, 2))
        note(net.insert(1, made.BatchNorm1d(4)) or net)
        note(net.insert(4, made.Tanh()) or net)
        if kind == "Sequential":  # ModuleList's insert of PyTorch's loses a module there
            note(net.insert(-1, made.Sigmoid()))
            del net[-2]
        del net[0]
        note(net)
        seen.append([type(net.pop(-1)).__name__])
        note(net)
        net += new(made.ELU(), made.Linear(2, 2))
        note(net)
        note(net + new(made.GELU()))
        note(net)
        net.extend(new(made.Sigmoid()))
        note(net[1:3])
        del net[1:3]
        note(net)
    return seen


def test_editing_follows_pytorch() -> None:
    torch = pytest.importorskip("torch")
    assert _edits(gpunn) == _edits(torch)


def test_an_edited_sequential_runs_as_it_is() -> None:
    net = nn.Sequential(nn.Flatten(), nn.ReLU())
    x = gpunn.tensor([[-1.0, 2.0]])
    assert net(x).tolist() == [[0.0, 2.0]]
    net.insert(1, nn.Tanh())
    assert net(x).tolist() == [[0.0, gpunn.tanh(x)[0, 1].item()]]
    assert isinstance(net.pop(2), nn.ReLU)
    assert net(x).tolist() == [gpunn.tanh(x)[0].tolist()]
    with pytest.raises(RangeError, match="Sequential: no place 4 to insert at; there are 2 modules"):
        net.insert(4, nn.ReLU())
    with pytest.raises(UsageError, match="Sequential: expected modules; got int at 0"):
        net.insert(0, 3)  # type: ignore[arg-type]
    with pytest.raises(RangeError, match="Sequential: no module 7; there are 2"):
        net.pop(7)
    with pytest.raises(UsageError, match=r"Sequential: \+: expected another Sequential; got int"):
        net + 3  # type: ignore[operator]


def test_module_dict_gives_modules_back() -> None:
    made = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
    assert isinstance(made.pop("a"), nn.ReLU)
    assert list(made) == ["b"]
    made.clear()
    assert len(made) == 0
    with pytest.raises(UnknownNameError, match="ModuleDict: no module 'b'"):
        made.pop("b")


def test_parameter_lists_grow() -> None:
    made = nn.ParameterList([gpunn.ones(2)]).extend([gpunn.zeros(3)])
    made += [gpunn.zeros(1)]
    assert [tuple(p.shape) for p in made] == [(2,), (3,), (1,)]
    assert list(made.state_dict()) == ["0", "1", "2"]


def test_parameter_dict_follows_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def of(library: Any) -> list[Any]:
        made = library.nn.ParameterDict({"b": library.ones(2), "a": library.nn.Parameter(library.zeros(3))})
        made["c"] = library.nn.Parameter(library.ones(1))
        made.update({"a": library.nn.Parameter(library.ones(4))})
        found = [list(made), len(made), "a" in made, "z" in made, made.get("z", 5), list(made.state_dict())]
        found += [[tuple(p.shape) for p in made.values()], [name for name, _ in made.items()], list(made.keys())]
        found += [tuple(made.pop("b").shape), list(made), [tuple(p.shape) for p in made.parameters()]]
        (made["a"] * 2).sum().backward()
        found.append(made["a"].grad.tolist())
        del made["c"]
        found.append(list(made))
        made.clear()
        return [*found, len(made)]

    assert of(gpunn) == of(torch)
    made = nn.ParameterDict([("a", gpunn.ones(2))])
    assert repr(made) == "ParameterDict((a): Parameter (2,))"
    with pytest.raises(UnknownNameError, match="ParameterDict: no parameter 'b'"):
        made["b"]
    with pytest.raises(UsageError, match="ParameterDict: expected a parameter or tensor for 'b'; got int"):
        made["b"] = 3  # type: ignore[assignment]
    with pytest.raises(UsageError, match="ParameterDict: expected a dict or pairs of name and parameter; got str"):
        nn.ParameterDict(["ab"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="ParameterDict: it cannot be called"):
        made()


def test_a_list_writes_neighbours_that_are_alike_once() -> None:
    parity = pytest.importorskip("tests.parity")

    def of(library: Any) -> str:
        nn = library.nn
        inner = [nn.Linear(2, 3), nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU())]
        return repr(nn.ModuleList(inner)) + repr(nn.ModuleList())

    assert of(gpunn) == of(parity.torch)


def test_no_module_at_a_place() -> None:
    """As networks are written whose last stage lacks a part."""
    torch = pytest.importorskip("torch")
    told = []
    for lib in (gpunn, torch):
        part = lib.nn.Linear(2, 3)
        parts = lib.nn.ModuleList([part, None])
        parts.append(None)
        named = lib.nn.ModuleDict({"a": part, "b": None})
        named["c"] = None
        assert (parts[1], parts[-1], named["b"], named["c"]) == (None,) * 4
        assert [m for m in parts if m is not None] == [m for m in named.values() if m is not None] == [part]
        assert parts.pop(1) is named.pop("b") is None
        told.append([repr(parts), repr(named), list(parts.state_dict()), list(named.state_dict()), len(parts)])
    assert told[0] == told[1]
    with pytest.raises(UsageError, match="Sequential: expected modules; got NoneType at '0'"):
        nn.Sequential(None)
