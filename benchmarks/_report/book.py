"""What a report is made of: sections with values, tables, verdicts, failures and cuts, and how they look on paper.

A section writes itself to a file after every change, so that a process which is killed, hangs or takes the
GPU's context with it still leaves what it had found.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks._report.health import BrokenContext, broken
from benchmarks._report.targets import TARGETS, cells, judge, worst_first

NO_TIME = "left out for want of time"
GIVEN_UP = "left out: too many processes before it ended badly"


class Section:
    """One part of the report, filled in as the work goes on.

    Parameters
    ----------
    name : str
    path : Path
        Where it keeps itself. What an earlier process left there is taken up again.
    seconds : float
        How long the work may take; it asks :attr:`expired` between items.
    device : str
        What the work runs on, so that an item can be seen to have broken it.
    why : str
        What is said of an item that is not begun because :attr:`expired`.
    """

    def __init__(self, name: str, path: Path, seconds: float, device: str = "cpu", why: str = NO_TIME) -> None:
        self.name = name
        self.why = why
        self._path, self._log = path, started_log(path)
        self._device = device
        self._deadline = time.monotonic() + seconds
        self.data: dict[str, Any] = {
            "name": name,
            "values": {},
            "tables": {},
            "seconds": 0.0,
            "verdicts": [],
            "failures": [],
            "cut": [],
        }
        if path.exists():
            self.data = json.loads(path.read_text(encoding="utf-8"))
        # Items come by the thousand, so each is a line added to a file of their own.
        self._started = dict.fromkeys(started(path))
        self._begin = time.monotonic() - self.data["seconds"]
        self.save()

    @property
    def folder(self) -> Path:
        """Where sections of one report may leave something for each other."""
        return self._path.parent

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

    def row(self, table: str, /, **columns: Any) -> None:
        """Add a row to a table; its columns are numbers, strings or None."""
        self.data["tables"].setdefault(table, []).append(columns)
        self.save()

    def has(self, table: str, /, **columns: Any) -> bool:
        """Whether a table has a row with these columns, from this process or one before it."""
        rows = self.data["tables"].get(table, [])
        return any(all(row.get(key) == value for key, value in columns.items()) for row in rows)

    def line(self, table: str, line: str, measured: Mapping[str, float | None], /, **row: Any) -> None:
        """Add a row that may have targets; ``measured`` is by their units (``targets``)."""
        verdicts = judge(line, measured)
        self.data["verdicts"] += verdicts
        self.row(table, **row, **cells(verdicts))

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
        if item in self._started:
            return False
        self._started[item] = None
        with self._log.open("a", encoding="utf-8") as file:
            file.write(item.replace("\n", " ") + "\n")
        return True

    def attempt(self, item: str, work: Callable[[], Any], settle: Callable[[], Any] | None = None) -> bool:
        """Do one item's work; a failure is recorded and stops nothing.

        Parameters
        ----------
        item : str
        work : callable
        settle : callable, optional
            Waits for the device, so that an error shows at the item that made it.

        Returns
        -------
        bool
            Whether it ran: not if a process before this one had already started it.

        Raises
        ------
        BrokenContext
            If the failure took the GPU's context with it.
        """
        if not self.start(item):
            return False
        try:
            work()
            if settle is not None:
                settle()
        except BrokenContext:
            raise
        except Exception as error:
            self.survive(item, error)
        return True

    def survive(self, what: str, error: Exception) -> None:
        """Record a failure after which there is more to do.

        Raises
        ------
        BrokenContext
            If it took the GPU's context with it.
        """
        self.fail(what, error)
        self.probe(what)

    def probe(self, what: str) -> None:
        """Ask the GPU whether it still answers, after something that may have broken it.

        Raises
        ------
        BrokenContext
            If it does not, which is recorded as a failure.
        """
        said = broken(self._device)
        if said is not None:
            self.fail(f"{what}: it broke the GPU's context ({said}); another process goes on behind it")
            raise BrokenContext(what)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.data["seconds"] = round(time.monotonic() - self._begin, 2)
        write_whole(self._path, json.dumps(self.data, default=str))


def started_log(path: Path) -> Path:
    """Where a section that keeps itself in ``path`` notes the items it starts."""
    return path.with_name(path.name + ".started")


def started(path: Path) -> list[str]:
    """The items that a section's processes have started so far."""
    log = started_log(path)
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


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
        "verdicts": [verdict for section in sections for verdict in section["verdicts"]],
        "failures": failures,
        "cut": cut,
        "sections": {s["name"]: _public(s) for s in sections},
    }


def _public(section: dict[str, Any]) -> dict[str, Any]:
    return {key: section[key] for key in ("seconds", "values", "tables")}


def markdown(report: dict[str, Any]) -> str:
    """The report for people: failures first, then targets, what was cut, and the sections."""
    state = "finished" if report["finished"] else "NOT FINISHED: the run was stopped, or is still going"
    lines = [f"# Device report: {report['device']}", "", f"{report['command']}, {state}.", ""]
    lines += [f"## Failures: {len(report['failures'])}", ""]
    for failure in report["failures"]:
        lines += [f"### {failure['section']}: {failure['what']}", ""]
        if failure["traceback"]:
            lines += ["```", failure["traceback"].rstrip(), "```", ""]
    lines += _targets(report["verdicts"])
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


def _targets(verdicts: list[dict[str, Any]]) -> list[str]:
    """How many targets were met, those that were not, and those that no line is about."""
    lines = ["## Targets", ""]
    counts = {word: sum(v["verdict"] == word for v in verdicts) for word in ("met", "floor met", "not met")}
    missed = [v for v in verdicts if v["verdict"] == "not measured"]
    counts["not measured"] = len(missed)
    lines += [", ".join(f"{count} {word}" for word, count in counts.items()) + ".", ""]
    open_ones = worst_first(verdicts)
    if open_ones:
        lines += ["Worst first:", "", *_table(open_ones), ""]
    if missed:
        lines += ["Not measured: " + "; ".join(f"{v['line']} ({v['target']})" for v in missed) + ".", ""]
    seen = {(v["what"], v["target"]) for v in verdicts}
    without = [(t, t.missing or "its lines were not reached") for t in TARGETS if (t.what, t.text) not in seen]
    return [*lines, "Nothing here is about:", "", *(f"- {t.what} ({t.text}): {why}" for t, why in without), ""]


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
