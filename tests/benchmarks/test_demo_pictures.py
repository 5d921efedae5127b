"""README's pictures of demonstrations are what the programs of today draw."""

from __future__ import annotations

import pytest

from benchmarks import demo_pictures
from gpunn import demos

pytest.importorskip("PIL", reason="looking into pictures needs Pillow: pip install 'gpunn[demo]'")


def test_README_shows_four_pictures_of_todays_programs() -> None:
    assert len(demo_pictures.shown()) == 4
    assert demo_pictures.stale() == []


def test_a_changed_program_asks_for_its_picture_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = demo_pictures.shown()
    monkeypatch.setattr(demo_pictures, "source", lambda name: demos.source(name) + "\n" * (name == first))
    (wrong,) = demo_pictures.stale()
    assert wrong.startswith(f"benchmarks/results/demo-{first}.png is not of today's")
    monkeypatch.setattr(demo_pictures, "MOST", 10)
    assert len(demo_pictures.stale()) == 5
    monkeypatch.setattr(demo_pictures, "shown", lambda: ["nobody"])
    assert demo_pictures.stale() == [
        "README shows benchmarks/results/demo-nobody.png, which no demonstration has drawn"
    ]
