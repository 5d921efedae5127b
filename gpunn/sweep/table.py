"""A sweep's results for readers: lines, a table, a file for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpunn.errors import shortened
from gpunn.sweep.trials import Result

if TYPE_CHECKING:
    from rich.table import Table

_MOST_ROWS = 50
_FIGURES = ("test_loss", "test_accuracy_percent", "train_loss", "train_accuracy_percent")


def option(name: str) -> str:
    """``batch_size`` as on the command line, without the dashes."""
    return name.replace("_", "-")


def shown(value: Any) -> str:
    """A value of a hyper-parameter."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def decimal(figure: float) -> str:
    """A loss or an accuracy with four decimals; a loss that has grown beyond reading with its power of ten."""
    return f"{figure:.4f}" if abs(figure) < 1e5 else f"{figure:.3e}"


def settings_text(settings: Mapping[str, Any]) -> str:
    """``lr 0.01, batch-size 32``."""
    return ", ".join(f"{option(name)} {shown(value)}" for name, value in settings.items())


def figures_text(figures: Mapping[str, Any]) -> str:
    """Test loss and accuracy of an epoch; "" if there is none."""
    if figures.get("test_loss") is None:
        return ""
    return f"test loss {decimal(figures['test_loss'])}, test accuracy {figures['test_accuracy_percent']:.2f} %"


def line(result: Result) -> str:
    """A trial's outcome in one line."""
    return ": ".join(part for part in (result.outcome.partition(":")[0], figures_text(result.figures)) if part)


def table(results: Sequence[Result], names: Sequence[str], monitor: str) -> Table:
    """The results, the best first, with a column for each hyper-parameter of ``names``."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    first = monitor if monitor in _FIGURES[2:] else None
    made = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("trial", *([monitor.replace("_percent", " %").replace("_", " ")] if first else [])):
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in ("test loss", "test accuracy", *map(option, names), "epochs"):
        made.add_column(heading, justify="right", no_wrap=True)
    outcomes = any(result.outcome for result in results[:_MOST_ROWS])
    if outcomes:
        made.add_column("outcome")
    for result in results[:_MOST_ROWS]:
        figures = result.figures
        row = [str(result.place)]
        row += [decimal(figures[first]) if first in figures else ""] if first else []
        row.append("" if figures.get("test_loss") is None else decimal(figures["test_loss"]))
        row.append("" if figures.get("test_loss") is None else f"{figures['test_accuracy_percent']:.2f} %")
        row += [shown(result.settings.get(name, "")) for name in names]
        row += [str(figures.get("epoch", "")), *([escape(result.outcome.partition(":")[0])] if outcomes else [])]
        made.add_row(*row)
    return made


def left_out(results: Sequence[Result]) -> int:
    """How many results are not in the table."""
    return max(0, len(results) - _MOST_ROWS)


def as_csv(results: Sequence[Result], names: Sequence[str]) -> bytes:
    """All results, the best first: trial, settings, figures, outcome, machine; what there is none of is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", *names, "epoch", *_FIGURES, "outcome", "machine"])
    for result in results:
        writer.writerow(
            [
                result.place,
                *(result.settings.get(name, "") for name in names),
                *(result.figures.get(name, "") for name in ("epoch", *_FIGURES)),
                shortened(result.outcome, 400),
                result.host,
            ]
        )
    return text.getvalue().encode()
