"""The picture of a comparison of devices: readable at slide size, every line in it, a star where a device pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[plot]'")

from gpunn.bench.compare import Point
from gpunn.plots.compare import draw_comparison
from gpunn.plots.style import drawing
from tests.plots.test_pictures import check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEVICES = {"cpu": "a processor of some maker with a long name, 64 threads", "cuda": "a card"}


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with drawing():
        yield


def _points(networks: list[str], modes: list[str], devices: list[str], fits: int = 10**9) -> list[Point]:
    """The second device takes longer to begin, and less for each image."""
    found = []
    for mode in modes:
        for place, network in enumerate(networks, 1):
            for batch in (1, 8, 64, 512, 4096):
                sides: dict[str, dict[str, Any]] = {}
                missing = {}
                for number, device in enumerate(devices):
                    ms = (2.0 + 20 * number) * place + batch * place * (1.0 if number == 0 else 0.02)
                    if batch > fits:
                        missing[device] = f"does not fit: batch {fits} did"
                    else:
                        sides[device] = {"items_per_second": 1e3 * batch / ms}
                found.append(Point(network, mode, batch, sides, missing))
    return found


def _lines(figure: Figure, panel: int = 0) -> list[Any]:
    return [line for line in figure.axes[panel].get_lines() if len(line.get_xdata()) > 1]


@pytest.mark.parametrize("modes", [["train"], ["train", "inference"]])
@pytest.mark.parametrize("networks", [["lenet5"], ["lenet5", "resnet20"], [f"a-long-name-{n}" for n in range(6)]])
@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cuda"]])
def test_nothing_overlaps(devices: list[str], networks: list[str], modes: list[str]) -> None:
    points = _points(networks, modes, devices)
    figure = draw_comparison(points, {name: _DEVICES[name] for name in devices})
    texts = check(figure)
    assert len(figure.axes) == len(modes)
    assert [axes.get_xscale() == axes.get_yscale() == "log" for axes in figure.axes] == [True] * len(modes)
    for panel in range(len(modes)):
        assert len(_lines(figure, panel)) == len(networks) * len(devices)
    assert ("from here on faster than cpu" in texts) is (len(devices) == 2)
    for name in networks:
        assert name in texts


def test_a_star_stands_where_the_lines_cross() -> None:
    points = _points(["lenet5"], ["train"], ["cpu", "cuda"])
    figure = draw_comparison(points, _DEVICES)
    (star,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "*"]
    x, y = star.get_xdata()[0], star.get_ydata()[0]
    one, other = (dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in _lines(figure))
    assert 8 < x < 64
    assert one[8] > other[8]
    assert one[64] < other[64]
    assert one[8] < y < other[64]


def test_what_does_not_fit_is_marked() -> None:
    points = _points(["lenet5"], ["train"], ["cpu", "cuda"], fits=64)
    figure = draw_comparison(points, _DEVICES)
    assert "does not fit" in check(figure)
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[512, 4096]] * 2
    assert crosses[0].get_ydata()[0] != crosses[1].get_ydata()[0]


def test_without_any_times() -> None:
    figure = draw_comparison(_points(["lenet5"], ["train"], ["cpu"], fits=0), {"cpu": "small"}, "a note")
    assert "no times" in check(figure)
    assert figure.get_suptitle() == "Images a second by batch size: a note"
