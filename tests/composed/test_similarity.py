"""Similarities and the losses made of them: PyTorch's values and gradients under every option, and what they refuse."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE

# Some dozen roundings of numbers of order one.
TOLERANCE = {np.float32: 5e-6, np.float64: 1e-13}


def _numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape)


def _signs(*shape: int) -> np.ndarray:
    return np.where(_numbers(*shape, seed=9) > 0, 1.0, -1.0)


def _probabilities(*shape: int) -> np.ndarray:
    p = np.exp(_numbers(*shape, seed=8))
    p[0, 0] = 0  # 0 log(0)
    return p / p.sum(-1, keepdims=True)


A, B, C = (_numbers(6, 5, seed=seed) for seed in (1, 2, 3))
CASES: list[tuple[str, dict[str, np.ndarray], dict[str, Any]]] = [
    ("cosine_similarity", {"x1": A, "x2": B}, {}),
    ("cosine_similarity", {"x1": _numbers(2, 3, 4, 5), "x2": _numbers(3, 1, 5, seed=1)}, {"dim": -1, "eps": 0.1}),
    ("pairwise_distance", {"x1": A, "x2": B}, {}),
    ("pairwise_distance", {"x1": A, "x2": B[0]}, {"p": 1.0, "keepdim": True}),
    ("pairwise_distance", {"x1": A[0], "x2": B[0]}, {"p": 3.0, "eps": 0.5}),
    ("kl_div", {"input": A, "target": _probabilities(6, 5)}, {}),
    ("kl_div", {"input": A, "target": B}, {"log_target": True}),
    ("triplet_margin_loss", {"anchor": A, "positive": B, "negative": C}, {}),
    ("triplet_margin_loss", {"anchor": A, "positive": B, "negative": C}, {"margin": 0.3, "p": 1.0, "swap": True}),
    ("triplet_margin_loss", {"anchor": A[0], "positive": B[0], "negative": C[0]}, {"margin": 5.0, "eps": 0.1}),
    ("margin_ranking_loss", {"input1": A, "input2": B, "target": _signs(6, 5)}, {}),
    ("margin_ranking_loss", {"input1": A[0], "input2": B[0], "target": _signs(5)}, {"margin": 0.5}),
    ("hinge_embedding_loss", {"input": A, "target": _signs(6, 5)}, {}),
    ("hinge_embedding_loss", {"input": A, "target": _signs(6, 5)}, {"margin": 0.25}),
    ("cosine_embedding_loss", {"input1": A, "input2": B, "target": _signs(6)}, {}),
    ("cosine_embedding_loss", {"input1": A, "input2": B, "target": _signs(6)}, {"margin": 0.4}),
    ("cosine_embedding_loss", {"input1": A[0], "input2": B[0], "target": np.array(1.0)}, {}),
    ("soft_margin_loss", {"input": A, "target": _signs(6, 5)}, {}),
    ("soft_margin_loss", {"input": 12 * A, "target": _signs(6, 5)}, {}),
]
LAYER_OF = {
    "cosine_similarity": "CosineSimilarity",
    "pairwise_distance": "PairwiseDistance",
    "kl_div": "KLDivLoss",
    "triplet_margin_loss": "TripletMarginLoss",
    "margin_ranking_loss": "MarginRankingLoss",
    "hinge_embedding_loss": "HingeEmbeddingLoss",
    "cosine_embedding_loss": "CosineEmbeddingLoss",
    "soft_margin_loss": "SoftMarginLoss",
}


def _in_order(layer: Any, **tensors: Any) -> Any:
    return layer(*tensors.values())


def _compare(
    ours: Any, theirs: Any, given: dict[str, np.ndarray], named: dict[str, Any], where: str, dtype: Any
) -> None:
    parity = pytest.importorskip("tests.parity")
    parity.compare(
        ours,
        functools.partial(theirs, **named),
        {n: a.astype(dtype) for n, a in given.items()},
        where,
        TOLERANCE[dtype],
        # PyTorch's gradient of a probability of 0 is infinite, ours is tested below.
        no_gradient=() if "log_target" in named else ("target",),
        least_scale=1,
    )


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # PyTorch's, of kl_div's mean
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("name", "given", "options"), CASES)
def test_functions_and_layers_match_torch(
    where: str, name: str, given: dict[str, np.ndarray], options: dict[str, Any]
) -> None:
    parity = pytest.importorskip("tests.parity")
    theirs, layer = getattr(parity.torch.nn.functional, name), getattr(nn, LAYER_OF[name])
    reductions = ["mean", "sum", "none"] if name not in ("cosine_similarity", "pairwise_distance") else [None]
    reductions += ["batchmean"] if name == "kl_div" else []
    for reduction in reductions:
        named = options if reduction is None else {**options, "reduction": reduction}
        assert repr(layer(**named)) == repr(getattr(parity.torch.nn, LAYER_OF[name])(**named))
        made = layer(**named)
        _compare(functools.partial(getattr(F, name), **named), theirs, given, named, where, np.float64)
        _compare(functools.partial(_in_order, made), theirs, given, named, where, np.float32)


def test_short_vectors_are_divided_by_the_least_length() -> None:
    parity = pytest.importorskip("tests.parity")
    theirs = parity.torch.nn.functional.cosine_similarity(parity.torch.tensor(A), parity.torch.tensor(B), eps=3.0)
    got = F.cosine_similarity(gpunn.tensor(A), gpunn.tensor(B), eps=3.0)
    parity.close("cosine", got.numpy(), theirs.numpy(), 1e-13, 1)


def test_zero_probabilities_have_finite_gradients() -> None:
    target = gpunn.tensor([[0.0, 1.0]], requires_grad=True)
    F.kl_div(gpunn.tensor([[-1.0, -2.0]]), target, reduction="sum").backward()
    assert np.isfinite(target.grad.numpy()).all()


def test_soft_margin_is_finite_where_its_formula_overflows() -> None:
    x = gpunn.tensor([-1e4, 1e4], requires_grad=True)
    loss = F.soft_margin_loss(x, gpunn.ones(2), reduction="none")
    loss.sum().backward()
    assert (loss.tolist(), x.grad.tolist()) == ([1e4, 0], [-1, 0])


def test_integers_as_targets() -> None:
    x, target = gpunn.tensor([0.5, 0.25]), gpunn.tensor([1, -1])
    assert F.hinge_embedding_loss(x, target, reduction="none").tolist() == [0.5, 0.75]
    assert F.margin_ranking_loss(x, gpunn.zeros(2), target, reduction="none").tolist() == [0, 0.25]


@pytest.mark.parametrize("name", [name for name in LAYER_OF if name.endswith("loss") or name == "kl_div"])
def test_unknown_reductions(name: str) -> None:
    given = next(case for case in CASES if case[0] == name)[1]
    with pytest.raises(UsageError, match=f"^{name}: reduction: expected .* got 'half'"):
        getattr(F, name)(*map(gpunn.tensor, given.values()), reduction="half")
    with pytest.raises(UsageError, match=f"^{LAYER_OF[name]}: reduction: expected one of .* got 'half'"):
        getattr(nn, LAYER_OF[name])(reduction="half")


def test_refuses() -> None:
    x = gpunn.ones(2, 3)
    for margin in (0.0, float("nan")):
        with pytest.raises(UsageError, match=r"^triplet_margin_loss: margin: expected a number above 0"):
            F.triplet_margin_loss(x, x, x, margin)
        with pytest.raises(UsageError, match=r"^TripletMarginLoss: margin: expected a number above 0"):
            nn.TripletMarginLoss(margin)
    with pytest.raises(ShapeError, match=r"^triplet_margin_loss: expected tensors with equally many axes"):
        F.triplet_margin_loss(x, x[0], x)
    with pytest.raises(ShapeError, match=r"^margin_ranking_loss: expected tensors with equally many axes"):
        F.margin_ranking_loss(x, x, x[0])
    with pytest.raises(ShapeError, match=r"^cosine_embedding_loss: expected input1 and input2"):
        F.cosine_embedding_loss(x, x, x)
    with pytest.raises(ShapeError, match=r"^kl_div: reduction 'batchmean': expected a batch"):
        F.kl_div(gpunn.tensor(0.0), gpunn.tensor(0.5), reduction="batchmean")
