"""The pytest-benchmark suites: which device, size and sides; each side is checked before it is timed.

``pytest benchmarks/ --benchmark-only [--bench-device cpu] [--bench-size cpu] [--bench-against torch] [-k conv06]``
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpunn._device import device as get_device
from gpunn.bench.case import Case
from gpunn.bench.cases import SIZES, all_cases
from gpunn.bench.runner import OURS, Settings, check, check_against, prepare, sides_of
from gpunn.bench.sides import limited_threads
from gpunn.cpu.threads import get_num_threads


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpunn")
    group.addoption("--bench-device", default="cpu", help="cpu (the default), cuda, emulator, ...")
    group.addoption("--bench-size", choices=SIZES, help="full (default on a GPU), cpu (default on the CPU) or tiny")
    group.addoption("--bench-against", default="", help="torch, dezero, devices; separated by commas")
    group.addoption("--bench-threads", type=int, help="of each side on the CPU (default: all usable cores)")


def _settings(config: pytest.Config) -> Settings:
    device = get_device(config.getoption("--bench-device"))
    size = config.getoption("--bench-size") or ("full" if device.ordinal is not None else "cpu")
    against = tuple(word for word in config.getoption("--bench-against").split(",") if word)
    check_against(against, device)
    return Settings(device, against, size)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for every side of every case of the group that the file asks for."""
    if "side" not in metafunc.fixturenames:
        return
    settings = _settings(metafunc.config)
    group = metafunc.module.GROUP
    pairs = [(c, s) for c in all_cases(settings.size) if c.group == group for s in sides_of(c, settings)]
    metafunc.parametrize(("case", "side"), pairs, ids=[f"{c.id}-{s.replace(' ', '-')}" for c, s in pairs])


@pytest.fixture(autouse=True)
def _threads(request: pytest.FixtureRequest) -> Iterator[None]:
    against = request.config.getoption("--bench-against").split(",")
    torch: Any = importlib.import_module("torch") if "torch" in against else None
    with limited_threads(request.config.getoption("--bench-threads") or get_num_threads(), torch):
        yield


@pytest.fixture
def time_side(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[Case, str], None]:
    """Check one side of a case against gpunn (gpunn against float64) and time it, waiting for the device."""
    settings = _settings(request.config)

    def time(case: Case, side: str) -> None:
        runs = {OURS: prepare(case, OURS, settings)}
        if side != OURS:
            runs[side] = prepare(case, side, settings)
        error = check(case, runs, settings.size)
        run, wait = runs[side], _wait(side, settings)
        benchmark.group = f"{case.id}: {case.name}"
        benchmark.extra_info.update(flop=case.flop, bytes=case.traffic, error=error, device=str(settings.device))

        def timed() -> None:
            run()
            wait()

        if case.id.endswith(".epoch"):
            benchmark.pedantic(timed, rounds=3)
        else:
            benchmark(timed)

    return time


def _wait(side: str, settings: Settings) -> Callable[[], Any]:
    if settings.device.ordinal is None:
        return lambda: None
    if side.startswith("torch"):
        return importlib.import_module("torch").cuda.synchronize
    return settings.device.synchronize
