"""einops takes tensors: its functions, values and gradients, and its layers under another import."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import UsageError
from gpunn.nn.einops import EinMix, Rearrange, Reduce
from tests.devices import EVERYWHERE

einops = pytest.importorskip("einops", reason="tests of einops need it: pip install 'gpunn[einops]'")

# The kinds of its documentation, a batch of images for most: operation, shape, pattern, lengths of axes.
CASES: list[tuple[str, tuple[int, ...], str, dict[str, int]]] = [
    ("rearrange", (2, 4, 6, 3), "b h w c -> b c h w", {}),
    ("rearrange", (2, 4, 6, 3), "b h w c -> (b h) w c", {}),
    ("rearrange", (2, 4, 6, 3), "b h w c -> h (b w) c", {}),
    ("rearrange", (2, 4, 6, 3), "b h w c -> b (c h w)", {}),
    ("rearrange", (4, 4, 6, 3), "(b1 b2) h w c -> (b1 h) (b2 w) c", {"b1": 2}),
    ("rearrange", (2, 4, 6, 3), "b (h h1) (w w1) c -> b h w (c h1 w1)", {"h1": 2, "w1": 3}),
    ("rearrange", (2, 4, 6, 8), "b h w (c h1 w1) -> b (h h1) (w w1) c", {"h1": 2, "w1": 2}),
    ("rearrange", (2, 5, 12), "b n (qkv heads d) -> qkv b heads n d", {"qkv": 3, "heads": 2}),
    ("rearrange", (2, 1, 3, 1), "b 1 c 1 -> b c", {}),
    ("rearrange", (3,), "c -> 1 c 1 1", {}),
    ("rearrange", (2, 3, 4, 5), "b ... -> b (...)", {}),
    ("rearrange", (0, 3, 4), "b c t -> t (b c)", {}),
    ("reduce", (2, 4, 6, 3), "b h w c -> h w c:mean", {}),
    ("reduce", (2, 4, 6, 3), "b h w c -> b () () c:max", {}),
    ("reduce", (2, 4, 6, 3), "b (h 2) (w 3) c -> b h w c:max", {}),
    ("reduce", (2, 4, 6, 3), "b (h h1) (w w1) c -> h (b w) c:min", {"h1": 2, "w1": 2}),
    ("reduce", (2, 4, 6, 3), "b h w c -> b c:sum", {}),
    ("reduce", (2, 4, 6, 3), "... c -> c:prod", {}),
    ("reduce", (2, 4, 6, 3), "b h w c -> :mean", {}),
    ("repeat", (4, 6), "h w -> h w c", {"c": 3}),
    ("repeat", (4, 6), "h w -> (2 h) (w 3)", {}),
    ("repeat", (4, 6), "h w -> h (w again)", {"again": 2}),
    ("repeat", (1, 5), "1 d -> b 1 d", {"b": 3}),
    ("repeat", (2, 3), "... -> twice ...", {"twice": 2}),
]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).uniform(0.5, 1.5, shape)


def run(code: str) -> list[str]:
    """What it prints, line by line, in a process of its own."""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def applied(operation: str, pattern: str, lengths: dict[str, int]) -> Callable[[Any], Any]:
    pattern, _, reduction = pattern.partition(":")
    arguments = [pattern, reduction] if reduction else [pattern]
    return lambda x: getattr(einops, operation)(x, *arguments, **lengths)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize(("operation", "shape", "pattern", "lengths"), CASES)
def test_gives_what_numpy_gives(
    operation: str, shape: tuple[int, ...], pattern: str, lengths: dict[str, int], where: str
) -> None:
    given = numbers(*shape).astype(np.float32)
    function = applied(operation, pattern, lengths)
    y, expected = function(gpunn.tensor(given, device=where)), function(given)
    assert isinstance(y, gpunn.Tensor)
    assert (y.device, y.dtype) == (gpunn.device(where), gpunn.float32)
    # Sums and products of 144 numbers at most, in another order: each step rounds by 6e-8.
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5)
    layer = {"rearrange": Rearrange, "reduce": Reduce}.get(operation)
    if layer is not None:
        made: nn.Module = layer(*pattern.split(":"), **lengths)
        np.testing.assert_array_equal(made(gpunn.tensor(given, device=where)).numpy(), y.numpy())


@pytest.mark.parametrize(("operation", "shape", "pattern", "lengths"), CASES)
def test_gradients_are_pytorchs(operation: str, shape: tuple[int, ...], pattern: str, lengths: dict[str, int]) -> None:
    from tests.parity import compare

    function = applied(operation, pattern, lengths)
    compare(function, function, {"x": numbers(*shape)}, "cpu", 1e-12)  # float64; a product of 144 numbers at most


def test_several_arrays() -> None:
    from tests.parity import compare

    arrays = {"x": numbers(2, 5, 3), "y": numbers(2, 4, 3, seed=1)}

    def attention(x: Any, y: Any) -> Any:
        scores = einops.einsum(x, y, "batch query feature, batch key feature -> batch query key")
        return einops.einsum(scores, y, "b q k, b k ... -> b q ...")

    def packed(x: Any, y: Any) -> Any:
        together, shapes = einops.pack([x, y], "b * c")
        assert list(map(tuple, shapes)) == [(5,), (4,)]
        first, second = einops.unpack(together * together, shapes, "b * c")
        assert (tuple(first.shape), tuple(second.shape)) == ((2, 5, 3), (2, 4, 3))
        return first.sum() * second

    def listed(x: Any, y: Any) -> Any:
        return einops.rearrange([x[:, :4], y], "pair b t c -> b t (c pair)")

    for function in (attention, packed, listed):
        compare(function, function, arrays, "cpu", 1e-12)  # float64, sums of some 30 numbers


def test_questions() -> None:
    x = gpunn.zeros(2, 3, 4)
    assert einops.parse_shape(x, "a _ c") == {"a": 2, "c": 4}
    assert einops.asnumpy(x.requires_grad_()).shape == (2, 3, 4)
    truth = gpunn.tensor([[True, False], [True, True]])
    assert einops.reduce(truth, "a b -> a", "all").tolist() == [False, True]
    assert einops.reduce(truth, "a b -> b", "any").tolist() == [True, True]
    assert einops.reduce(gpunn.tensor([[1, 2], [3, 5]]), "a b -> b", "max").tolist() == [3, 5]
    with pytest.raises(einops.EinopsError, match="divide axis"):
        einops.rearrange(x, "a (b two) c -> a b two c", two=2)


@pytest.mark.parametrize(
    ("shape", "pattern", "weight", "bias", "lengths"),
    [
        ((3, 2, 5), "t b c -> t b d", "c d", "d", {"c": 5, "d": 4}),
        ((3, 2, 6), "t b (head c) -> t b (head d)", "head c d", None, {"head": 2, "c": 3, "d": 4}),
        ((2, 3, 4, 6), "b c (h p) (w q) -> b (h w) d", "c p q d", "d", {"p": 2, "q": 3, "c": 3, "d": 5}),
        ((4, 5, 3), "h w c -> k w c", "h k", "k", {"h": 4, "k": 2}),
        ((2, 3, 5), "... c -> ... c", "c", "c", {"c": 5}),
    ],
)
def test_mixing_is_pytorchs(
    shape: tuple[int, ...], pattern: str, weight: str, bias: str | None, lengths: dict[str, int]
) -> None:
    from tests.parity import close, torch

    theirs = __import__("einops.layers.torch", fromlist=["EinMix"]).EinMix(pattern, weight, bias, **lengths).double()
    mine = EinMix(pattern, weight, bias, **lengths).double()
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert repr(mine) == repr(theirs)
    for name, p in mine.named_parameters():
        other = theirs.get_parameter(name)
        bound = max(other.abs().max().item(), p.abs().max().item())
        n = int(np.prod([lengths[axis] for axis in weight.split() if axis not in pattern.split("->")[1]]))
        assert bound <= ((3 if name == "weight" else 1) / n) ** 0.5
    values = {name: numbers(*p.shape, seed=2) for name, p in mine.named_parameters()}
    mine.load_state_dict({name: gpunn.tensor(v) for name, v in values.items()})
    theirs.load_state_dict({name: torch.tensor(v) for name, v in values.items()})
    given = numbers(*shape)
    y, expected = mine(gpunn.tensor(given)), theirs(torch.tensor(given))
    close("output", y.detach().numpy(), expected.detach().numpy(), 1e-12)  # float64, sums of some 20 numbers
    y.square().sum().backward()
    expected.square().sum().backward()
    for name, p in mine.named_parameters():
        close(name, p.grad.numpy(), theirs.get_parameter(name).grad.numpy(), 1e-12)
    again = pickle.loads(pickle.dumps(mine))
    np.testing.assert_array_equal(again(gpunn.tensor(given)).detach().numpy(), y.detach().numpy())


def test_layers_in_a_network(kernels: str) -> None:
    """Captured too: what einops works out is done while recording, and all that runs is kernels."""

    def made() -> Any:
        gpunn.manual_seed(0)
        layers = Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2), nn.Linear(12, 8), nn.ReLU()
        model = nn.Sequential(*layers, EinMix("b t c -> b t d", "c d", "d", c=8, d=3), Reduce("b t c -> b c", "mean"))
        return model.to(kernels)

    eager, model = made(), made()
    images = gpunn.tensor(numbers(2, 3, 4, 6).astype(np.float32), device=kernels)

    @gpunn.capture
    def step(x: Any) -> Any:
        model.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        loss = step(images)
    expected = eager(images).square().sum()
    expected.backward()
    assert loss.item() == expected.item()
    for p, q in zip(model.parameters(), eager.parameters(), strict=True):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())


def test_refuses_wrong_patterns_when_made() -> None:
    with pytest.raises(einops.EinopsError, match="only on one side"):
        Rearrange("a b -> a c")
    with pytest.raises(einops.EinopsError, match="Unknown reduction"):
        Reduce("a b -> a", "middle")
    with pytest.raises(einops.EinopsError, match="Dimension d of weight should be specified"):
        EinMix("a c -> a d", "c d", c=3)
    assert repr(Rearrange("a (b c) -> a b c", c=2)) == "Rearrange('a (b c) -> a b c', c=2)"
    assert repr(Reduce("a b -> a", "max")) == "Reduce('a b -> a', 'max')"


def test_without_einops_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "einops.layers._einmix", None)
    for make in (lambda: Rearrange("a b -> b a"), lambda: EinMix("a c -> a d", "c d", c=3, d=2)):
        with pytest.raises(UsageError, match=re.escape("pip install 'gpunn[einops]'")):
            make()


@pytest.mark.parametrize("order", ["import gpunn, einops", "import einops, gpunn", "import einops.layers, gpunn"])
def test_whichever_is_imported_first(order: str) -> None:
    # Classes that nobody keeps are collected, so a backend that is made and forgotten would be lost.
    code = f"{order}\nimport gc, sys\ngc.collect()\nprint(einops.rearrange(gpunn.zeros(2, 3), 'a b -> b a').shape)"
    code += "\nprint('torch' in sys.modules, type(einops._backends.__loader__).__name__)"
    code += "\nimport inspect\nassert 'class AbstractBackend' in inspect.getsource(einops._backends)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["(3, 2)", "False SourceFileLoader"], done.stderr


def test_gpunn_alone_brings_in_no_einops() -> None:
    code = "import sys, gpunn, gpunn.nn\nprint([name for name in sys.modules if 'einops' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_version_without_backends_is_imported_all_the_same() -> None:
    from gpunn._einops import register

    with pytest.warns(UserWarning, match="this version of einops is not known"):
        register(ModuleType("einops._backends"))
