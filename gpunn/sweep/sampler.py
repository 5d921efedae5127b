"""The sampler of a sweep: what a trial draws depends on the seed, its number and the results before it.

Optuna's samplers draw from one generator, which a sweep that goes on would begin anew: its trials would be those that
were trained already. Here every trial has a generator of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunn.sweep.trials import place_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState


def seeded_sampler(name: str, seed: int) -> BaseSampler:
    """A sampler that draws as Optuna's of that name does, with a generator for each trial.

    Parameters
    ----------
    name : "tpe", "random" or "grid"
        Of a grid every trial is given its values, so nothing is drawn.
    seed : int
    """
    from optuna.samplers import BaseSampler, RandomSampler, TPESampler

    make = TPESampler if name == "tpe" else RandomSampler

    class Seeded(BaseSampler):  # type: ignore[misc]  # Optuna's types are Any, so that it need not be installed
        def __init__(self) -> None:
            self._drawing: BaseSampler = make(seed=seed)

        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            # A trial that repeats another has that one's place, and so draws the same. NumPy's seeds end at 2^32; a
            # prime factor keeps sweeps of neighbouring seeds from sharing their trials.
            self._drawing = make(seed=(seed * 1_000_003 + place_of(study, trial)) % 2**32)
            self._drawing.before_trial(study, trial)

        def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
            return self._drawing.infer_relative_search_space(study, trial)

        def sample_relative(
            self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
        ) -> dict[str, Any]:
            return self._drawing.sample_relative(study, trial, search_space)

        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            return self._drawing.sample_independent(study, trial, param_name, param_distribution)

        def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
            self._drawing.after_trial(study, trial, state, values)

    return Seeded()
