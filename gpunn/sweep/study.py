"""A sweep's study: trials drawn, trained and kept in a database, so that it goes on where it stopped."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpunn.errors import TrainingError, UsageError, shortened
from gpunn.sweep.sampler import seeded_sampler
from gpunn.sweep.space import Choices, Fixed, Space, grid
from gpunn.sweep.storage import open_storage, reaching
from gpunn.sweep.trials import (
    AGAIN,
    COMMAND,
    FIGURES,
    HOST,
    OUTCOME,
    PLACE,
    SETTINGS,
    WORKER,
    Result,
    place_of,
    results_of,
)

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

_SAME = "same"  # the study's note of what all its trials have in common
# A trial is compared with at least so many others, and not before its second epoch.
_LEAST_TRIALS, _LEAST_EPOCHS = 4, 2


@dataclass(frozen=True)
class Plan:
    """What a sweep looks for, and how.

    Attributes
    ----------
    space : mapping of str to Fixed, Choices or Range
        Hyper-parameters by the names of ``gpunn train``'s arguments, in the order in which they are drawn.
    used : callable
        ``used(name, values)``: whether a hyper-parameter has a meaning beside these values of the others.
    same : dict of str to str
        By option what must not change when a sweep goes on.
    monitor : str
        A field of :class:`~gpunn.train.EpochRecord`.
    minimize : bool
    sampler : str
        "tpe", "random" or "grid".
    seed : int
        Of what is drawn.
    prune : bool
        Whether trials that are worse than the median of the earlier ones end early.
    """

    space: Space
    used: Callable[[str, Mapping[str, Any]], bool]
    same: dict[str, str]
    monitor: str
    minimize: bool
    sampler: str = "tpe"
    seed: int = 0
    prune: bool = False


@dataclass(frozen=True)
class Trained:
    """What training a trial gave.

    Attributes
    ----------
    figures : dict
        The last epoch, as in ``metrics.jsonl``.
    command : list of str
        What trains it again.
    pruned : bool
        Whether it was ended because the study said so.
    """

    figures: dict[str, Any]
    command: list[str]
    pruned: bool


# Trains a trial: (place, settings, report) -> Trained; report(epoch, value) says whether to end it.
Train = Callable[[int, dict[str, Any], Callable[[int, float], bool]], Trained]


class Sweep:
    """A study in a database, opened or made.

    Parameters
    ----------
    plan : Plan
    url : str
        The database's; for messages and connections.
    name : str
        The study's name there.
    worker : str
        What tells this folder's trials from others'. Only one process may have it.
    shared : bool
        Whether other machines may work on it.

    Raises
    ------
    UsageError
        If the database cannot be reached, or holds another sweep of this name.
    """

    def __init__(self, plan: Plan, url: str, name: str, worker: str, shared: bool = False) -> None:
        import optuna

        self.plan, self._url, self._worker = plan, url, worker
        self._storage = open_storage(url, shared)
        pruner: Any = optuna.pruners.NopPruner()
        if plan.prune:
            pruner = optuna.pruners.MedianPruner(_LEAST_TRIALS, _LEAST_EPOCHS)
        with self._reaching():
            self._study: Study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                load_if_exists=True,
                direction="minimize" if plan.minimize else "maximize",
                sampler=seeded_sampler(plan.sampler, plan.seed),
                pruner=pruner,
            )
            same = self._study.user_attrs.get(_SAME)
            if same is None and self._trials():
                raise UsageError(f"--name {name}: this study was not made by gpunn sweep. Give another name.")
            if same is None:
                self._study.set_user_attr(_SAME, plan.same)
            else:
                _check_same(name, same, plan.same)
        self.points = grid(plan.space, plan.used) if plan.sampler == "grid" else []

    def close(self) -> None:
        """Close the connections."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def results(self) -> list[Result]:
        """All finished trials, the best first."""
        with self._reaching():
            return results_of(self._trials(), self.plan.monitor, self.plan.minimize)

    def interrupted(self) -> int:
        """Mark what this folder's trials left running as failed, to be repeated; returns how many there were.

        Call it once, before :meth:`run_one`.
        """
        from optuna.trial import TrialState

        with self._reaching():
            left = [t for t in self._trials() if t.state.name == "RUNNING" and t.user_attrs.get(WORKER) == self._worker]
            for trial in left:
                self._study.tell(trial.number, state=TrialState.FAIL)
        return len(left)

    def done(self, trials: int) -> bool:
        """Whether so many trials are finished, or all of a grid are: finished, or running elsewhere."""
        with self._reaching():
            states = [t.state.name for t in self._trials()]
            finished = sum(state in ("COMPLETE", "PRUNED") for state in states)
            if finished >= trials or not self.points:
                return finished >= trials
            self._queue()
            return not any(t.state.name == "WAITING" for t in self._trials())

    def run_one(self, train: Train) -> None:
        """Draw a trial, or take one that waits, and train it.

        Raises
        ------
        Exception
            What ``train`` raised, but for a loss that is not finite and memory that does not suffice, which are the
            trial's results. The trial is repeated when the sweep goes on.
        """
        with self._reaching():
            self._queue()
            self._study.optimize(lambda trial: self._objective(trial, train), n_trials=1)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        with reaching(self._url), _quiet():
            yield

    def _queue(self) -> None:
        """Let what is still to be done wait for its turn: the points of a grid, and trials that were interrupted."""
        trials = self._trials()
        known = {t.user_attrs.get(PLACE) for t in trials}
        for place, point in enumerate(self.points, 1):
            if place not in known:
                self._study.enqueue_trial(point, user_attrs={PLACE: place})
        repeated = {t.user_attrs.get(AGAIN) for t in trials}
        for trial in trials:
            if trial.state.name == "FAIL" and trial.number not in repeated:
                # Killed while it was drawn, it is drawn again, which gives the same.
                drawn = trial.params if SETTINGS in trial.user_attrs else trial.system_attrs.get("fixed_params", {})
                place = place_of(self._study, trial)
                self._study.enqueue_trial(dict(drawn), user_attrs={PLACE: place, AGAIN: trial.number})

    def _objective(self, trial: Trial, train: Train) -> float:
        from optuna import TrialPruned

        place = place_of(self._study, trial)
        for name, note in ((PLACE, place), (WORKER, self._worker), (HOST, platform.node())):
            trial.set_user_attr(name, note)
        settings = self._draw(trial)
        trial.set_user_attr(SETTINGS, settings)

        def report(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            return self.plan.prune and trial.should_prune()

        try:
            trained = train(place, settings, report)
        except (TrainingError, MemoryError) as error:
            what = "out of memory" if isinstance(error, MemoryError) else "diverged"
            trial.set_user_attr(OUTCOME, f"{what}: {shortened(error, 200)}")
            raise TrialPruned from None
        trial.set_user_attr(FIGURES, trained.figures)
        trial.set_user_attr(COMMAND, trained.command)
        if trained.pruned:
            trial.set_user_attr(OUTCOME, f"pruned after epoch {trained.figures['epoch']}")
            raise TrialPruned
        return float(trained.figures[self.plan.monitor])

    def _draw(self, trial: Trial) -> dict[str, Any]:
        """The trial's values of what varies and has a meaning in it."""
        space = self.plan.space
        values = {name: spec.value for name, spec in space.items() if isinstance(spec, Fixed)}
        drawn = {}
        for name, spec in space.items():
            if isinstance(spec, Fixed) or not self.plan.used(name, values):
                continue
            if isinstance(spec, Choices):
                value = trial.suggest_categorical(name, list(spec.values))
            elif spec.whole:
                value = trial.suggest_int(name, int(spec.low), int(spec.high), log=spec.log)
            else:
                value = spec.settle(trial.suggest_float(name, spec.low, spec.high, log=spec.log))
            drawn[name] = values[name] = value
        return drawn


def _check_same(name: str, known: Mapping[str, str], asked: Mapping[str, str]) -> None:
    different = [
        f"{option}: it has {shortened(known.get(option, 'none'), 60)}; got {shortened(asked.get(option, 'none'), 60)}"
        for option in sorted({*known, *asked})
        if known.get(option) != asked.get(option)
    ]
    if different:
        raise UsageError(
            f"the sweep {shortened(name, 100)!r} goes on only as it began: {shortened('; '.join(different), 240)}. "
            "Begin another: give it its own --out, with --storage its own --name."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own lines on standard error, which tell each trial in its own way."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
