"""What all tests share: where real data lies, and that nothing is skipped unnoticed in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

_SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
if "GPUNN_DATA" not in os.environ and _SHARED.is_dir():
    os.environ["GPUNN_DATA"] = str(_SHARED)


settings.register_profile("ci", derandomize=True)  # the same examples every time: a red run is about the change


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI"):
        settings.load_profile("ci")
        from gpunn import emulator

        reason = emulator.available()
        if reason is not None:
            raise pytest.UsageError(f"CI must run the kernels on the emulator: {reason}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that compares with PyTorch has torch in its name; ``-m parity`` selects those."""
    for item in items:
        if "torch" in item.name:
            item.add_marker(pytest.mark.parity)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same stream, whatever ran before it."""
    from gpunn.random import manual_seed

    manual_seed(0)
