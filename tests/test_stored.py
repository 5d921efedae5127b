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

NAMES = sorted(name for name, primitive in REGISTRY.items() if primitive.stored)


def _examples(primitive: Primitive, kind: str) -> list[dict[str, Any]]:
    """Those in float32, with 16 bits in what the kernel takes so."""
    dtype, made = half_named("test", kind), []
    for example in examples_of(primitive):
        given = [example[name] for name in primitive.stored if example.get(name) is not None]
        if all(array.dtype == np.float32 for array in given):
            made.append(
                {k: v.astype(dtype) if k in primitive.stored and v is not None else v for k, v in example.items()}
            )
    return made


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
        assert "cast" not in [launch.kernel for launch in launches]
        for a, b in zip(_arrays(found), _arrays(expected), strict=True):
            assert a.dtype == b.dtype
            _near(f"{name} example {number}", a.astype(np.float64), b.astype(np.float64), NEAR[kind])


def _arrays(found: tuple[tuple, dict]) -> list[np.ndarray]:
    return [array for array in (*found[0], *found[1].values()) if array is not None]


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
        given = [key for key in sorted(primitive.stored) if example.get(key) is not None]
        if len(given) < 2 or not example[given[0]].size:
            continue
        example[given[0]] = example[given[0]].astype(half_named("test", "bfloat16"))
        with trace_launches() as launches:
            run_body(primitive, device(kernels), example)
        assert "cast" in [launch.kernel for launch in launches]
        tried += 1
    assert tried or len(primitive.stored) == 1
