"""Multi-head attention: PyTorch's values, gradients, weights, names and numbers of parameters, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE

OPTIONS: list[dict[str, Any]] = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"kdim": 5, "vdim": 7},
    {"kdim": 5, "vdim": 7, "add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).normal(size=shape)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Support for mismatched")  # PyTorch's, of masks of two kinds
@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("masks", ["none", "float", "bool", "heads", "padding", "both"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_and_gradients_are_pytorchs(where: str, weights: bool, masks: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    theirs = torch.nn.MultiheadAttention(8, 2, **options).double()
    ours = nn.MultiheadAttention(8, 2, **options).double().to(where)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: gpunn.tensor(p.detach().numpy()) for name, p in theirs.state_dict().items()})
    L, S, N = 4, 6, 3
    arrays = [numbers(n, N, e, seed=e) for n, e in ((L, 8), (S, options.get("kdim", 8)), (S, options.get("vdim", 8)))]
    if options.get("batch_first"):
        arrays = [a.swapaxes(0, 1).copy() for a in arrays]
    attn: Any = {"float": numbers(L, S), "both": numbers(L, S), "heads": numbers(2 * N, L, S)}.get(masks)
    attn = numbers(L, S) > 0.7 if masks == "bool" else attn
    padding = numbers(N, S) > 0.5 if masks in ("padding", "both") else None
    for mask in (attn, padding):
        if mask is not None and mask.dtype == bool:
            mask[:, 0] = False
    mine = [gpunn.tensor(a, device=where, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]

    def call(layer: Any, tensors: Any, tensor: Any) -> Any:
        given = {"attn_mask": attn, "key_padding_mask": padding}
        given = {name: tensor(mask) for name, mask in given.items() if mask is not None}
        return layer(*tensors, need_weights=weights, average_attn_weights=masks != "heads", **given)

    y, shown = call(ours, mine, lambda a: gpunn.tensor(a, device=where))
    wanted, expected = call(theirs, other, torch.tensor)
    y.square().sum().backward()
    wanted.square().sum().backward()
    # float64, numbers of about 1.
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=0, atol=1e-13)
    assert (shown is None) == (expected is None)
    if shown is not None:
        np.testing.assert_allclose(shown.detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-14)
    for a, b in zip((*mine, *ours.parameters()), (*other, *theirs.parameters()), strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parity
def test_self_attention_and_single_items_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.MultiheadAttention(6, 3).double(), nn.MultiheadAttention(6, 3).double()
    ours.load_state_dict({name: gpunn.tensor(p.detach().numpy()) for name, p in theirs.state_dict().items()})
    x = numbers(5, 6)
    padding = np.array([False, True, False, False, True])
    wanted, weights = theirs(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor(padding))
    one = gpunn.tensor(x)
    y, shown = ours(one, one, one, key_padding_mask=gpunn.tensor(padding))
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(shown.detach().numpy(), weights.detach().numpy(), rtol=0, atol=1e-14)
    assert not shown.detach().numpy()[:, padding].any()


def test_initial_weights_are_of_pytorchs_distributions() -> None:
    gpunn.manual_seed(3)
    layer = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = (6 / (64 + 3 * 64)) ** 0.5
    weight = layer.in_proj_weight.detach().numpy()
    assert 0.99 * bound < np.abs(weight).max() <= bound
    assert not layer.in_proj_bias.detach().numpy().any()
    assert not layer.out_proj.bias.detach().numpy().any()
    assert layer.bias_k.detach().numpy().std() > 0
    assert sum(p.numel() for p in nn.MultiheadAttention(64, 4).parameters()) == 4 * 64 * 64 + 4 * 64


def test_dropout_is_for_training_only() -> None:
    gpunn.manual_seed(3)
    layer, x = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True), gpunn.randn(2, 5, 8)
    assert not np.array_equal(layer(x, x, x)[0].detach().numpy(), layer(x, x, x)[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x, x, x)[0].detach().numpy(), layer(x, x, x)[0].detach().numpy())


def test_with_and_without_weights_it_is_the_same_captured_too(kernels: str) -> None:
    gpunn.manual_seed(3)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).to(kernels)
    x = gpunn.randn(2, 5, 8).to(kernels)

    def step(x: Any) -> Any:
        layer.zero_grad()
        y = layer(x, x, x, need_weights=False)[0].square().sum()
        y.backward()
        return y

    eager, gradient = step(x).item(), layer.in_proj_weight.grad.numpy().copy()
    captured = gpunn.capture(step)
    for _ in range(3):
        assert captured(x).item() == eager
    np.testing.assert_array_equal(layer.in_proj_weight.grad.numpy(), gradient)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="embed_dim: expected a multiple of num_heads, 3; got 8"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(UsageError, match="dropout: expected a proportion from 0 to 1; got 2"):
        nn.MultiheadAttention(8, 2, dropout=2)
    layer, x = nn.MultiheadAttention(8, 2), gpunn.zeros(5, 3, 8)
    for args, match in (
        ((x, x, gpunn.zeros(4, 3, 8)), "as many keys as values"),
        ((x, x, gpunn.zeros(5, 3, 7)), "expected 8, 8 and 8 features"),
        ((gpunn.zeros(8), x, x), "with 3 axes each"),
    ):
        with pytest.raises(ShapeError, match=match):
            layer(*args)
    with pytest.raises(ShapeError, match=r"attn_mask: expected shape \(5, 5\) or \(6, 5, 5\); got \(5, 4\)"):
        layer(x, x, x, attn_mask=gpunn.zeros(5, 4))
    with pytest.raises(ShapeError, match=r"key_padding_mask: expected shape \(3, 5\)"):
        layer(x, x, x, key_padding_mask=gpunn.zeros(5, 3))
    with pytest.raises(UsageError, match="is_causal: it is a hint about attn_mask"):
        layer(x, x, x, is_causal=True)
