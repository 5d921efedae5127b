"""Memory that a tensor shares with arrays and other tensors: written to on one side, seen on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn

STRIDED: dict[str, Callable[[Any], Any]] = {
    "C order": lambda a: a,
    "Fortran order": np.asfortranarray,
    "turned": lambda a: np.ascontiguousarray(a.T).T,
    "stepped": lambda a: np.repeat(a, 2, -1)[..., ::2],
}


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 5), (2, 3, 4), (6,)])
@pytest.mark.parametrize("kind", STRIDED)
@pytest.mark.parametrize("make", ["from_numpy", "as_tensor", "asarray", "from_dlpack"])
def test_memory_is_shared_both_ways(make: str, kind: str, shape: tuple[int, ...]) -> None:
    array = STRIDED[kind](np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    if make == "from_dlpack" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("this NumPy hands out its memory for reading only")
    x = getattr(gpunn, make)(array)
    last = x[..., 0]
    array += 1
    np.testing.assert_array_equal(x.numpy(), array)
    np.testing.assert_array_equal(last.numpy(), array[..., 0])
    last.mul_(2)
    x[:1] -= 5
    np.testing.assert_array_equal(x.tolist(), array)
    assert np.shares_memory(x.numpy(), array)
    assert np.shares_memory(last.numpy(), array)
    np.testing.assert_array_equal((x * 2).numpy(), array * 2)
    assert (x.dtype, x.ndim, x.numel()) == (np.float32, len(shape), array.size)


@pytest.mark.parametrize("where", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_numpy_of_any_strided_view_is_its_memory(where: str) -> None:
    x = gpunn.zeros(2, 3, 4, 5, device=where)
    parts = [x, x[:, 1], x.permute(0, 2, 3, 1), x[..., ::2], x.mT, x.unbind(1)[2], x[1:, None], x.detach(), x.data[0]]
    for number, part in enumerate(parts):
        before, array = part.tolist(), part.numpy()
        np.testing.assert_array_equal(array, before)
        array += number + 1
        np.testing.assert_array_equal(part.tolist(), np.add(before, number + 1))
    np.testing.assert_array_equal(parts[1].tolist(), np.array(x.tolist())[:, 1])


def test_an_array_that_has_to_be_a_copy_cannot_be_written_to() -> None:
    flat = gpunn.zeros(2, 3, 4, 5).flatten(1).numpy()
    assert not flat.flags.writeable
    assert gpunn.zeros(2, 3, 1, 1).flatten(1).numpy().flags.writeable  # the same order in memory


def test_setting_data() -> None:
    layer = gpunn.nn.Linear(2, 2, bias=False)
    weight: Any = layer.weight
    values = gpunn.ones(2, 2)
    weight.data = values
    assert layer(gpunn.ones(1, 2)).tolist() == [[2, 2]]
    values[0] = 5
    assert weight.tolist() == [[5, 5], [1, 1]]
    assert weight.requires_grad
    with pytest.raises(gpunn.errors.UsageError, match="data: expected a Tensor; got ndarray"):
        weight.data = np.ones(3)
    with pytest.raises(gpunn.errors.DTypeError, match="requires a gradient"):
        weight.data = gpunn.arange(3)
