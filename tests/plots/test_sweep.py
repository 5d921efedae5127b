"""The picture of a sweep: readable at slide size, every trial in it, axes as the ranges are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[plot]'")

from gpunn.plots.style import drawing
from gpunn.plots.sweep import draw_sweep
from gpunn.sweep.space import Choices, Fixed, Range, Spec
from gpunn.sweep.trials import Result
from tests.plots.test_pictures import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPACE: dict[str, Spec] = {
    "optimizer": Choices(("sgd", "adam", "adamw", "adagrad", "rmsprop", "lamb")),
    "schedule": Choices(("constant", "warmup-cosine", "one-cycle")),
    "lr": Range(1e-4, 1.0, True, False),
    "batch_size": Choices((128, 16, 64, 32)),
    "momentum": Range(0.5, 0.99, False, False),
    "weight_decay": Range(1e-6, 1e-2, True, False),
    "label_smoothing": Range(0.0, 0.2, False, False),
    "epochs": Range(2, 9, False, True),
    "seed": Fixed(3),
}


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with drawing():
        yield


def _results(space: dict[str, Spec], count: int = 40, bad: bool = True) -> list[Result]:
    rng = np.random.Generator(np.random.Philox(1))
    found = []
    for place in range(1, count + 1):
        settings: dict[str, Any] = {}
        for name, spec in space.items():
            if isinstance(spec, Choices):
                settings[name] = spec.values[int(rng.integers(len(spec.values)))]
            elif isinstance(spec, Range):
                u = float(rng.random())
                drawn = spec.low * (spec.high / spec.low) ** u if spec.log else spec.low + u * (spec.high - spec.low)
                settings[name] = round(drawn) if spec.whole else spec.settle(drawn)
        loss = float(np.exp(rng.normal(-2, 1)))
        figures = {"epoch": 5, "test_loss": loss, "test_accuracy_percent": 100 - 20 * loss}
        kind = place % 5 if bad else 4
        outcome = {0: "diverged: a loss", 1: "pruned after epoch 5"}.get(kind, "")
        value = None if outcome else loss
        found.append(Result(place, settings, value, {} if kind == 0 else figures, outcome, [], "w", "h"))
    return sorted(found, key=lambda r: (r.value is None, r.value or 0.0))


def _points(figure: Figure, panel: int) -> int:
    return sum(len(c.get_offsets()) for c in figure.axes[panel].collections)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 8])
def test_nothing_overlaps_whatever_varies(count: int) -> None:
    space = {name: _SPACE[name] for name in [*_SPACE][:count]}
    figure = draw_sweep(_results(space), space, "test_loss", True)
    check(figure)
    assert len(figure.axes) == min(count, 6)
    # Every trial, and the best one once more.
    assert {_points(figure, number) for number in range(len(figure.axes))} == {41}
    assert ("2 more hyper-parameters not shown" in figure.get_suptitle()) is (count == 8)


def test_axes_are_as_the_ranges() -> None:
    space = {name: _SPACE[name] for name in ("lr", "momentum", "batch_size", "seed")}
    figure = draw_sweep(_results(space), space, "test_loss", True)
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["learning rate", "momentum", "batch size"]
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()] == ["16", "32", "64", "128"]
    assert figure.axes[0].get_yscale() == "log"  # losses differ by more than a factor of 8


def test_an_accuracy_and_what_did_not_end_well() -> None:
    space = {"lr": _SPACE["lr"]}
    results = _results(space, 6)
    figure = draw_sweep(results, space, "test_accuracy_percent", False)
    assert figure.axes[0].get_ylabel() == "test accuracy (%), last epoch"
    check(figure)
    lost = [r for r in results if r.value is None and not r.figures]
    assert len(lost) == 1
    figure = draw_sweep(lost, space, "test_loss", True)
    assert figure.get_suptitle() == "1 trial: none was trained to its end"
    assert "no result" in check(figure)
