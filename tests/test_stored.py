"""Kernels that read and write 16-bit numbers themselves give what they give on float32 copies, rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn._half import half_named
from gpunn.gpu.launcher import trace_launches
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY, Primitive
from tests.devices import in_order
from tests.examples import examples_of
from tests.halves import KINDS, NEAR
from tests.test_battery import run_body

import_all()

# Results that a kernel has in float32: one number, or one for each channel.
ROUNDED = {"total_norm": 1}
NAMES = sorted(name for name, primitive in REGISTRY.items() if primitive.stored)


def _examples(primitive: Primitive, kind: str) -> list[dict[str, Any]]:
    """Those in float32, with 16 bits in what the kernel takes so; in turn with parameters in float32 and in 16 bits."""
    dtype, made = half_named("test", kind), []
    for number, example in enumerate(examples_of(primitive)):
        names = primitive.stored | primitive.parameters if number % 2 else primitive.stored
        if all(array.dtype == np.float32 for name in primitive.stored for array in _flat(example.get(name))):
            made.append(example | {name: _of(example.get(name), dtype) for name in names & example.keys()})
    return made


def _flat(value: Any) -> list[np.ndarray]:
    """An array, None, or a list of them: the arrays."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None]


def _of(value: Any, dtype: np.dtype) -> Any:
    if isinstance(value, list):
        return [_of(one, dtype) for one in value]
    with np.errstate(over="ignore"):
        return value if value is None else value.astype(dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_numbers_as_from_copies(kernels: str, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ml_dtypes")
    primitive, where = REGISTRY[name], device(kernels)
    examples = _examples(primitive, kind)
    assert examples
    for number, example in enumerate(examples):
        with trace_launches() as launches, in_order(kernels, "shuffled", seed=number):
            found = run_body(primitive, where, example)
        with monkeypatch.context() as patched:
            patched.setattr(primitive, "stored", frozenset())
            expected = run_body(primitive, where, example)
        assert [launch.kernel for launch in launches].count("cast") == (ROUNDED.get(name, 0) if launches else 0)
        for a, b in zip(_arrays(found), _arrays(expected), strict=True):
            assert a.dtype == b.dtype
            _near(f"{name} example {number}", a.astype(np.float64), b.astype(np.float64), NEAR[kind])


def _arrays(found: tuple[tuple, dict]) -> list[np.ndarray]:
    return [array for value in (*found[0], *found[1].values()) for array in _flat(value)]


def _near(what: str, a: np.ndarray, b: np.ndarray, half: float) -> None:
    """The last bit may differ where a compiler made other instructions of the same sum."""
    finite = np.isfinite(b)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(finite, 0, b), err_msg=what)
    a, b = a[finite], b[finite]
    error = np.abs(a - b) - 2 * half * np.abs(b)
    assert error.max(initial=0) <= 1e-6 * np.abs(b).max(initial=0), what


@pytest.mark.parametrize("name", NAMES)
def test_of_two_dtypes_copies_are_made(kernels: str, name: str) -> None:
    """The kernel has one type for all such arrays."""
    pytest.importorskip("ml_dtypes")
    primitive = REGISTRY[name]
    tried = 0
    for example in _examples(primitive, "float16"):
        given = [key for key in sorted(primitive.stored) if _flat(example.get(key))]
        if len(given) < 2 or not _flat(example[given[0]])[0].size:
            continue
        example[given[0]] = _of(example[given[0]], half_named("test", "bfloat16"))
        with trace_launches() as launches:
            run_body(primitive, device(kernels), example)
        assert "cast" in [launch.kernel for launch in launches]
        tried += 1
    assert tried or len(primitive.stored) == 1
