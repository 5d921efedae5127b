"""Loss layers and softmax layers: options, buffers, repr and state as in PyTorch; they call their functions."""

from __future__ import annotations

import inspect
from typing import Any, cast

import numpy as np
import pytest

import gpunn
import gpunn.nn.functional as F
from gpunn import nn
from gpunn.errors import DTypeError, LabelError, ShapeError, UsageError

_RNG = np.random.Generator(np.random.Philox(6))
_LABELS = np.array([2, 0, -100, 1])
_SCORES = _RNG.standard_normal((4, 3)).astype(np.float32)
_ROWS = {"input": _SCORES, "target": _LABELS}
_PAIR = {"input": _SCORES, "target": _RNG.random((4, 3)).astype(np.float32)}
_UNIT = {"input": _RNG.random((4, 3)).astype(np.float32), "target": _PAIR["target"]}
_WEIGHT = np.array([0.5, 1.0, 2.0], np.float32)


def _layers() -> list[tuple[str, dict[str, Any], dict[str, np.ndarray]]]:
    made: list[tuple[str, dict[str, Any], dict[str, np.ndarray]]] = []
    for reduction in ("mean", "sum", "none"):
        how = {"reduction": reduction}
        made += [("CrossEntropyLoss", how, _ROWS), ("NLLLoss", {**how, "ignore_index": 2}, _ROWS)]
        made += [("CrossEntropyLoss", {**how, "weight": _WEIGHT, "ignore_index": 0, "label_smoothing": 0.1}, _ROWS)]
        made += [
            ("CrossEntropyLoss", {**how, "weight": _WEIGHT}, _PAIR),
            ("NLLLoss", {**how, "weight": _WEIGHT}, _ROWS),
        ]
        made += [(name, how, _PAIR) for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss")]
        made += [("SmoothL1Loss", {**how, "beta": 0.3}, _PAIR), ("HuberLoss", {**how, "delta": 0.3}, _PAIR)]
        made += [("BCELoss", how, _UNIT), ("BCELoss", {**how, "weight": _WEIGHT}, _UNIT)]
        made += [("BCEWithLogitsLoss", {**how, "weight": _WEIGHT, "pos_weight": 2 * _WEIGHT}, _PAIR)]
    return made


@pytest.mark.parametrize(("name", "how", "given"), _layers())
def test_layers_match_torch(name: str, how: dict[str, Any], given: dict[str, np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    if name == "NLLLoss" and "ignore_index" in how:
        given = {**given, "target": np.array([2, 0, 0, 1])}
    if how.get("ignore_index") == 0:
        given = {**given, "target": np.array([2, 0, 0, 1])}

    def build(module: Any, make: Any) -> Any:
        return getattr(module, name)(**{k: make(v) if isinstance(v, np.ndarray) else v for k, v in how.items()})

    mine, other = build(nn, gpunn.tensor), build(torch.nn, torch.tensor)
    assert repr(mine) == repr(other)
    assert {k: v.shape for k, v in mine.state_dict().items()} == {
        k: tuple(v.shape) for k, v in other.state_dict().items()
    }
    x, y = gpunn.tensor(given["input"], requires_grad=True), torch.tensor(given["input"], requires_grad=True)
    loss, expected = mine(x, gpunn.tensor(given["target"])), other(y, torch.tensor(given["target"]))
    np.testing.assert_allclose(
        loss.detach().numpy(), expected.detach().numpy(), rtol=0, atol=2e-6
    )  # a dozen of order 1
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5, atol=1e-6)  # of 1 / (p (1 - p)): up to 50


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax_layers(name: str) -> None:
    torch = pytest.importorskip("torch")
    mine, other = getattr(nn, name)(dim=1), getattr(torch.nn, name)(dim=1)
    assert repr(mine) == repr(other)
    x = np.random.Generator(np.random.Philox(0)).standard_normal((2, 3, 4, 5)).astype(np.float32)
    y = mine(gpunn.tensor(x))
    np.testing.assert_allclose(y.numpy(), other(torch.tensor(x)).numpy(), rtol=0, atol=1e-6)  # some roundings
    with pytest.raises(UsageError, match=rf"^{name}: dim: expected the axis"):
        getattr(nn, name)()
    with pytest.raises(DTypeError, match=rf"^{name}: expected a floating dtype"):
        mine(gpunn.arange(3))


def test_probability_cross_entropy_layer() -> None:
    p = gpunn.softmax(gpunn.tensor(_SCORES), 1)
    labels, weight = gpunn.tensor(_LABELS), gpunn.tensor(_WEIGHT)
    for how in ({}, {"reduction": "sum"}, {"reduction": "none"}, {"ignore_index": 0}):
        target = gpunn.tensor(np.array([2, 0, 0, 1])) if "ignore_index" in how else labels
        layer = nn.ProbabilityCrossEntropyLoss(weight, **how)
        expected = F.cross_entropy(gpunn.tensor(_SCORES), target, weight, **how)
        np.testing.assert_allclose(layer(p, target).numpy(), expected.numpy(), rtol=1e-5)
    assert list(layer.state_dict()) == ["weight"]
    assert list(nn.ProbabilityCrossEntropyLoss().state_dict()) == []


def test_half_mean() -> None:
    loss = nn.MSELoss(reduction="half_mean")
    assert loss(gpunn.tensor([[3.0, 4.0], [0.0, 0.0]]), gpunn.zeros(2, 2)).item() == 25 / 4


_LAYERS = [
    "CrossEntropyLoss",
    "NLLLoss",
    "MSELoss",
    "L1Loss",
    "SmoothL1Loss",
    "HuberLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
]
_FUNCTIONS = [
    "cross_entropy",
    "nll_loss",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
]
_FUNCTIONS += ["binary_cross_entropy_with_logits"]


@pytest.mark.parametrize(("place", "name"), [*(("", n) for n in _LAYERS), *(("functional", n) for n in _FUNCTIONS)])
def test_arguments_are_those_of_torch(place: str, name: str) -> None:
    """Names, defaults and order."""
    torch = pytest.importorskip("torch")
    mine, theirs = (
        inspect.signature(getattr(library.nn.functional if place else library.nn, name)).parameters
        for library in (gpunn, torch)
    )
    assert {n: p.default for n, p in mine.items()} == {n: p.default for n, p in theirs.items()}
    assert list(mine) == list(theirs)


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
def test_the_older_names_of_reduction(size_average: bool | None, reduce: bool | None) -> None:
    torch = pytest.importorskip("torch")
    x, target = np.array([[1.0, -2.0, 4.0], [0.5, 0.25, 0.125]], np.float32), np.array([2, 0])
    how: dict[str, Any] = {"size_average": size_average, "reduce": reduce}

    def of(library: Any) -> list[np.ndarray]:
        a, t = library.tensor(x), library.tensor(target)
        found = [
            library.nn.MSELoss(**how)(a, a * 0),
            library.nn.CrossEntropyLoss(**how)(a, t),
            library.nn.functional.l1_loss(a, a * 0, size_average, reduce),  # their places are those of PyTorch
            library.nn.functional.nll_loss(a, t, None, size_average, -100, reduce),
        ]
        return [f.numpy() for f in found]

    if size_average is None and reduce is None:
        mine, theirs = of(gpunn), of(torch)
    else:
        with pytest.warns(UserWarning, match="reduction='"):
            mine, theirs = of(gpunn), of(torch)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)  # some roundings


def test_the_warning_names_the_users_line() -> None:
    for call in (lambda: nn.MSELoss(size_average=True), lambda: F.l1_loss(gpunn.ones(1), gpunn.ones(1), reduce=True)):
        with pytest.warns(UserWarning, match="use reduction='mean'") as caught:
            call()
        assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(name: str, reduction: str, kernels: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.Generator(np.random.Philox(5))
    x, target, weight = (rng.uniform(0.1, 2, (3, 4)).astype(np.float32) for _ in range(3))

    def of(library: Any, **where: Any) -> tuple[np.ndarray, np.ndarray]:
        leaf = library.tensor(x, requires_grad=True, **where)
        others = (library.tensor(v, **where) for v in (target, weight))
        t, w = others
        loss = getattr(library.nn.functional, name)(leaf, t, reduction=reduction, weight=w)
        loss.sum().backward()
        return loss.detach().numpy(), leaf.grad.numpy()

    for mine, theirs in zip(of(gpunn, device=kernels), of(torch), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)  # some roundings
    a = gpunn.tensor(x)
    with pytest.raises(ShapeError, match=f"{name}: weight: expected the input's shape"):
        getattr(F, name)(a, a, weight=a[0])


def test_weight_is_a_buffer_that_moves_and_is_saved() -> None:
    loss = nn.CrossEntropyLoss(gpunn.tensor(_WEIGHT))
    assert [name for name, _ in loss.named_buffers()] == ["weight"]
    assert list(loss.parameters()) == []
    other = nn.CrossEntropyLoss(gpunn.ones(3))
    other.load_state_dict(loss.state_dict())
    assert other.weight.tolist() == _WEIGHT.tolist()


def test_weight_moves_to_the_device(kernels: str) -> None:
    loss = nn.CrossEntropyLoss(gpunn.tensor(_WEIGHT), label_smoothing=0.1)
    here = loss(gpunn.tensor(_SCORES), gpunn.tensor(_LABELS)).item()
    loss = loss.to(kernels)
    there = loss(gpunn.tensor(_SCORES, device=kernels), gpunn.tensor(_LABELS, device=kernels))
    assert there.item() == pytest.approx(here, rel=1e-6)  # some roundings


class _Net(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: gpunn.Tensor, target: gpunn.Tensor) -> gpunn.Tensor:
        return self.loss(x, target)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "ProbabilityCrossEntropyLoss"])
def test_a_bad_label_names_the_layer(name: str) -> None:
    with pytest.raises(LabelError, match=rf"^loss \({name}\): label 7 at position 1"):
        _Net(getattr(nn, name)())(gpunn.ones(2, 3), gpunn.tensor([0, 7]))


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss"])
def test_shapes_that_differ_name_the_layer(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"^loss \({name}\): expected a target of the input's shape \(4, 1\)"):
        _Net(getattr(nn, name)())(gpunn.ones(4, 1), gpunn.ones(4))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.MSELoss(reduction="max"), r"MSELoss: reduction: expected one of mean, sum, none, half_mean"),
        (lambda: nn.L1Loss(reduction="half_mean"), r"L1Loss: reduction: expected one of mean, sum, none; got"),
        (lambda: nn.SmoothL1Loss(beta=-1), r"SmoothL1Loss: beta: expected a number of at least 0; got -1"),
        (lambda: nn.HuberLoss(delta=0), r"HuberLoss: delta: expected a finite number of more than 0; got 0"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), r"CrossEntropyLoss: label_smoothing: .* from 0 to 1; got 2"),
        (lambda: nn.BCELoss(weight=cast(Any, [1.0])), r"BCELoss.weight: expected Tensor or None; got list"),
    ],
)
def test_impossible_arguments_are_named_when_the_layer_is_made(make: Any, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make()
