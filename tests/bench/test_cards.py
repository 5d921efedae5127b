"""Cards, occupancy and rooflines: what follows from NVIDIA's numbers."""

from __future__ import annotations

import pytest

from gpunn.bench.cards import CARDS, Occupancy, card, occupancy
from gpunn.errors import UsageError
from gpunn.gpu.launcher import ARCHITECTURES

# sm, threads, registers, bytes of shared memory, blocks of an SM: what cudaOccMaxActiveBlocksPerMultiprocessor of the
# toolkit's cuda_occupancy.h says.
KNOWN = [
    (75, 128, 40, 0, 8), (75, 256, 64, 16896, 3), (75, 1024, 63, 49152, 1), (75, 32, 16, 0, 16),
    (80, 32, 16, 0, 32), (80, 256, 255, 0, 1), (80, 100, 48, 5120, 10), (80, 320, 40, 33000, 4),
    (86, 512, 80, 20000, 1), (86, 128, 32, 20000, 4), (86, 96, 96, 1000, 6), (86, 64, 168, 100000, 1),
    (89, 64, 20, 0, 24), (89, 768, 40, 0, 2), (89, 192, 63, 5120, 5), (89, 256, 128, 60000, 1),
    (90, 1024, 32, 0, 2), (90, 1024, 80, 0, 0), (90, 256, 40, 49152, 4), (90, 128, 168, 0, 3),
    (100, 320, 64, 0, 3), (100, 96, 20, 60000, 3), (120, 128, 48, 20000, 4), (120, 1024, 63, 100000, 1),
]  # fmt: skip


@pytest.mark.parametrize(("sm", "threads", "registers", "shared", "blocks"), KNOWN)
def test_occupancy_is_that_of_nvidias_header(sm: int, threads: int, registers: int, shared: int, blocks: int) -> None:
    architecture = next(c.architecture for c in CARDS.values() if c.sm == sm)
    found = occupancy(architecture, threads, registers, shared)
    assert found.blocks == blocks
    assert found.warps == blocks * -(-threads // 32)
    assert found.share == found.warps / architecture.warps


def test_what_limits() -> None:
    sm90 = card("H100").architecture
    assert occupancy(sm90, 256, 32, 0) == Occupancy(8, 64, 1.0, "warps")
    assert occupancy(sm90, 32, 32, 0).limit == "blocks"
    assert occupancy(sm90, 256, 128, 0).limit == "registers"
    assert occupancy(sm90, 256, 32, 100_000).limit == "shared memory"
    assert occupancy(sm90, 256, 32, 228 << 10) == Occupancy(0, 0, 0.0, "shared memory")


def test_there_is_a_card_of_every_architecture() -> None:
    assert {c.sm for c in CARDS.values()} == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ["RTX3090", "rtx 3090", "RTX-3090", "rtx_3090"])
def test_names_are_read_kindly(name: str) -> None:
    assert card(name) is CARDS["RTX3090"]


def test_an_unknown_card_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown card 'RTX5080': expected one of T4, .*did you mean 'RTX5090'"):
        card("RTX5080")


def test_the_roofline_is_the_slower_of_the_two() -> None:
    t4 = CARDS["T4"]  # 8.1 TFLOP/s, 320 GB/s
    assert t4.least_us(0, 320e3) == pytest.approx(1.0)
    assert t4.least_us(8.1e6, 0) == pytest.approx(1.0)
    assert t4.least_us(2 * 8.1e6, 320e3) == pytest.approx(2.0)
    assert t4.ridge == pytest.approx(8100 / 320)
