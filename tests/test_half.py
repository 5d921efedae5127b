"""float16 and bfloat16: every value of 16 bits both ways, what ops make of them, and what is refused."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import _half, nn, optim
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.cast import cast
from gpunn.ops.split import put_parts
from tests.devices import EVERYWHERE

pytest.importorskip("ml_dtypes")
KINDS = ["float16", "bfloat16"]


def bits(array: Any) -> np.ndarray:
    return np.asarray(array).view(np.uint16)


def on(where: str, array: np.ndarray) -> Any:
    return gpunn.device(where).array(array)


def nearest(x: np.ndarray, kind: str) -> np.ndarray:
    """The 16 bits nearest to float32 numbers, ties to even, looked up among all that there are."""
    every = np.arange(0x7C01 if kind == "float16" else 0x7F81, dtype=np.uint16)
    values = every.view(_half.half_named("test", kind)).astype(np.float64)
    values[-1] = 2 * values[-2] - values[-3]  # infinity stands where the next number would
    size = np.abs(x.astype(np.float64))
    above = np.searchsorted(values, np.minimum(size, values[-1]))
    below = np.maximum(above - 1, 0)
    up, down = values[above] - np.minimum(size, values[-1]), np.minimum(size, values[-1]) - values[below]
    chosen = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, below)
    return (chosen | np.where(np.signbit(x), 0x8000, 0)).astype(np.uint16)


# -- conversions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_every_value_goes_to_float32_and_back(kind: str, where: str) -> None:
    device, dtype = gpunn.device(where), _half.half_named("test", kind)
    every = np.arange(2**16, dtype=np.uint16).view(dtype)
    wide = cast(device, on(where, every), np.dtype(np.float32))
    expected = every.astype(np.float32)
    host = device.to_host(wide)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(host), ~number)
    np.testing.assert_array_equal(host[number].view(np.uint32), expected[number].view(np.uint32))
    back = device.to_host(cast(device, wide, dtype))
    np.testing.assert_array_equal(bits(back)[number], bits(every)[number])
    assert np.isnan(back.astype(np.float32)[~number]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_rounds_to_the_nearest_and_ties_to_even(kind: str, where: str) -> None:
    device, dtype = gpunn.device(where), _half.half_named("test", kind)
    every = np.arange(0x7C00 if kind == "float16" else 0x7F80, dtype=np.uint16).view(dtype).astype(np.float32)
    middle = ((every[:-1].astype(np.float64) + every[1:]) / 2).astype(np.float32)  # float32 holds all of these
    given = [every, middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))]
    x = np.concatenate([*given, *(-g for g in given), [65519.996, 65520, 3.4e38, 3.3961775e38, 1e-45, -1e-45]])
    x = x.astype(np.float32)
    found = device.to_host(cast(device, on(where, x), dtype))
    np.testing.assert_array_equal(bits(found), nearest(x, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_float64_is_rounded_once(kind: str, where: str) -> None:
    device, dtype = gpunn.device(where), _half.half_named("test", kind)
    digits = 11 if kind == "float16" else 8
    x = np.array([1 + 2.0**-digits + 2.0**-40, 1 + 2.0**-digits, 1 + 2.0**-digits - 2.0**-40, -1 - 3 * 2.0**-digits])
    found = device.to_host(cast(device, on(where, x), dtype)).astype(np.float64)
    step = 2.0 ** (1 - digits)
    assert found.tolist() == [1 + step, 1, 1, -1 - 2 * step]


# -- tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_makers_and_conversions(kind: str, where: str) -> None:
    dtype = getattr(gpunn, kind)
    x = gpunn.tensor([[0.1, 2.0], [-3.0, 4.5]], dtype=dtype, device=where)
    assert x.dtype == dtype == x.clone().dtype == x.t().dtype == x[0].dtype == x.reshape(4).dtype
    assert x.element_size() == 2
    assert x.is_floating_point()
    short = 0.0999755859375 if kind == "float16" else 0.10009765625
    assert x.tolist() == [[short, 2.0], [-3.0, 4.5]]
    assert (x[0, 0].item(), x.float().dtype, x.to(gpunn.int64).tolist()) == (short, gpunn.float32, [[0, 2], [-3, 4]])
    for made in (
        gpunn.zeros(3, dtype=dtype), gpunn.ones(3, dtype=dtype), gpunn.full((3,), 1.5, dtype=dtype),
        gpunn.arange(3, dtype=dtype), gpunn.linspace(0, 1, 3, dtype=dtype), gpunn.randn(3, dtype=dtype),
        gpunn.rand(3, dtype=dtype), gpunn.eye(3, dtype=dtype), gpunn.zeros_like(x), x.new_ones(2),
        gpunn.ones(3).type(dtype), gpunn.ones(3).to(kind),
    ):  # fmt: skip
        assert made.dtype == dtype
    assert float(gpunn.rand(2000, dtype=dtype).float().max()) < 1
    assert "dtype=" + kind in repr(x)


@pytest.mark.parametrize("kind", KINDS)
def test_promotion(kind: str) -> None:
    dtype = getattr(gpunn, kind)
    x, other = gpunn.ones(2, dtype=dtype), gpunn.ones(2, dtype=gpunn.bfloat16 if kind == "float16" else gpunn.float16)
    assert (x + other).dtype == (x + gpunn.ones(2)).dtype == gpunn.float32
    assert (x + gpunn.ones(2, dtype=gpunn.float64)).dtype == gpunn.float64
    assert (x + gpunn.arange(2)).dtype == (x * 0.1).dtype == (1 - x).dtype == (x / 3).dtype == dtype
    assert (x == 0.1).dtype == gpunn.bool
    assert gpunn.promote_types(gpunn.float16, gpunn.bfloat16) == gpunn.float32
    assert (gpunn.tensor([0.1], dtype=dtype) == 0.1).tolist() == [True]  # the number is rounded too, as in PyTorch


@pytest.mark.parametrize("kind", KINDS)
def test_in_place_changes_and_views(kind: str, kernels: str) -> None:
    x = gpunn.arange(6, dtype=getattr(gpunn, kind), device=kernels).reshape(2, 3)
    column = x[:, 1]
    x += 1
    x.mul_(0.5)
    x[0] = 7
    column.add_(1)
    assert x.tolist() == [[7.0, 8.0, 7.0], [2.0, 3.5, 3.0]]
    assert column.tolist() == [8.0, 3.5]


@pytest.mark.parametrize("kind", KINDS)
def test_devices_agree(kind: str, kernels: str) -> None:
    """Sums in another order may round to the neighbour: one step of the dtype."""
    rng = np.random.Generator(np.random.Philox(5))
    found = {}
    for where in ("cpu", kernels):
        rng = np.random.Generator(np.random.Philox(5))
        x = gpunn.tensor(rng.standard_normal((4, 6)), dtype=kind, device=where).requires_grad_()
        w = gpunn.tensor(rng.standard_normal((3, 6)), dtype=kind, device=where).requires_grad_()
        y = nn.functional.softmax(nn.functional.gelu(x @ w.t()), 1)
        (y * y).sum().backward()
        found[where] = [t.float().tolist() for t in (y.detach(), x.grad, w.grad)]
    for a, b in zip(found["cpu"], found[kernels], strict=True):
        np.testing.assert_allclose(a, b, rtol=2 * float(gpunn.finfo(kind).eps), atol=float(gpunn.finfo(kind).eps) / 8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", EVERYWHERE)
def test_sums_have_float32_in_between(kind: str, where: str) -> None:
    """Added up in 16 bits, 4096 ones stop at 2048 or 256."""
    assert gpunn.ones(4096, dtype=kind, device=where).sum().item() == 4096


# -- layers, optimisers, files --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimiser", ["SGD", "Adam", "RMSprop"])
def test_layers_and_optimisers(kind: str, optimiser: str, kernels: str) -> None:
    gpunn.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).to(kernels).to(kind)
    step = getattr(gpunn.optim, optimiser)(model.parameters(), lr=0.02)
    x, y = gpunn.randn(32, 4).to(kernels).to(kind), gpunn.ones(32, 1, device=kernels, dtype=kind)
    losses = []
    for _ in range(10):
        step.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        step.step()
        losses.append(loss.item())
    dtype = getattr(gpunn, kind)
    assert all(p.dtype == dtype and p.grad is not None and p.grad.dtype == dtype for p in model.parameters())
    assert losses[-1] < 0.8 * losses[0]


def test_normalisation_keeps_float32_parameters_and_statistics(kernels: str) -> None:
    for layer in (nn.BatchNorm2d(3), nn.GroupNorm(3, 3), nn.LayerNorm((3, 4, 4))):
        layer.to(kernels)
        x = gpunn.randn(2, 3, 4, 4).to(kernels).bfloat16().requires_grad_()
        y = layer(x)
        (y * x).sum().backward()
        assert y.dtype == x.grad.dtype == gpunn.bfloat16
        assert {t.dtype for t in layer.parameters()} == {p.grad.dtype for p in layer.parameters()} == {gpunn.float32}
    with pytest.raises(DTypeError, match="weight: expected float32"):
        nn.LayerNorm(4).half()(gpunn.ones(2, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_files_keep_the_dtype(kind: str, tmp_path: Any) -> None:
    layer = nn.Linear(2, 3).to(kind)
    file = io.BytesIO()
    gpunn.save(layer.state_dict(), file)
    gpunn.save_file(layer.state_dict(), tmp_path / "w.safetensors")
    file.seek(0)
    for loaded in (gpunn.load(file), gpunn.load(tmp_path / "w.safetensors")):
        assert loaded["weight"].dtype == getattr(gpunn, kind)
        other = nn.Linear(2, 3).to(kind)
        other.load_state_dict(loaded)
        assert other.weight.tolist() == layer.weight.tolist()
        whole = nn.Linear(2, 3)
        whole.load_state_dict(loaded)  # keeps its own dtype, as in PyTorch
        assert (whole.weight.dtype, whole.weight.tolist()) == (gpunn.float32, layer.weight.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_captured_step_is_the_eager_one(kind: str, kernels: str) -> None:
    weights = []
    for captured in (False, True):
        gpunn.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(kernels).to(kind)
        optimiser = gpunn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x = gpunn.randn(8, 4).to(kernels).to(kind)
        labels = gpunn.arange(8).to(kernels) % 2

        def step(x: Any, labels: Any, model: Any = model, optimiser: Any = optimiser) -> Any:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            optimiser.step()
            return loss

        run = gpunn.capture(step) if captured else step
        for _ in range(4):
            run(x, labels)
        weights.append([p.float().tolist() for p in model.parameters()])
    assert weights[0] == weights[1]


# -- refused --------------------------------------------------------------------------------------


def test_numpy_has_no_bfloat16() -> None:
    x = gpunn.ones(2, dtype=gpunn.bfloat16)
    with pytest.raises(DTypeError, match=r"numpy\(\): NumPy has no bfloat16 of its own; use .float\(\).numpy\(\)"):
        x.numpy()
    assert x.float().numpy().tolist() == [1.0, 1.0]
    assert gpunn.ones(2, dtype=gpunn.float16).numpy().dtype == np.float16


def test_limits_and_what_is_no_default() -> None:
    assert (gpunn.finfo("bfloat16").eps, gpunn.finfo("float16").max) == (2**-7, 65504)
    for dtype in (gpunn.float16, gpunn.bfloat16):
        with pytest.raises(DTypeError, match=r"set_default_dtype: d: expected gpunn.float32 or gpunn.float64"):
            gpunn.set_default_dtype(dtype)
    with pytest.raises(DTypeError, match="does not fit into float16"):
        gpunn.full((2,), 1e6, dtype=gpunn.float16)


def test_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    _half.bfloat16_dtype.cache_clear()
    try:
        name = gpunn.bfloat16  # programs may hold it
        with pytest.raises(DTypeError, match=r"bfloat16 needs ml_dtypes.*pip install 'gpunn\[bf16\]'"):
            gpunn.ones(2, dtype=name)
        assert gpunn.ones(2).half().tolist() == [1.0, 1.0]
    finally:
        _half.bfloat16_dtype.cache_clear()


def test_shapes_are_checked_as_ever() -> None:
    with pytest.raises(UsageError):
        gpunn.ones(2, dtype=gpunn.float16).cupy()


def test_a_primitive_may_be_given_numpys_class_for_a_dtype() -> None:
    gpunn.ones(2, dtype=gpunn.float16)  # from now on primitives look for arrays of 16 bits
    where = gpunn.device("cpu")
    for kind in (np.float32, np.float16):
        part = np.ones((2, 2), kind)
        dx = put_parts(where, [part, None], (2, 3), [(slice(None), slice(0, 2)), (slice(None), slice(2, 3))], kind)
        assert dx.dtype == kind
        assert dx.tolist() == [[1, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_numbers_of_an_optimiser_are_not_rounded_to_16_bits(where: str) -> None:
    """1 - lr decay is 0.999, which in bfloat16 would be 1; a step of 0.0015 alone rounds away."""
    p = gpunn.ones(3, device=where).bfloat16().requires_grad_()
    p.grad = gpunn.ones(3, device=where).bfloat16()
    optim.AdamW([p], lr=0.0015, weight_decay=2 / 3).step()
    assert p.float().tolist() == [0.99609375] * 3
