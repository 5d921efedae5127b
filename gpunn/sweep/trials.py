"""What a study's trials say: their places in the sweep, and their results in order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

# A trial's notes in the study (Optuna's user attributes).
PLACE, AGAIN, WORKER, HOST = "place", "again", "worker", "host"
SETTINGS, FIGURES, COMMAND, OUTCOME = "settings", "figures", "command", "outcome"


def place_of(study: Study, trial: FrozenTrial | Trial) -> int:
    """A trial's place in the sweep, from 1; one that repeats an interrupted one has that one's."""
    known = trial.user_attrs.get(PLACE)
    if known is not None:
        return int(known)
    before = (t for t in study.get_trials(deepcopy=False) if t.number < trial.number)
    return 1 + sum(AGAIN not in t.user_attrs for t in before)


@dataclass(frozen=True)
class Result:
    """A finished trial.

    Attributes
    ----------
    place : int
        Its number in the sweep, from 1.
    settings : dict
        The hyper-parameters that varied, with the values that it used.
    value : float or None
        What the sweep looks for, after the last epoch; None if it was not trained to its end.
    figures : dict
        The last epoch that was tested, as in ``metrics.jsonl``; empty if there was none.
    outcome : str
        Why it was not trained to its end, "" if it was.
    command : list of str
        What trains it again: ``gpunn`` followed by these words.
    worker, host : str
        Which sweep folder, on which machine, has its run.
    """

    place: int
    settings: dict[str, Any]
    value: float | None
    figures: dict[str, Any]
    outcome: str
    command: list[str]
    worker: str
    host: str


def results_of(trials: Iterable[FrozenTrial], monitor: str, minimize: bool) -> list[Result]:
    """Finished trials, the best first; then those that were pruned, the longest trained first, then the others."""

    def rank(result: Result) -> tuple[float, ...]:
        found = result.figures.get(monitor)
        merit = math.inf if found is None else found if minimize else -found
        epoch = result.figures.get("epoch", 0)
        return result.value is None, 0 if result.value is not None else -epoch, merit, result.place

    found = []
    for trial in trials:
        notes = trial.user_attrs
        if trial.state.name not in ("COMPLETE", "PRUNED") or SETTINGS not in notes:
            continue
        found.append(
            Result(
                place=int(notes[PLACE]),
                settings=dict(notes[SETTINGS]),
                value=trial.value if trial.state.name == "COMPLETE" else None,
                figures=dict(notes.get(FIGURES, {})),
                outcome=str(notes.get(OUTCOME, "")),
                command=[str(word) for word in notes.get(COMMAND, [])],
                worker=str(notes.get(WORKER, "")),
                host=str(notes.get(HOST, "")),
            )
        )
    return sorted(found, key=rank)
