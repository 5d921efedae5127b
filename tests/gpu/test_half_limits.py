"""Which products and convolutions of 16-bit numbers tensor cores take, and which are left to float32 copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn.gpu import half
from gpunn.ops.conv2d import conv2d_forward
from gpunn.ops.matmul import gemm
from tests.convolutions import on as _on
from tests.halves import kernels_of as _kernels
from tests.halves import numbers as _numbers
from tests.halves import operands as _operands
from tests.halves import window as _window


@pytest.fixture(autouse=True)
def _with_bfloat16() -> None:
    pytest.importorskip("ml_dtypes")


def test_what_is_left_to_float32_copies(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device(kernels)
    a, b = _operands("bfloat16", "nn", 64, 48, 96)

    def launched(*operands: np.ndarray) -> list[str]:
        return _kernels(lambda: gemm(where, *_on(where, *operands), "nn"))[1]

    assert launched(a, b) == ["gemm_half_nn"]
    assert launched(a[:, :95].copy(), b[:95]).count("gemm_half_nn") == 0  # rows that are no whole vectors
    assert launched(a, b[:, :47].copy()).count("gemm_half_nn") == 0
    assert launched(a, b.astype(np.float32)).count("gemm_half_nn") == 0  # would be rounded
    assert launched(a, b.astype(np.float16)).count("gemm_half_nn") == 0
    odd = where.array(np.zeros(a.size + 1, a.dtype))[1:].reshape(a.shape)
    assert "gemm_half_nn" not in _kernels(lambda: gemm(where, odd, where.array(b), "nn"))[1]
    for groups, c, r in ((2, 16, 3), (1, 12, 3), (1, 16, 6)):
        window = _window(9, 9, r, r, (1, 1), (1, 1), (1, 1))
        x, weight = _numbers("bfloat16", 1, 9, 9, c), _numbers("bfloat16", 16, r, r, c // groups)
        args = _on(where, x, weight)
        y, kernels_of = _kernels(lambda args=args, w=window, g=groups: conv2d_forward(where, *args, w, g, None, False))  # type: ignore[misc]
        assert "conv2d_half_forward" not in kernels_of
        assert y.dtype == x.dtype
    monkeypatch.setattr(half, "has_tensor_cores", lambda device: False)
    assert launched(a, b).count("gemm_half_nn") == 0


def test_products_that_are_too_deep_or_tall_are_not_taken(kernels: str) -> None:
    where = device(kernels)
    a, b = _on(where, *_operands("bfloat16", "nn", 8, 8, 8))

    def taken(*sizes: int) -> bool:
        return half.takes_product(where, sizes, a, b)  # type: ignore[arg-type]

    assert 256 * half._DEEPEST * 2 < 2**32 <= 256 * (half._DEEPEST + 1) * 2  # bytes of a tile's rows
    assert taken(64, 48, half._DEEPEST)
    assert not taken(64, 48, half._DEEPEST + 1)
    assert taken(half._TALLEST * 256, 64, 8)
    assert not taken(half._TALLEST * 256 + 1, 64, 8)
    assert not taken(half._TALLEST * 128 + 1, 72, 8)
    assert taken(1, 8, 8)


def test_both_gradients_of_a_layer_are_taken_or_none(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device(kernels)
    monkeypatch.setattr(half, "_DEEPEST", 36)

    def taken(rows: int, m: int, needs: tuple[bool, bool], kind: str = "bfloat16", odd: bool = False) -> bool:
        given = _numbers("bfloat16", rows, m), _numbers("bfloat16", rows, 40), _numbers("bfloat16", m, 40)
        dy, x, weight = _on(where, *given)
        more = where.array(_numbers(kind, rows * 40 + odd))[int(odd) :].reshape(rows, 40)
        return half.takes_backward(where, dy, None, x, weight, needs, more)

    assert taken(32, 32, (True, True))
    assert taken(40, 32, (True, False))  # the weight's gradient sums over too many rows
    assert not taken(40, 32, (False, True))
    assert not taken(40, 32, (True, True))
    assert taken(32, 40, (False, True))  # and here x's over too many features
    assert not taken(32, 40, (True, False))
    assert not taken(32, 40, (True, True))
    assert not taken(32, 32, (True, True), "float16")
    assert not taken(32, 32, (False, True), "float16")
    assert not taken(32, 32, (True, True), odd=True)
    assert taken(32, 32, (False, True), odd=True)


def test_convolutions_that_are_not_taken(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = device(kernels)

    def taken(h: int, w: int, c: int, k: int, r: int = 1, s: int = 1, stride: Any = (1, 1), **others: Any) -> bool:
        x, weight = _on(where, _numbers("bfloat16", 2, h, w, c), _numbers("bfloat16", k, r, s, c))
        window = _window(h, w, r, s, stride, (0, 0), (1, 1))
        return half.takes_convolution(where, x, weight, window, 1, *others.values())

    assert taken(4, 8, 8, 8, 4, 8)
    assert not taken(3, 11, 8, 8, 3, 11)  # more filter elements than an int has bits
    assert taken(13, 21, 8, 8, stride=(13, 21))
    assert not taken(2, 137, 8, 8, stride=(2, 137))  # more phases than a grid has room for
    assert not taken(4, 8, 8, 12)
    bias = _numbers("bfloat16", 17)
    assert taken(4, 8, 8, 8, bias=where.array(bias[:8].copy()))
    assert not taken(4, 8, 8, 8, bias=where.array(bias)[1:9])
    assert not taken(4, 8, 8, 8, bias=where.array(bias[:8].astype(np.float32)))
    with monkeypatch.context() as patch:
        patch.setattr(half, "_DEEPEST", 3 * 8)
        assert taken(6, 10, 8, 8, 1, 3)
        assert not taken(6, 10, 8, 8, 2, 2)
    with monkeypatch.context() as patch:  # one tile down
        patch.setattr(half, "_TALLEST", 1)
        patch.setattr(half, "MOST_SLICES", 1)
        assert taken(8, 8, 72, 72)
        assert not taken(5, 13, 8, 72)
        assert not taken(5, 13, 72, 8)
        assert taken(5, 13, 8, 8)
    for name in ("counts_in_ints", "has_tensor_cores"):
        with monkeypatch.context() as patch:
            patch.setattr(half, name, lambda *_: False)
            assert not taken(4, 8, 8, 8)
