"""What all tests share: where real data lies, and that nothing is skipped unnoticed in CI."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
from hypothesis import settings

_SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
if "GPUNN_DATA" not in os.environ and _SHARED.is_dir():
    os.environ["GPUNN_DATA"] = str(_SHARED)


settings.register_profile("ci", derandomize=True)  # the same examples every time: a red run is about the change


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


@functools.cache
def _mentions_torch(path: Path) -> bool:
    return "torch" in path.read_text()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """``-m parity`` selects the files that use PyTorch somewhere, so that no test is skipped in both of CI's runs."""
    wanted = os.environ.get("CI") or "tools" in config.option.markexpr
    for item in items:
        if _mentions_torch(item.path):
            item.add_marker(pytest.mark.parity)
        if item.get_closest_marker("tools") and not wanted:
            item.add_marker(pytest.mark.skip(reason="checks a tool of developers: CI runs it, and pytest -m tools"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same stream, whatever ran before it."""
    from gpunn.random import manual_seed

    manual_seed(0)
