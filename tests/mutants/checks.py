"""What tries a mutant: the battery's examples of the primitives that launch it, then tests on the emulator.

All of this runs in forked processes (``forked.py``); what it finds is said in dictionaries.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from gpunn._device import device
from gpunn.emulator import EmulatorFinding, Module, schedule
from gpunn.primitive import REGISTRY
from tests import test_battery as battery
from tests.examples import examples_of
from tests.mutants.forked import Say, allow

ROOT = Path(__file__).parent.parent.parent
ORDERS = ("forward", "reverse", "shuffled")
# The tests that are run on a mutant which the battery lets through.
SUITE = (
    "tests/ops", "tests/nn", "tests/optim", "tests/emulator/test_tensor_core.py", "tests/test_golden.py",
    "tests/test_capture.py", "tests/test_precision.py", "tests/gpu/test_half.py",
    "tests/gpu/test_conv2d_tensor.py", "tests/gpu/test_conv2d_winograd.py",
)  # fmt: skip
# Kernels of these tests; they are not changed, but they launch what the headers hold.
KERNELS_OF_TESTS = ROOT / "tests/emulator/correct"
STEP_SECONDS = 20  # of processor time, for an example or a test: some hundred times what one takes
_NOT_COMPILED = "does not compile"

Launched = set[tuple[str, str]]  # (file, kernel)


class Examples:
    """The examples of primitives that have a kernel, with what their plain bodies make of them."""

    def __init__(self, primitives: Sequence[str]) -> None:
        self.of: dict[str, list[tuple[dict[str, Any], tuple, dict[str, Any]]]] = {}
        for name in primitives:
            primitive = REGISTRY[name]
            made = examples_of(primitive)
            self.of[name] = [(example, *battery.run_body(primitive, None, example)) for example in made]

    def run(self, name: str, order: str) -> None:
        """As ``test_bodies_agree`` does; raises what it would raise."""
        primitive, target = REGISTRY[name], device("emulator")
        for number, (example, expected, expected_mutated) in enumerate(self.of[name]):
            allow(STEP_SECONDS)
            with schedule(order, seed=number):
                got, mutated = battery.run_body(primitive, target, example)
            for label, g, e in zip(primitive.returns, got, expected, strict=True):
                battery.assert_same(f"example {number}: {label}", g, e, primitive.tolerance)
            for label in primitive.mutates:
                battery.assert_same(
                    f"example {number}: {label}", mutated[label], expected_mutated[label], primitive.tolerance
                )


def _use(kernels: Path, cache: Path | None) -> None:
    os.chdir(ROOT)
    os.environ["GPUNN_KERNELS"] = str(kernels)
    if cache is not None:
        os.environ["GPUNN_CACHE"] = str(cache)


def told(error: BaseException, where: str) -> dict[str, Any]:
    """What an exception says about a mutant: {"how": invalid, finding, values or error, ...}."""
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, EmulatorFinding):
        how, message = "finding", f"{error.kind}: {message}"
    elif _NOT_COMPILED in message:
        how = "invalid"
    elif isinstance(error, AssertionError):
        how = "values"
    else:
        how, message = "error", f"{type(error).__name__}: {message}"
    return {"how": how, "where": where, "message": message[:300]}


def try_battery(say: Say, kernels: Path, cache: Path | None, examples: Examples, names: Sequence[str]) -> None:
    """Say how the first primitive fails, if one does."""
    _use(kernels, cache)
    for order in ORDERS:
        for name in names:
            say({"begin": f"{name} ({order})"})
            try:
                examples.run(name, order)
            except Exception as error:
                say(told(error, f"{name} ({order})"))
                return
    say({"how": "survived"})


def try_tests(say: Say, kernels: Path, cache: Path | None, nodes: Sequence[str]) -> None:
    """Say how the first test fails, if one does."""
    _use(kernels, cache)
    failed = run_pytest(say, ["-x", *nodes], Plugin(say))
    if not failed:
        say({"how": "survived"})


def record_battery(say: Say, kernels: Path, examples: Examples, names: Sequence[str]) -> None:
    """Say of each primitive which kernels it launches and how long it takes; and whether it fails."""
    _use(kernels, None)
    for name in names:
        launched, start = _watch_launches(), time.monotonic()
        try:
            for order in ORDERS:
                examples.run(name, order)
        except Exception as error:
            say({"check": name, **told(error, name)})
        say({"check": name, "launched": sorted(launched), "seconds": time.monotonic() - start})


def record_tests(say: Say, kernels: Path, files: Sequence[str]) -> None:
    """The same of each test of some files."""
    _use(kernels, None)
    run_pytest(say, ["-m", "emulator", *files], Plugin(say, recording=True))


def _watch_launches() -> Launched:
    """A set that from now on takes up what is launched."""
    launched: Launched = set()
    original = getattr(Module.launch, "__wrapped__", Module.launch)

    @functools.wraps(original)
    def launch(self: Module, kernel: str, *args: Any, **kwargs: Any) -> None:
        launched.add((self.label, kernel))
        original(self, kernel, *args, **kwargs)

    Module.launch = launch
    return launched


def run_pytest(say: Say, arguments: list[str], plugin: Plugin) -> bool:
    """Run tests in this process, always on the same examples; whether one failed."""
    os.environ.pop("CI", None)
    phases = (Phase.explicit, Phase.generate)  # a smaller example would tell nothing more
    settings.register_profile(
        "mutants", derandomize=True, database=None, deadline=None, phases=phases, report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    settings.load_profile("mutants")
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = pytest.main([*quiet, *arguments], plugins=[plugin])
    if not plugin.failed and status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        say({"broken": f"pytest ended with {status!r}"})
    return plugin.failed


class Plugin:
    """Says of each test that it begins, what it launched, and how it failed."""

    def __init__(self, say: Say, recording: bool = False) -> None:
        self._say = say
        self._recording = recording
        self.failed = False
        self._start = 0.0

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._say({"begin": nodeid})
        self._start = time.monotonic()
        self._launched = _watch_launches() if self._recording else set()
        allow(STEP_SECONDS * (10 if self._recording else 1))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if self._recording:
            self._say({"check": nodeid, "launched": sorted(self._launched), "seconds": time.monotonic() - self._start})

    def pytest_exception_interact(self, node: Any, call: pytest.CallInfo[Any]) -> None:
        assert call.excinfo is not None
        self.failed = True
        self._say({"check": node.nodeid, **told(call.excinfo.value, node.nodeid)})
