"""What a report is made of: sections with values, tables, failures and cuts, and how they look on paper.

A section writes itself to a file after every change, so that a process which is killed, hangs or takes the
GPU's context with it still leaves what it had found.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from pathlib import Path
from typing import Any


class Section:
    """One part of the report, filled in as the work goes on.

    Parameters
    ----------
    name : str
    path : Path
        Where it keeps itself. What an earlier process left there is taken up again.
    seconds : float
        How long the work may take; it asks :attr:`expired` between items.
    """

    def __init__(self, name: str, path: Path, seconds: float) -> None:
        self.name = name
        self._path = path
        self._deadline = time.monotonic() + seconds
        self.data: dict[str, Any] = {
            "name": name,
            "values": {},
            "tables": {},
            "seconds": 0.0,
            "failures": [],
            "cut": [],
            "started": [],
        }
        if path.exists():
            self.data = json.loads(path.read_text(encoding="utf-8"))
        self._begin = time.monotonic() - self.data["seconds"]
        self.save()

    @property
    def remaining(self) -> float:
        """Seconds left."""
        return self._deadline - time.monotonic()

    @property
    def expired(self) -> bool:
        return self.remaining <= 0

    def value(self, key: str, value: Any) -> None:
        """Record one fact."""
        self.data["values"][key] = value
        self.save()

    def row(self, table: str, **cells: Any) -> None:
        """Add a row to a table; cells are numbers, strings or None."""
        self.data["tables"].setdefault(table, []).append(cells)
        self.save()

    def fail(self, what: str, error: BaseException | None = None) -> None:
        """Record a failure, with the whole traceback where there is an exception."""
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        self.data["failures"].append({"section": self.name, "what": what, "traceback": trace})
        self.save()

    def cut(self, what: str) -> None:
        """Record what was left out, and why."""
        self.data["cut"].append({"section": self.name, "what": what})
        self.save()

    def start(self, item: str) -> bool:
        """Note that ``item`` is about to run; False if an earlier process started it (and did not return)."""
        if item in self.data["started"]:
            return False
        self.data["started"].append(item)
        self.save()
        return True

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.data["seconds"] = round(time.monotonic() - self._begin, 2)
        write_whole(self._path, json.dumps(self.data, default=str))


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, so that no reader sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def gather(sections: list[dict[str, Any]], heading: dict[str, Any]) -> dict[str, Any]:
    """All sections as one report."""
    failures = [failure for section in sections for failure in section["failures"]]
    cut = [item for section in sections for item in section["cut"]]
    return {
        **heading,
        "failures": failures,
        "cut": cut,
        "sections": {s["name"]: _public(s) for s in sections},
    }


def _public(section: dict[str, Any]) -> dict[str, Any]:
    return {key: section[key] for key in ("seconds", "values", "tables")}


def markdown(report: dict[str, Any]) -> str:
    """The report for people: failures first, then what was cut, then the sections."""
    state = "finished" if report["finished"] else "NOT FINISHED: the run was stopped, or is still going"
    lines = [f"# Device report: {report['device']}", "", f"{report['command']}, {state}.", ""]
    lines += [f"## Failures: {len(report['failures'])}", ""]
    for failure in report["failures"]:
        lines += [f"### {failure['section']}: {failure['what']}", ""]
        if failure["traceback"]:
            lines += ["```", failure["traceback"].rstrip(), "```", ""]
    if report["cut"]:
        lines += [f"## Left out: {len(report['cut'])}", ""]
        lines += [f"- {item['section']}: {item['what']}" for item in report["cut"]] + [""]
    for name, section in report["sections"].items():
        lines += [f"## {name} ({section['seconds']:.0f} s)", ""]
        lines += [f"- {key}: {_cell(value)}" for key, value in section["values"].items()]
        lines += [""] * bool(section["values"])
        for title, rows in section["tables"].items():
            lines += [f"### {title}", "", *_table(rows), ""]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    body = ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *body]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")
