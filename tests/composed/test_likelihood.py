"""Losses of distributions and of margins between classes: PyTorch's values and gradients under every option."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import RangeError, ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE

# Some dozen roundings of numbers of order one.
TOLERANCE = 1e-13


def _numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


A, B, C = (_numbers(6, 5, seed=seed) for seed in (1, 2, 3))
COUNTS, LABELS = np.random.Generator(np.random.Philox(5)).integers(0, 5, (2, 6, 5)).astype(np.float64)
CLASSES, WEIGHT = np.array([0, 4, 2, 2, 1, 3]), np.abs(_numbers(5, seed=9))
CASES: list[tuple[str, dict[str, np.ndarray], dict[str, Any]]] = [
    ("gaussian_nll_loss", {"input": A, "target": B, "var": C**2}, {}),
    ("gaussian_nll_loss", {"input": A, "target": B, "var": C[:, 0] ** 2}, {"full": True, "eps": 0.5}),
    ("gaussian_nll_loss", {"input": A, "target": B, "var": C[:, :1] ** 2}, {}),
    ("poisson_nll_loss", {"input": A, "target": COUNTS}, {}),
    ("poisson_nll_loss", {"input": A, "target": COUNTS}, {"full": True}),
    ("poisson_nll_loss", {"input": A**2, "target": COUNTS}, {"log_input": False, "eps": 1e-2}),
    ("multilabel_soft_margin_loss", {"input": A, "target": LABELS % 2}, {}),
    ("multilabel_soft_margin_loss", {"input": A[0], "target": LABELS[0] % 2, "weight": WEIGHT}, {}),
    ("multi_margin_loss", {"input": A, "target": CLASSES}, {}),
    ("multi_margin_loss", {"input": A, "target": CLASSES, "weight": WEIGHT}, {"p": 2, "margin": 0.5}),
    ("multi_margin_loss", {"input": A[0], "target": CLASSES[1]}, {"margin": 2.0}),
    ("triplet_margin_with_distance_loss", {"anchor": A, "positive": B, "negative": C}, {}),
    ("triplet_margin_with_distance_loss", {"anchor": A, "positive": B, "negative": C}, {"swap": True, "margin": 3.0}),
]
LAYER_OF = {
    "gaussian_nll_loss": "GaussianNLLLoss",
    "poisson_nll_loss": "PoissonNLLLoss",
    "multilabel_soft_margin_loss": "MultiLabelSoftMarginLoss",
    "multi_margin_loss": "MultiMarginLoss",
    "triplet_margin_with_distance_loss": "TripletMarginWithDistanceLoss",
}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("name", "given", "options"), CASES)
def test_functions_and_layers_match_torch(
    where: str, name: str, given: dict[str, np.ndarray], options: dict[str, Any]
) -> None:
    parity = pytest.importorskip("tests.parity")
    for reduction in ("mean", "sum", "none"):
        named = {**options, "reduction": reduction}
        ours, theirs = getattr(F, name), getattr(parity.torch.nn.functional, name)
        constant = () if name == "gaussian_nll_loss" else ("target", "weight")
        parity.compare(
            functools.partial(ours, **named), functools.partial(theirs, **named),
            {n: np.asarray(a) for n, a in given.items()}, where, TOLERANCE, constant, 1,
        )  # fmt: skip
        more = {"weight": gpunn.tensor(given["weight"], device=where)} if "weight" in given else {}
        layer = getattr(nn, LAYER_OF[name])(**named, **more)
        values = [gpunn.tensor(np.asarray(a), device=where) for n, a in given.items() if n != "weight"]
        assert layer(*values).tolist() == ours(*values, **named, **more).tolist()
        assert repr(layer) == repr(getattr(parity.torch.nn, LAYER_OF[name])(**named))


def test_a_distance_of_ones_own() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for library in (gpunn, torch):
        tensors = [library.tensor(x) for x in (A, B, C)]
        loss = library.nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().sum(1), margin=2.0)
        found.append(loss(*tensors).item())
    assert found[0] == pytest.approx(found[1], rel=1e-13)
    assert F.gaussian_nll_loss(gpunn.tensor(A), gpunn.tensor(B), 1.0).item() == pytest.approx(((A - B) ** 2).mean() / 2)


def test_captured(kernels: str) -> None:
    x = gpunn.tensor(A.astype(np.float32), device=kernels)
    labels = gpunn.tensor(CLASSES, device=kernels)

    def step(given: Any, classes: Any) -> Any:
        loss = F.gaussian_nll_loss(given, given * 2, given * given) + F.multi_margin_loss(given, classes)
        return loss + F.poisson_nll_loss(given, given * given) + F.multilabel_soft_margin_loss(given, given * given)

    captured = gpunn.capture(step)
    assert [captured(x, labels).item() for _ in range(3)] == [step(x, labels).item()] * 3
    assert captured.graphs == 1


def test_refusals() -> None:
    x, labels = gpunn.ones(2, 3), gpunn.tensor([0, 1])
    for error, text, call in (
        (UsageError, "gaussian_nll_loss: var: expected no negative", lambda: F.gaussian_nll_loss(x, x, -x)),
        (
            ShapeError,
            "gaussian_nll_loss: var: expected the input's",
            lambda: F.gaussian_nll_loss(x, x, gpunn.ones(5, 1)),
        ),
        (UsageError, "gaussian_nll_loss: eps: expected", lambda: F.gaussian_nll_loss(x, x, x, eps=-1)),
        (UsageError, "multi_margin_loss: p: expected 1 or 2; got 3", lambda: F.multi_margin_loss(x, labels, 3)),
        (ShapeError, "multi_margin_loss: expected input", lambda: F.multi_margin_loss(x, labels[:1])),
        (RangeError, "gather: ", lambda: F.multi_margin_loss(x, labels + 2).item()),
        (UsageError, "MultiMarginLoss: p: expected 1 or 2", lambda: nn.MultiMarginLoss(3)),
        (UsageError, "margin: expected a", lambda: F.triplet_margin_with_distance_loss(x, x, x, margin=0)),
        (ShapeError, "equally many axes", lambda: F.triplet_margin_with_distance_loss(x, x[0], x)),
        (UsageError, "TripletMarginWithDistanceLoss: margin", lambda: nn.TripletMarginWithDistanceLoss(margin=0)),
        (ShapeError, "multilabel_soft_margin_loss: input", lambda: F.multilabel_soft_margin_loss(x.sum(), x.sum())),
    ):
        with pytest.raises(error, match=text):
            call()
    for name in LAYER_OF:
        with pytest.raises(UsageError, match=r"reduction: expected one of .* got 'half'"):
            getattr(nn, LAYER_OF[name])(reduction="half")
