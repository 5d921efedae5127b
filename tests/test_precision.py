"""Products by tensor cores: bounds of their errors, infinities, the same bits in every order of blocks; the switch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import Device, device
from gpunn.emulator import counting
from gpunn.errors import UsageError
from gpunn.gpu import tensor
from gpunn.gpu.launcher import trace_launches
from gpunn.ops.linear import linear_backward
from gpunn.ops.matmul import gemm
from tests.devices import host, in_order
from tests.emulator import kernel_counts

# The largest error, relative to the largest element: two operands rounded by 2^-11 (2^-9) each; float's own digits.
BOUNDS = {"tf32": 1e-3, "tf32x3": 2e-6, "bf16": 1e-2}
MODES = tuple(BOUNDS)

# M, N, K: less than a tile; tiles that are not full; a short first step; slices; no sum.
SIZES = ((8, 8, 12), (132, 40, 36), (152, 140, 68), (64, 72, 520), (132, 256, 96), (4, 68, 0))
# Along these axes vectors are read; along the others any length will do.
VECTORS = {"nt": "k", "nn": "nk", "tn": "mn"}


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tensor, "LEAST", 0)
    monkeypatch.setattr(tensor, "_NARROWEST", 1)
    yield
    gpunn.set_precision("fp32")


def _operands(form: str, m: int, n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(a, b) as stored."""
    make = np.random.default_rng(seed).standard_normal
    a = make((k, m) if form[0] == "t" else (m, k)).astype(np.float32)
    return a, make((n, k) if form[1] == "t" else (k, n)).astype(np.float32)


def _plain(form: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As they are multiplied."""
    return a.T if form[0] == "t" else a, b.T if form[1] == "t" else b


def _on(where: Device, *arrays: np.ndarray | None) -> list[Any]:
    return [None if array is None else where.array(array) for array in arrays]


def _error(found: Any, expected: np.ndarray) -> float:
    return float(np.abs(host(found) - expected).max() / max(np.abs(expected).max(), 1e-30)) if expected.size else 0.0


@pytest.mark.parametrize("form", ["nt", "nn", "tn"])
@pytest.mark.parametrize("mode", MODES)
def test_products_are_within_their_bounds(kernels: str, mode: str, form: str) -> None:
    where = device(kernels)
    gpunn.set_precision(mode)
    for sizes in SIZES:
        m, n, k = (max(s - (axis not in VECTORS[form]), 0) for s, axis in zip(sizes, "mnk", strict=True))
        a, b = _operands(form, m, n, k)
        u, w = _plain(form, a, b)
        with trace_launches() as launches:
            c = gemm(where, *_on(where, a, b), form)
        assert [launch.kernel for launch in launches] == [f"gemm_tensor_{form}"]
        error = _error(c, u.astype(np.float64) @ w)
        assert error <= BOUNDS[mode], (m, n, k, error)
        assert mode == "tf32x3" or k < 9 or error > 1e-5, "this was not rounded"


@pytest.mark.parametrize("mode", MODES)
def test_bias_relu_and_another_gradient(kernels: str, mode: str) -> None:
    where = device(kernels)
    gpunn.set_precision(mode)
    for (m, n, k), relu in zip(((70, 44, 36), (33, 132, 300), (129, 68, 32)), (True, False, True), strict=True):
        x, weight = _operands("nt", m, n, k)
        bias, more = _operands("nn", 1, 1, n)[0][0], _operands("nn", m, k, 1, seed=1)
        y = gemm(where, *_on(where, x, weight), "nt", where.array(bias), relu)
        expected = x.astype(np.float64) @ weight.T + bias
        assert _error(y, np.maximum(expected, 0) if relu else expected) <= BOUNDS[mode]
        # Backward, where the mask is that of y as it was rounded.
        dy = _operands("nn", m, 1, n, seed=2)[0]
        waiting = (more[0] @ more[1]).astype(np.float32)
        gate = y if relu else None
        with trace_launches() as launches:
            found = linear_backward(
                where, where.array(dy), gate, *_on(where, x, weight), (True, True, True), where.array(waiting)
            )
        assert {"gemm_tensor_nn", "gemm_tensor_tn"} <= {launch.kernel for launch in launches}
        dz = dy.astype(np.float64) * (host(y) > 0 if relu else 1)
        for one, expected in zip(found, (dz @ weight + waiting, dz.T @ x, dz.sum(0)), strict=True):
            assert _error(one, expected) <= BOUNDS[mode]


@pytest.mark.parametrize("form", ["nt", "nn", "tn"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_infinities_and_nan_reach_what_they_belong_to(kernels: str, mode: str, form: str) -> None:
    where = device(kernels)
    gpunn.set_precision(mode)
    a, b = _operands(form, 72, 48, 300)  # two slices
    u, w = _plain(form, a, b)  # views of them
    u[3, 5] = np.nan
    u[5, 8:9].view(np.uint32)[:] = 0x7FFFFFFF  # a GPU's own NaN, all of whose bits are ones
    u[6, 9:10].view(np.uint32)[:] = 0x7F800001  # one whose only bit is among those that tensor cores do not see
    u[40, 290], w[290, 4] = np.inf, 1.0  # 1.0 has no low part: infinity times that would be NaN
    w[290, 5] = 0.0  # which has to be NaN
    w[7, 9], u[8, 7] = -np.inf, 0.0
    u[11, 12] = np.finfo(np.float32).max  # rounds to infinity, which is not what it is
    w[12, :] *= np.float32(1e-6)
    expected = u.astype(np.float64) @ w
    found = host(gemm(where, *_on(where, a, b), form))
    finite = np.isfinite(expected)
    assert 0 < finite.sum() < expected.size
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.array_equal(found[np.isinf(expected)], expected[np.isinf(expected)])
    scale = np.abs(u).max(1, keepdims=True) * np.abs(w).max(0) * 30
    assert (np.abs(found - expected)[finite] <= BOUNDS[mode] * scale[finite]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_relu_bias_and_another_gradient_of_sums_that_were_infinite(kernels: str, mode: str) -> None:
    where = device(kernels)
    gpunn.set_precision(mode)
    x, weight = _operands("nt", 72, 48, 300)
    x[:, 1] = x[3] = 0
    x[3, :3] = -np.finfo(np.float32).max, 1, 0  # minus infinity as rounded, and so 0 after ReLU; but the others win
    weight[:, 0], weight[:, 1] = 1e-30, np.arange(48) * 1e8
    x[4, 7], weight[5, 7], weight[6, 7] = -np.inf, 1, 0
    bias = np.linspace(-1e9, 1e9, 48, dtype=np.float32)
    bias[9] = np.inf
    exact = x.astype(np.float64) @ weight.T + bias
    found, expected = host(gemm(where, *_on(where, x, weight), "nt", where.array(bias), True)), np.maximum(exact, 0)
    assert (expected[3] > 0).any()
    assert (exact[3] < 0).any()
    assert np.isnan(expected[4, 6])
    assert exact[4, 5] == -np.inf
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    infinite, finite = np.isinf(expected), np.isfinite(expected)
    assert np.array_equal(found[infinite], expected[infinite])
    assert (np.abs(found - expected)[finite] <= BOUNDS[mode] * 1e9).all()
    # The gradient that is added to is added once.
    a, b = _operands("nn", 72, 48, 300)
    a[3, 5], b[5, 7] = np.finfo(np.float32).max, 1e-37
    more = _operands("nn", 72, 1, 48)[0] * np.ones((1, 48), np.float32) * 100
    dweight = host(
        linear_backward(
            where, *_on(where, a, None, np.zeros((72, 48), np.float32), b), (True, False, False), where.array(more)
        )[0]
    )
    assert _error(dweight[:, 7], (a.astype(np.float64) @ b + more)[:, 7]) <= BOUNDS[mode]


@pytest.mark.parametrize("mode", MODES)
def test_numbers_that_fit_are_exact(kernels: str, mode: str) -> None:
    where = device(kernels)
    gpunn.set_precision(mode)
    make = np.random.default_rng(0).integers
    # 8 bits are bf16's, 11 tf32's; times a power of two.
    most = 255 if mode == "bf16" else 2047
    a = (make(-most, most + 1, (70, 20)) * 2.0**-9).astype(np.float32)
    b = make(-3, 4, (20, 40)).astype(np.float32)
    assert np.array_equal(host(gemm(where, *_on(where, a, b), "nn")), (a.astype(np.float64) @ b).astype(np.float32))


@pytest.mark.emulator
@pytest.mark.parametrize("mode", MODES)
def test_the_same_bits_in_every_order_of_blocks(mode: str) -> None:
    gpunn.set_precision(mode)
    where = device("emulator")
    a, b = _operands("tn", 140, 80, 400)  # two tiles of three slices
    found = []
    for order in ("forward", "reverse", "shuffled"):
        with in_order("emulator", order, seed=3):
            found.append(host(gemm(where, a, b, "tn")))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.emulator
@pytest.mark.parametrize("mode", MODES)
def test_no_bank_conflicts_and_whole_sectors(mode: str) -> None:
    gpunn.set_precision(mode)
    where = kernel_counts.device()
    with counting() as counts:
        for form in ("nt", "nn", "tn"):
            gemm(where, *_operands(form, 128, 128, 96), form)
    assert len(counts.kernels) == 3
    for kernel, count in counts.kernels.items():
        assert count.bank_conflicts == 0, kernel
        assert count.sector_efficiency is not None
        assert count.sector_efficiency >= 0.95, (kernel, count.sector_efficiency)


def test_a_change_of_precision_takes_effect_in_calls_of_the_same_geometry(kernels: str) -> None:
    where = device(kernels)
    operands = _on(where, *_operands("nn", 64, 48, 96))
    found: dict[str, bytes] = {}
    for mode in ("fp32", *MODES, "fp32", "tf32"):
        gpunn.set_precision(mode)
        for _ in range(3):  # the first call makes a plan, the others follow it
            bits = host(gemm(where, *operands, "nn")).tobytes()
            assert found.setdefault(mode, bits) == bits
    assert len(set(found.values())) == 4


def test_a_captured_step_has_a_graph_for_each_precision(kernels: str) -> None:
    layer = nn.Linear(96, 48).to(kernels)
    x = gpunn.tensor(_operands("nn", 64, 48, 96)[0], device=kernels)
    step = gpunn.capture(lambda batch: layer(batch))
    found: dict[str, bytes] = {}
    for mode in ("fp32", "tf32", "bf16", "fp32", "tf32"):
        gpunn.set_precision(mode)
        for _ in range(4):
            bits = step(x).detach().cpu().numpy().tobytes()
            assert found.setdefault(mode, bits) == bits
    assert len(set(found.values())) == 3
    assert step.graphs == 3


def test_double_small_products_and_the_cpu_are_never_rounded(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = _operands("nn", 64, 48, 96)
    where = device(kernels)
    single, double = _on(where, a, b), _on(where, a.astype(np.float64), b.astype(np.float64))
    plain = [host(gemm(where, *operands, "nn")) for operands in (single, double)]
    cpu = (gpunn.tensor(a) @ gpunn.tensor(b)).numpy()
    gpunn.set_precision("bf16")
    assert np.array_equal(host(gemm(where, *double, "nn")), plain[1])
    assert np.array_equal((gpunn.tensor(a) @ gpunn.tensor(b)).numpy(), cpu)
    monkeypatch.setattr(tensor, "LEAST", a.size * b.shape[1] + 1)
    assert gemm.kernel_body is not None
    assert np.array_equal(host(gemm.kernel_body(where, *single, "nn")), plain[0])


def test_rows_that_are_no_whole_vectors_are_multiplied_as_ever(kernels: str) -> None:
    where = device(kernels)
    for form, sizes in (("nt", (64, 48, 97)), ("nn", (64, 48, 97)), ("nn", (64, 47, 96)), ("tn", (63, 48, 96))):
        operands = _on(where, *_operands(form, *sizes))
        found = []
        for mode in ("fp32", "bf16"):
            gpunn.set_precision(mode)
            with trace_launches() as launches:
                found.append(host(gemm(where, *operands, form)))
            assert [launch.kernel for launch in launches] == [f"gemm_{form}"]
        assert np.array_equal(*found)
    # So are arrays that begin between vectors, and their gradients.
    x, weight = _operands("nt", 64, 48, 96)
    odd = where.array(np.zeros(x.size + 1, np.float32))[1:].reshape(x.shape)
    with where.active():
        odd[:] = where.array(x)
    with trace_launches() as launches:
        y = gemm(where, odd, where.array(weight), "nt")
        linear_backward(where, y, None, odd, where.array(weight), (False, True, True))
    assert {launch.kernel for launch in launches} == {"gemm_nt", "gemm_tn"}


def test_a_gpu_without_tensor_cores_multiplies_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    gpunn.set_precision("tf32")
    where = device("emulator")
    assert tensor.takes(where, np.dtype(np.float32), (64, 64, 64))
    monkeypatch.setattr(tensor, "has_tensor_cores", lambda device: False)
    assert not tensor.takes(where, np.dtype(np.float32), (64, 64, 64))
    a, b = _operands("nn", 64, 48, 96)
    with trace_launches() as launches:
        gemm(where, *_on(where, a, b), "nn")
    assert [launch.kernel for launch in launches] == ["gemm_nn"]


@pytest.mark.parametrize(
    ("capability", "shared", "has"),
    [("75", 65536, False), ("80", 65536, False), ("86", 101376, True), ("90", 232448, True)],
)
def test_which_gpus_have_tensor_cores(capability: str, shared: int, has: bool) -> None:
    device = MagicMock()
    device.name = "cuda"
    card = device.xp.cuda.Device.return_value
    card.compute_capability, card.attributes = capability, {"MaxSharedMemoryPerBlockOptin": shared}
    assert tensor.has_tensor_cores(device) is has


def test_names() -> None:
    assert gpunn.get_precision() == "fp32"
    for torch, ours in (("high", "tf32"), ("medium", "bf16"), ("highest", "fp32")):
        gpunn.set_float32_matmul_precision(torch)
        assert gpunn.get_precision() == ours
        assert gpunn.get_float32_matmul_precision() == torch
        assert gpunn.backends.cuda.matmul.allow_tf32 is (torch != "highest")
    gpunn.backends.cuda.matmul.allow_tf32 = True
    assert gpunn.get_precision() == "tf32"
    gpunn.backends.cuda.matmul.allow_tf32 = False
    assert gpunn.get_precision() == "fp32"
    gpunn.set_precision("tf32x3")
    assert gpunn.get_float32_matmul_precision() == "highest"
    assert not gpunn.backends.cuda.matmul.allow_tf32
    for wrong in ("fp16", "TF32", ""):
        with pytest.raises(UsageError, match=r"^set_precision: expected one of fp32, tf32, tf32x3, bf16; got "):
            gpunn.set_precision(wrong)
    assert gpunn.get_precision() == "tf32x3"


def test_pytorchs_names_set_products_and_convolutions_apart() -> None:
    matmul, cudnn = gpunn.backends.cuda.matmul, gpunn.backends.cudnn

    def found() -> tuple[str, str, bool, bool, str]:
        return (
            *(matmul.fp32_precision, cudnn.conv.fp32_precision, matmul.allow_tf32, cudnn.allow_tf32),
            gpunn.get_precision(),
        )

    assert found() == ("ieee", "ieee", False, False, "fp32")
    cudnn.allow_tf32 = True
    assert found() == ("ieee", "tf32", False, True, "fp32")
    gpunn.set_float32_matmul_precision("medium")
    assert found() == ("bf16", "tf32", True, True, "bf16")
    cudnn.conv.fp32_precision = "ieee"
    assert found() == ("bf16", "ieee", True, False, "bf16")
    matmul.fp32_precision, cudnn.conv.fp32_precision = "none", "tf32"
    assert found() == ("ieee", "tf32", False, True, "fp32")
    cudnn.allow_tf32 = False
    assert found() == ("ieee", "ieee", False, False, "fp32")
    for mode, word in (("tf32x3", "ieee"), ("bf16", "bf16"), ("tf32", "tf32"), ("fp32", "ieee")):
        gpunn.set_precision(mode)
        assert found()[:2] == (word, word)
    for switches, name in ((matmul, "cuda.matmul"), (cudnn.conv, "cudnn.conv")):
        with pytest.raises(
            UsageError, match=rf"^backends.{name}.fp32_precision: expected one of ieee, none, tf32, bf16"
        ):
            switches.fp32_precision = "fp32"


@pytest.mark.parametrize("form", ["nt", "nn", "tn"])
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_float32_copies_of_16_bits_take_tensor_cores_and_round_nothing_but_the_result(
    kernels: str, name: str, form: str
) -> None:
    """Whatever is set: their operands are exact in tf32 and bf16. Beside float32 nothing is rounded.

    Most 16-bit operands need no copies (tests/gpu/test_half.py); those in vectors of 4 that are none of 8 do.
    """
    where = device(kernels)
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = gpunn.zeros(1, dtype=getattr(gpunn, name)).dtype  # from now on ops look for such arrays
    for setting in ("fp32", "tf32x3"):
        gpunn.set_precision(setting)
        a, b = (x.astype(dtype) for x in _operands(form, 132, 92, 260))
        u, w = _plain(form, a, b)
        with trace_launches() as launches:
            c = gemm(where, *_on(where, a, b), form)
        assert f"gemm_tensor_{form}" in {launch.kernel for launch in launches}
        expected = u.astype(np.float64) @ w.astype(np.float64)
        # Half a place of the result's last bit, and float32's own errors.
        near = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[name]
        assert (np.abs(host(c).astype(np.float64) - expected) <= near * np.abs(expected) + 3e-5).all()
        assert gpunn.get_precision() == setting
    with trace_launches() as launches:
        gemm(where, *_on(where, a, b.astype(np.float32)), form)
    assert f"gemm_tensor_{form}" in {launch.kernel for launch in launches}  # as tf32x3 is set; never in 16 bits
    gpunn.set_precision("fp32")
    with trace_launches() as launches:
        gemm(where, *_on(where, a, b.astype(np.float32)), form)
    assert f"gemm_tensor_{form}" not in {launch.kernel for launch in launches}
