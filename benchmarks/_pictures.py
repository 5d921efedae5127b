"""Two pictures of results as SVG text: ratios as bars, and the roofline. The same records give the same bytes."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

Record = dict[str, Any]

_OURS, _OTHERS, _GREY, _SLOWER = "#2b6cb0", "#c05621", "#718096", "#c53030"
_FONT = 'font-family="sans-serif" font-size="12"'


def hardest(record: Record) -> float | None:
    """The ratio to the fastest other library or device; None if gpunn was alone."""
    ours = record["sides"]["gpunn"]["ms"]
    others = [side["ms"] for name, side in record["sides"].items() if not name.startswith("gpunn")]
    return min(others) / ours if others else None


def ratios(title: str, group: list[Record], label: str = "case") -> str | None:
    """A bar from 1 to the ratio of each case, on a logarithmic axis; None if nothing was compared."""
    found = [(str(record[label]), ratio) for record in group if (ratio := hardest(record)) is not None]
    if not found:
        return None
    least = min(0.5, 2.0 ** math.floor(math.log2(min(r for _, r in found))))
    most = max(2.0, 2.0 ** math.ceil(math.log2(max(r for _, r in found))))
    left, width, row, top = max(190, 7 * max(len(name) for name, _ in found)), 560, 18, 46
    height = top + row * len(found) + 30

    def x(ratio: float) -> float:
        return left + width * math.log(ratio / least) / math.log(most / least)

    parts = [_text(10, 16, "time of the fastest other side ÷ gpunn's: right of 1 gpunn is faster", weight="bold")]
    parts.append(_text(10, 32, title.replace("`", ""), _GREY, size=9))
    tick = least
    while tick <= most * 1.001:
        parts.append(_line(x(tick), top, x(tick), height - 24, "#000" if tick == 1 else "#cbd5e0"))
        parts.append(_text(x(tick), height - 8, f"{tick:g}", anchor="middle"))
        tick *= 2
    for number, (name, ratio) in enumerate(found):
        y = top + row * number
        start, end = sorted((x(1.0), x(ratio)))
        colour = _OURS if ratio >= 1 else _SLOWER
        parts.append(
            f'<rect x="{start:.1f}" y="{y + 3}" width="{end - start:.1f}" height="{row - 6}" fill="{colour}"/>'
        )
        parts.append(_text(left - 6, y + 13, name, anchor="end"))
        parts.append(_text(left + width + 6, y + 13, f"{ratio:.2f}"))
    return _svg(left + width + 60, height, parts)


def roofline(title: str, group: list[Record]) -> str | None:
    """GFLOP/s over FLOP per byte, with the measured ceilings; None if no record has FLOP and ceilings."""
    found = [r for r in group if r.get("flop") and r.get("bytes") and r.get("ceilings")]
    if not found:
        return None
    peak = max(r["ceilings"]["gflops"] for r in found)
    bandwidth = max(r["ceilings"]["gbs"] for r in found)
    points = []
    for record in found:
        intensity = record["flop"] / record["bytes"]
        for name, side in record["sides"].items():
            points.append((intensity, record["flop"] / side["ms"] / 1e6, name == "gpunn", f"{record['case']} {name}"))
    xs = _decades([p[0] for p in points] + [peak / bandwidth])
    ys = _decades([p[1] for p in points] + [peak])
    left, top, width, height = 60, 46, 640, 380

    def at(intensity: float, gflops: float) -> tuple[float, float]:
        return (
            left + width * math.log(intensity / xs[0]) / math.log(xs[1] / xs[0]),
            top + height * (1 - math.log(gflops / ys[0]) / math.log(ys[1] / ys[0])),
        )

    parts = [_text(left, 16, "GFLOP/s over FLOP per byte, and what this machine can do", weight="bold")]
    parts.append(_text(left, 32, title.replace("`", ""), _GREY, size=9))
    for low, high, vertical in ((*xs, True), (*ys, False)):
        tick = low
        while tick <= high * 1.001:
            px, py = at(tick, ys[0]) if vertical else at(xs[0], tick)
            parts.append(_line(px, top, px, top + height, "#e2e8f0") if vertical else _line(left, py, left + width, py))
            label = (px, top + height + 16, "middle") if vertical else (left - 6, py + 4, "end")
            parts.append(_text(label[0], label[1], f"{tick:g}", anchor=label[2]))
            tick *= 10
    # The roof: bandwidth up to the ridge, then the product's rate; cut at the frame.
    start = max(xs[0], ys[0] / bandwidth)
    corners = [at(start, start * bandwidth), at(peak / bandwidth, peak), at(xs[1], peak)]
    joined = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
    parts.append(f'<polyline points="{joined}" fill="none" stroke="#000" stroke-width="1.5"/>')
    for intensity, gflops, ours, name in points:
        px, py = at(intensity, gflops)
        look = f'fill="{_OURS}"' if ours else f'fill="none" stroke="{_OTHERS}"'
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" {look}><title>{escape(name)}</title></circle>')
    parts.append(_text(left + 10, top + 16, "● gpunn", _OURS))
    parts.append(_text(left + 80, top + 16, "○ others", _OTHERS))
    return _svg(left + width + 30, top + height + 30, parts)


def _decades(values: list[float]) -> tuple[float, float]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#e2e8f0") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    colour: str = "#1a202c",
    anchor: str = "start",
    weight: str = "normal",
    size: int = 12,
) -> str:
    look = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'


def _svg(width: float, height: float, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" {_FONT}>'
    background = f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
