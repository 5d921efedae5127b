"""Every primitive on its examples, on the device, against its plain body on NumPy."""

from __future__ import annotations

import argparse
import copy
import functools
import time
from typing import Any

import numpy as np

from benchmarks._report.book import Section
from benchmarks._report.compiled import compile_jobs
from benchmarks._report.health import BrokenContext
from gpunn import _warmup as warmup
from tests.examples import examples_of

_COMPILING = 0.6  # of the section's time, at most; what is not compiled by then is compiled when it is launched
_WHOLE = 3  # failures of a primitive that are told with their tracebacks; the others in a line


def run(section: Section, options: argparse.Namespace) -> None:
    """All primitives; a failure is recorded with the example it happened on, and stops nothing.

    A primitive that breaks the GPU's context, or ends its process, is not tried again: the next process goes on with
    the next one.
    """
    from gpunn._device import device

    if options.device.startswith("cuda"):
        section.attempt("compiling", functools.partial(_compile, section, options.device))
    target, home = device(options.device), device("cpu")
    section.value("device", str(target))
    left_out: list[str] = []
    for name, primitive in primitives():
        if not section.start(name):
            _say_what_became_of(section, name)
        elif section.expired:
            left_out.append(name)
        else:
            _try_primitive(section, primitive, target, home)
    if left_out:
        section.cut(f"{', '.join(left_out)}: {section.why}")
    section.value("left out", len(left_out))


def _compile(section: Section, device: str) -> None:
    """What the examples launch, in many processes; here it would be one after the other."""
    compile_jobs(section, device, warmup.jobs_used_by(_launch_all), _COMPILING * section.remaining)


def _launch_all(target: Any) -> None:
    for _, primitive in primitives():
        for example in examples_of(primitive):
            outputs(primitive, target, example, plain=False)


def _say_what_became_of(section: Section, name: str) -> None:
    """Of a primitive that a process before this one began: if it did not come to its end, that the rest is missing."""
    if not section.has("primitives", primitive=name) and section.start(f"{name}, the rest"):
        section.cut(f"{name}: left out behind the example at which its process ended")


def primitives() -> list[tuple[str, Any]]:
    """Every primitive by its name."""
    from gpunn.ops import import_all
    from gpunn.primitive import REGISTRY

    import_all()
    return sorted(REGISTRY.items())


def _try_primitive(section: Section, primitive: Any, target: Any, home: Any) -> None:
    if target.loader is not None and primitive.kernel_body is not None:
        body = "kernel"
    else:
        body = "numpy" if target.name == "cpu" and primitive.numpy_body is not None else "plain"
    start = time.perf_counter()
    worst, failed, done, examples = 0.0, 0, 0, []
    try:
        examples = examples_of(primitive)
    except Exception as error:
        section.fail(f"{primitive.name}: making its examples", error)
    try:
        for number, example in enumerate(examples):
            if section.expired and number:
                section.cut(f"{len(examples) - number} of {len(examples)} examples of {primitive.name}: {section.why}")
                break
            section.start(f"{primitive.name}, example {number}")
            done += 1
            try:
                worst = max(worst, compare(primitive, target, home, example))
            except Exception as error:
                failed += 1
                what = f"{primitive.name}, example {number} ({describe(example)})"
                if failed <= _WHOLE:
                    section.survive(what, error)
                else:
                    section.fail(f"{what}: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
                    section.probe(what)
    except BrokenContext:
        if done < len(examples):
            section.cut(
                f"{len(examples) - done} of {len(examples)} examples of {primitive.name}: left out behind the one that "
                "broke the GPU's context"
            )
        raise
    finally:
        if done:
            section.row(
                "primitives",
                primitive=primitive.name,
                body=body,
                examples=done,
                failed=failed,
                **{"error / tolerance": worst, "ms": 1e3 * (time.perf_counter() - start)},
            )


def describe(example: dict[str, Any]) -> str:
    """An example in a line: arrays by dtype and shape."""

    def show(value: Any) -> str:
        if isinstance(value, list | tuple) and any(isinstance(item, np.ndarray) for item in value):
            return f"({', '.join(map(show, value))})"
        return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)[:80]

    return ", ".join(f"{key}={show(value)}" for key, value in example.items())


def compare(primitive: Any, target: Any, home: Any, example: dict[str, Any]) -> float:
    """Run both bodies and compare all they return and mutate; the worst error as a share of the tolerance."""
    expected = outputs(primitive, home, example, plain=True)
    got = outputs(primitive, target, example, plain=False)
    worst = 0.0
    for name, want in expected.items():
        worst = max(worst, _difference(name, got[name], want, primitive.tolerance))
    return worst


def outputs(primitive: Any, device: Any, example: dict[str, Any], plain: bool) -> dict[str, Any]:
    """{name: what the primitive returned or left in an argument}, on the host."""
    host_only = primitive.host_arguments
    arguments = {k: v if k in host_only else _upload(v, device) for k, v in example.items()}
    with np.errstate(all="ignore"):
        result = primitive.plain(np, **arguments) if plain else primitive(device, **arguments)
    device.synchronize()
    if len(primitive.returns) == 1:
        # Called directly, a plain body may give a NumPy scalar.
        results: Any = (np.asarray(result) if plain else result,)
    else:
        results = result or ()
    assert len(results) == len(primitive.returns), f"returned {len(results)} values, not {primitive.returns}"
    outputs = dict(zip(primitive.returns, results, strict=True))
    for name, array in outputs.items():
        assert array is None or array.flags.c_contiguous, f"{name} is not contiguous: strides {array.strides}"
    outputs |= {f"argument {name}": arguments[name] for name in primitive.mutates}
    return {name: _to_host(value) for name, value in outputs.items()}


def _upload(value: Any, device: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.names is None:
        value = np.array(value, order="C")
        return value if device.xp is np else device.array(value)
    if isinstance(value, list | tuple) and any(isinstance(item, np.ndarray) for item in value):
        return type(value)(_upload(item, device) for item in value)
    return copy.deepcopy(value)


def _to_host(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_to_host(item) for item in value]
    return value.get() if hasattr(value, "get") and not isinstance(value, dict) else value


def _difference(name: str, got: Any, want: Any, tolerance: float) -> float:
    """The largest difference relative to the array's largest magnitude and the tolerance; raise if over 1."""
    if isinstance(want, list):
        assert len(got) == len(want), f"{name}: {len(got)} arrays where {len(want)} were expected"
        parts = enumerate(zip(got, want, strict=True))
        return max((_difference(f"{name}[{i}]", g, w, tolerance) for i, (g, w) in parts), default=0.0)
    if want is None or got is None:
        assert got is want, f"{name}: {got!r} where {want!r} was expected"
        return 0.0
    assert got.dtype == want.dtype, f"{name}: {got.dtype} where {want.dtype} was expected"
    assert got.shape == want.shape, f"{name}: shape {got.shape} where {want.shape} was expected"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=name)
        return 0.0
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.where(finite, 0, got), np.where(finite, 0, want), err_msg=name)
    scale = float(np.abs(want[finite]).max(initial=1e-30))
    # float64 sums differ by as many roundings, each 2^29 times smaller.
    bound = tolerance * (1.0 if got.dtype == np.float32 else 2.0**-29)
    error = float(np.abs(got[finite] - want[finite]).max(initial=0)) / scale
    if bound:
        error /= bound
    elif error:  # what is only moved must keep its bits
        error = np.inf
    if not error <= 1:  # NaN too
        worst = int(np.nanargmax(np.where(finite, np.abs(got - want), 0)))
        at = tuple(int(i) for i in np.unravel_index(worst, want.shape))
        raise AssertionError(
            f"{name}: relative error {error * (bound or 1):.2e} > {bound:.2e}; "
            f"at {at} {got[at]!r} where {want[at]!r} was expected"
        )
    return error
