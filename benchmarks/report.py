"""README's speed chart, the tables of all results and their pictures, made from what was recorded.

``python -m benchmarks.report`` reads ``results/bench.jsonl`` (``gpunn bench --out`` appends to it). It writes README's
part between the two bench markers (a chart of whole steps for each device), ``results/bench.md`` (every case) and
``results/*.svg``. ``--check`` writes nothing and fails if one of them is not what the results give.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import _pictures
from gpunn.bench import records
from gpunn.bench.records import Record

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
GENERATED = "<!-- Written by python -m benchmarks.report; edits are lost. -->"
_SIDES = {"torch": "PyTorch eager", "torch channels_last": "PyTorch channels_last", "torch graph": "PyTorch graph"}
_SIDES |= {"torch graph channels_last": "PyTorch graph channels_last", "dezero": "DeZero"}


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write, or check; 1 if something is stale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something is stale")
    options = parser.parse_args(arguments)
    wanted = generate(root)
    results = root / "benchmarks" / "results"
    left_over = [path for path in sorted(results.glob("*.svg")) if path not in wanted]
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.check:
        for path in (*stale, *left_over):
            print(f"stale: {path.relative_to(root)}; run python -m benchmarks.report", file=sys.stderr)
        return int(bool(stale or left_over))
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(root)}")
    for path in left_over:
        path.unlink()
        print(f"removed {path.relative_to(root)}")
    return 0


def generate(root: Path) -> dict[Path, str]:
    """What every generated file should hold."""
    results = root / "benchmarks" / "results"
    kept = records.latest(records.read(results / "bench.jsonl"))
    # Of devices beside each other (gpunn bench --compare), a picture is drawn when they are measured.
    found = [record for record in kept if record["group"] != "compare"]
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"{readme}: expected one {BEGIN} and one {END} after it")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    files: dict[Path, str] = {}
    parts = [GENERATED, ""]
    everything = [GENERATED, "", "# Benchmark results", ""]
    if not found:
        parts.append("Nothing has been measured yet.")
        everything.append("Nothing has been measured yet.")
    for device, group in by(found, "device").items():
        title, name = _title(device, group), device.replace(":", "-")
        whole = [record for record in group if record["group"] != "layers"]
        short = _title(device, group, commits=False)
        everything += [f"## {device}", "", title, "", *_table(group), ""]
        for kind, picture in (
            ("steps", _pictures.ratios(short, whole, "name")),
            ("ratios", _pictures.ratios(short, group)),
            ("roofline", _pictures.roofline(short, group)),
        ):
            if picture is None:
                continue
            path = results / f"{kind}-{name}.svg"
            files[path] = picture
            if kind == "steps":
                parts += [f"![whole training steps, {device}](benchmarks/results/{path.name})", ""]
            else:
                everything += [f"![{kind}, {device}]({path.name})", ""]
        parts += [f"{short} {_layers(group)}".strip(), ""]
    files[readme] = f"{before}{BEGIN}\n{_text(parts)}{END}{after}"
    files[results / "bench.md"] = _text(everything)
    return files


def by(found: Iterable[Record], key: str) -> dict[Any, list[Record]]:
    """Records by the value of a key, in the order they come."""
    groups: dict[Any, list[Record]] = {}
    for record in found:
        groups.setdefault(record.get(key), []).append(record)
    return groups


def _text(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _title(device: str, group: list[Record], *, commits: bool = True) -> str:
    """What was measured on what, with all values where records differ; a picture has no room for commits."""

    def every(values: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(str(v) for v in values if v))

    hardware = every(r.get("gpu") or r.get("processor") for r in group)
    threads = every(r.get("threads") for r in group)
    versions = [r.get("versions", {}) for r in group]
    libraries = [f"{label} {every(v.get(key) for v in versions)}" for key, label in _LIBRARIES if _any(versions, key)]
    dates = sorted({str(r["date"])[:10] for r in group})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    ceilings = [r["ceilings"] for r in group if r.get("ceilings")]
    text = f"`{device}`: {hardware}"
    text += f", {threads} threads for each side" if threads and not device.startswith("cuda") else ""
    text += f", {every(r['dtype'] for r in group)}; {', '.join(libraries)}; {when}"
    text += f", commit {every(r.get('commit') for r in group)}" if commits and _any(group, "commit") else ""
    if ceilings:
        best = max(c["gflops"] for c in ceilings), max(c["gbs"] for c in ceilings)
        text += f"; ceilings {best[0]:,.0f} GFLOP/s, {best[1]:,.0f} GB/s"
    return text + "."


_LIBRARIES = (("numpy", "NumPy"), ("cupy", "CuPy"), ("torch", "PyTorch"), ("dezero", "DeZero"))


def _any(versions: list[dict[str, str]], key: str) -> bool:
    return any(v.get(key) for v in versions)


def _table(group: list[Record]) -> list[str]:
    """One row a record; columns for the sides that some record has. A ratio above 1: gpunn is faster."""
    if not group:
        return []
    sides = list(dict.fromkeys(side for r in group for side in r["sides"] if side != "gpunn"))
    shares = any(r["sides"]["gpunn"].get("share_of_ceiling") for r in group)
    rates = any(r["sides"]["gpunn"].get("items_per_second") for r in group)
    memory = any(r["sides"]["gpunn"].get("peak_mb") for r in group)
    head = ["case", "gpunn ms", *["images/s"] * rates, *["of ceiling"] * shares]
    head += [f"{_SIDES.get(side, side)} ms (ratio)" for side in sides] + ["peak MB, gpunn / others"] * memory
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for record in group:
        ours = record["sides"]["gpunn"]
        cells = [f"{record['name']}{_direction(record)}", f"{_ms(ours['ms'])}{_spread(ours)}"]
        if rates:
            rate = ours.get("items_per_second")
            cells.append(f"{rate:,.0f}" if rate else "")
        if shares:
            share = ours.get("share_of_ceiling")
            cells.append(f"{share:.0%}" if share else "")
        for side in sides:
            other = record["sides"].get(side)
            cells.append(f"{_ms(other['ms'])} ({other['ms'] / ours['ms']:.2f})" if other else "")
        if memory:
            peaks = [record["sides"].get(side, {}).get("peak_mb") for side in ("gpunn", *sides)]
            cells.append(" / ".join(f"{peak:.0f}" if peak else "–" for peak in peaks) if peaks[0] else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _direction(record: Record) -> str:
    return f", {record['case'].rpartition('.')[2]}" if record["group"] == "layers" else ""


def _ms(ms: float) -> str:
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.3g}"


def _spread(numbers: dict[str, Any]) -> str:
    low, high = numbers["ms_quartiles"]
    return f" ±{(high - low) / 2 / numbers['ms']:.0%}"


def _layers(group: list[Record]) -> str:
    """Where all figures are, and a sentence about the single ops."""
    layers = [r for r in group if r["group"] == "layers"]
    ratios = [ratio for r in layers if (ratio := _pictures.hardest(r)) is not None]
    text = "Times, memory and spread: [bench.md](benchmarks/results/bench.md)"
    if layers:
        text += f", with {len(layers)} single ops"
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        faster = sum(ratio >= 1 for ratio in ratios)
        text += (
            f": against the fastest other side the geometric mean of the ratios is {mean:.2f} "
            f"(least {min(ratios):.2f}, most {max(ratios):.2f}; at least 1 in {faster} of {len(ratios)})"
        )
    return text + "."


if __name__ == "__main__":
    sys.exit(main())
