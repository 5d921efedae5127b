"""What all tests share: the devices they run on, where real data lies, that nothing is skipped unnoticed in CI."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.devices import HAS_GPU, KERNELS, refuse_to_run_without

_SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
if "GPUNN_DATA" not in os.environ and _SHARED.is_dir():
    os.environ["GPUNN_DATA"] = str(_SHARED)


settings.register_profile(
    "ci",
    derandomize=True,  # the same examples every time: a red run is about the change
    deadline=None,  # and how long one takes is about the machine
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist
        # What tests start is not a worker, and must not take itself for one.
        for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
            del os.environ[name]
    if os.environ.get("CI"):
        settings.load_profile("ci")
        from gpunn import emulator

        reason = emulator.available()
        if reason is not None:
            raise pytest.UsageError(f"CI must run the kernels on the emulator: {reason}")
    refuse_to_run_without(config.option.markexpr)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``kernels``: the name of a device that runs kernels (``tests/devices.py``).

    Not a fixture with ``params``: hypothesis refuses one that lives for a function, and one that lives longer would
    gather all tests of a device, away from the rest of their files.
    """
    if "kernels" in metafunc.fixturenames:
        metafunc.parametrize("kernels", KERNELS)


@functools.cache
def _mentions_torch(path: Path) -> bool:
    return "torch" in path.read_text()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``-m parity`` selects the files that use PyTorch somewhere."""
    from gpunn import emulator

    if not HAS_GPU:  # deselected, not skipped: they say nothing about this machine
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("gpu")])
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]
    wanted = os.environ.get("CI") or "tools" in config.option.markexpr
    no_emulator = emulator.available()
    for item in items:
        if no_emulator is not None and item.get_closest_marker("emulator"):
            item.add_marker(pytest.mark.skip(reason=no_emulator))
        if _mentions_torch(item.path):
            item.add_marker(pytest.mark.parity)
        if item.get_closest_marker("tools") and not wanted:
            item.add_marker(pytest.mark.skip(reason="checks a tool of developers: CI runs it, and pytest -m tools"))


def pytest_runtest_logreport(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Note what is skipped for want of PyTorch, so that CI's second run with it need not repeat all the rest.

    Every process of pytest-xdist adds to the file, so names come more than once: of files that are skipped on import
    the controlling process hears of one alone.
    """
    names = os.environ.get("GPUNN_TESTS_WITHOUT_TORCH")
    if names and report.skipped and isinstance(report.longrepr, tuple) and "torch" in report.longrepr[2].lower():
        with open(names, "a") as file:
            file.write(f"{report.nodeid}\n")


pytest_collectreport = pytest_runtest_logreport


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same stream, whatever ran before it."""
    from gpunn.random import manual_seed

    manual_seed(0)
