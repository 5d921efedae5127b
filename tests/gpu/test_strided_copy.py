"""What the kernels that move elements share: large boxes in several launches, many axes, merging, alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import ShapeError
from gpunn.gpu import gather, strided_copy
from gpunn.gpu.launcher import trace_launches
from gpunn.gpu.strided_copy import bits_of, memory, merged, wide
from gpunn.nn import functional as F
from gpunn.ops import where as where_module


def _everything(x: gpunn.Tensor, index: gpunn.Tensor) -> list[gpunn.Tensor]:
    """One result of each kernel that may need several launches; x (4, 3, 5, 6)."""
    made = [
        x.permute(2, 0, 3, 1),
        x[1:, :, ::2, 1:5],
        gpunn.flip(x, (0, 3)),
        x[:, :, None].expand(-1, -1, 2, -1, -1),
        F.pad(x, (1, 2, 0, 1, 2, 0)),
        gpunn.cat([x, x[:, :, :2], x], 2),
        *x.split([1, 2], 1),
        gpunn.where(x > 0, x, x[:1]),
        x.masked_fill(x[:, :, :, :1] > 0, 2.5),
        x[index],
        x.index_select(3, index),
        x[:, index, 1:, index],
        x.gather(0, index.reshape(5, 1, 1, 1).expand(-1, 3, 5, 6)),
    ]
    return [*made, sum((y * y).sum() for y in made)]


@pytest.mark.parametrize("most", [7, 64])
def test_boxes_too_large_for_a_launch_go_in_parts(kernels: str, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As more than 2^31 elements would."""
    rng = np.random.Generator(np.random.Philox(0))
    values, places = rng.standard_normal((4, 3, 5, 6)).astype(np.float32), np.array([2, 0, 2, 1, 1])
    found = []
    for device, parts in (("cpu", False), (kernels, False), (kernels, True)):
        if parts:
            for module in (strided_copy, gather, where_module):
                monkeypatch.setattr(module, "_MOST", most)
        x = gpunn.tensor(values, device=device, requires_grad=True)
        with trace_launches() as launches:
            *made, total = _everything(x, gpunn.tensor(places, device=device))
            total.backward()
        found.append(([y.detach().numpy() for y in made], x.grad.numpy(), len(launches)))
    for got, gradient, _ in found[1:]:
        for a, b in zip(got, found[0][0], strict=True):
            np.testing.assert_array_equal(a, b)
        # Up to some forty numbers of order one are added for an element, in another order.
        np.testing.assert_allclose(gradient, found[0][1], rtol=0, atol=1e-4)
    assert found[2][2] > found[1][2] + 50


def test_more_axes_than_a_box_has(kernels: str) -> None:
    x = np.arange(3 * 2**7).reshape(2, 3, 2, 2, 2, 2, 2, 2)
    t = gpunn.tensor(x, device=kernels)
    np.testing.assert_array_equal(t.permute(7, 6, 5, 4, 3, 2, 1, 0).numpy(), x.transpose())
    np.testing.assert_array_equal(F.pad(t, (1, 0) * 8).numpy(), np.pad(x, [(1, 0)] * 8))
    np.testing.assert_array_equal(t.flip((0, 2, 4, 6)).numpy(), x[::-1, :, ::-1, :, ::-1, :, ::-1])
    index = np.array([1, 0, 1])
    picked = gpunn.tensor(x[..., 0], device=kernels).flip((0, 2, 4, 6))[:, gpunn.tensor(index, device=kernels)]
    np.testing.assert_array_equal(picked.numpy(), x[::-1, :, ::-1, :, ::-1, :, ::-1, 0][:, index])


def test_gradients_of_an_index_among_many_axes_are_refused(kernels: str) -> None:
    x = gpunn.ones(*(2,) * 8, device=kernels, requires_grad=True)
    index = gpunn.zeros(1, 1, 1, 1, 1, 1, 1, 2, dtype=np.int64, device=kernels)
    with pytest.raises(ShapeError, match="at most 6 axes beside the indexed ones"):
        x.gather(7, index).sum().backward()


@pytest.mark.parametrize(("channels", "width"), [(1, 4), (2, 8), (3, 4), (4, 16), (6, 8), (8, 16)])
def test_elements_are_as_wide_as_runs_allow(kernels: str, channels: int, width: int) -> None:
    x = gpunn.ones(2, channels, 5, 5, device=kernels)
    with trace_launches() as launches:
        x[:, :, ::2, ::2].numpy()
    (launch,) = launches
    assert launch.kernel == "copy_box"
    assert np.prod([2, 3, 3, channels]) * 4 // width == launch.args[-1]


@given(st.lists(st.integers(1, 4), max_size=4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_merged_axes_reach_the_same_elements(shape: list[int], seed: int) -> None:
    rng = np.random.Generator(np.random.Philox(seed))
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    order = rng.permutation(len(shape)).tolist()
    view = x.transpose(order)
    lengths, (steps,) = merged(view.shape, view.strides)
    places = np.zeros((), np.int64)
    for n, step in zip(lengths, steps, strict=True):
        places = places[..., None] + np.arange(n) * step
    np.testing.assert_array_equal(x.reshape(-1)[places.reshape(-1) // 8], view.reshape(-1))
    assert len(lengths) <= max(1, len(shape))
    np.testing.assert_array_equal(memory(view).view(np.int64), x.reshape(-1))


def test_merged_rows_are_one_axis() -> None:
    x: Any = np.zeros((2, 3, 1, 4))
    assert merged(x.shape, x.strides)[0] == [24]
    assert merged((2, 3, 4), (96, 0, 8))[0] == [2, 3, 4]
    assert merged((), ()) == ([1], [[0]])


@pytest.mark.parametrize(
    ("value", "dtype", "bits"),
    [
        (0, np.float64, 0),
        (1, np.uint8, 0x0101010101010101),
        (-1, np.int64, 2**64 - 1),
        (1, np.float32, 0x3F8000003F800000),
    ],
)
def test_constants_by_their_bits(value: int, dtype: type, bits: int) -> None:
    assert bits_of(value, np.dtype(dtype)) == bits


def test_wide() -> None:
    assert wide(4, 32, 48) == 16
    assert wide(4, 32, 48, 8, 0) == 8
    assert wide(4, 12) == 4
    assert wide(1, 0) == 16
