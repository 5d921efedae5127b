"""Schedules that begin at any step: by ``last_epoch``, by a saved state, past restarts and milestones."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import gpunn
from gpunn import optim
from gpunn.errors import UsageError
from gpunn.optim import lr_scheduler

_STEPS = 60
Make = Callable[[Any, Any, int], Any]  # (lr_scheduler module, optimiser, last_epoch) -> schedule


def _half(step: int) -> float:
    return 0.5 + 1 / (2 + step)


SCHEDULES: dict[str, Make] = {
    "lambda": lambda s, o, n: s.LambdaLR(o, _half, last_epoch=n),
    "multiplicative": lambda s, o, n: s.MultiplicativeLR(o, lambda step: 0.97, last_epoch=n),
    "step": lambda s, o, n: s.StepLR(o, 7, last_epoch=n),
    "milestones": lambda s, o, n: s.MultiStepLR(o, [30, 5, 30, 44, 0, 5, 5], gamma=0.5, last_epoch=n),
    "exponential": lambda s, o, n: s.ExponentialLR(o, 0.93, last_epoch=n),
    "constant": lambda s, o, n: s.ConstantLR(o, 0.25, 12, last_epoch=n),
    "constant of no step": lambda s, o, n: s.ConstantLR(o, 0.25, 0, last_epoch=n),
    "linear": lambda s, o, n: s.LinearLR(o, 0.1, 0.9, 20, last_epoch=n),
    "linear down": lambda s, o, n: s.LinearLR(o, 1.0, 0.0, 20, last_epoch=n),
    "polynomial": lambda s, o, n: s.PolynomialLR(o, 20, 2.0, last_epoch=n),
    "cosine": lambda s, o, n: s.CosineAnnealingLR(o, 9, 0.01, last_epoch=n),
    "cosine of one step": lambda s, o, n: s.CosineAnnealingLR(o, 1, 0.01, last_epoch=n),
    "restarts": lambda s, o, n: s.CosineAnnealingWarmRestarts(o, 7, last_epoch=n),
    "one cycle": lambda s, o, n: s.OneCycleLR(o, 0.5, total_steps=130, last_epoch=n),
    "one cycle in three": lambda s, o, n: s.OneCycleLR(
        o,
        [0.5, 0.2],
        epochs=13,
        steps_per_epoch=10,
        three_phase=True,
        pct_start=0.4,
        anneal_strategy="linear",
        last_epoch=n,
    ),
    "triangles": lambda s, o, n: s.CyclicLR(o, 0.01, 0.2, 8, last_epoch=n),
    "lower triangles": lambda s, o, n: s.CyclicLR(o, [0.01, 0.02], 0.2, 5, 11, mode="triangular2", last_epoch=n),
    "falling triangles": lambda s, o, n: s.CyclicLR(
        o, 0.01, 0.2, 6, mode="exp_range", gamma=0.97, cycle_momentum=False, last_epoch=n
    ),
    "chained": lambda s, o, n: s.ChainedScheduler(
        [
            s.ConstantLR(o, 0.1, 20, last_epoch=n),
            s.ExponentialLR(o, 0.95, last_epoch=n),
            s.StepLR(o, 6, 0.7, last_epoch=n),
        ]
    ),
}
# Of these PyTorch loses the place; the right one is where a run that was not interrupted would be.
UNINTERRUPTED: dict[str, Make] = {
    **{name: SCHEDULES[name] for name in ("lambda", "step", "milestones", "restarts", "one cycle", "triangles")},
    "longer restarts": lambda s, o, n: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.001, last_epoch=n),
    "much longer restarts": lambda s, o, n: s.CosineAnnealingWarmRestarts(o, 1, 3, last_epoch=n),
    "sequence": lambda s, o, n: s.SequentialLR(
        o,
        [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 30, 1e-3), s.ExponentialLR(o, 0.9)],
        [5, 17],
        last_epoch=n,
    ),
    "sequence with restarts": lambda s, o, n: s.SequentialLR(
        o, [s.ConstantLR(o, 0.5, 3), s.CosineAnnealingWarmRestarts(o, 4, 2), s.StepLR(o, 5)], [6, 30], last_epoch=n
    ),
    "sequence from 0": lambda s, o, n: s.SequentialLR(
        o, [s.ExponentialLR(o, 0.5), s.StepLR(o, 3), s.MultiplicativeLR(o, lambda e: 0.9)], [0, 8], last_epoch=n
    ),
    "sequence with a cycle": lambda s, o, n: s.SequentialLR(
        o, [s.ConstantLR(o, 0.5, 20), s.OneCycleLR(o, 0.4, total_steps=130)], [10], last_epoch=n
    ),
}


def _ours(groups: list[dict[str, Any]] | None = None) -> Any:
    made = optim.SGD([{"params": [gpunn.ones(1)]}, {"params": [gpunn.ones(1)], "lr": 0.03}], lr=0.1, momentum=0.9)
    return _with(made, groups)


def _theirs(groups: list[dict[str, Any]] | None = None) -> Any:
    torch = pytest.importorskip("torch")
    members: list[dict[str, Any]] = [{"params": [torch.ones(1, requires_grad=True)]} for _ in range(2)]
    members[1]["lr"] = 0.03
    return _with(torch.optim.SGD(members, lr=0.1, momentum=0.9), groups)


def _with(optimizer: Any, groups: list[dict[str, Any]] | None) -> Any:
    """The optimiser with the numbers of saved groups."""
    for group, saved in zip(optimizer.param_groups, groups or [{}, {}], strict=True):
        group.update({key: value for key, value in saved.items() if key != "params"})
    return optimizer


def _numbers(optimizer: Any) -> list[float]:
    return [group[key] for group in optimizer.param_groups for key in ("lr", "momentum")]


def _close(got: list[float], expected: list[float], where: str) -> None:
    # A rounding (2e-16, relative) in each of some 120 steps.
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15), where


@pytest.mark.parametrize("name", SCHEDULES)
def test_begun_at_every_step_it_is_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    full = _theirs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about the order of calls
        run = SCHEDULES[name](torch.optim.lr_scheduler, full, -1)
        for last in range(_STEPS):
            ours, theirs = _ours(full.param_groups), _theirs(full.param_groups)
            mine = SCHEDULES[name](lr_scheduler, ours, last)
            other = SCHEDULES[name](torch.optim.lr_scheduler, theirs, last)
            for step in range(_STEPS):
                _close(_numbers(ours), _numbers(theirs), f"last_epoch {last}, step {step}")
                mine.step()
                other.step()
            run.step()


@pytest.mark.parametrize("name", UNINTERRUPTED)
def test_begun_at_every_step_it_goes_on_as_if_not_interrupted(name: str) -> None:
    full = _ours()
    run = UNINTERRUPTED[name](lr_scheduler, full, -1)
    history, saved = [], []
    for _ in range(2 * _STEPS + 2):
        history.append(_numbers(full))
        saved.append([dict(group) for group in full.param_groups])
        run.step()
    assert len({tuple(numbers) for numbers in history}) > 3
    for last in range(_STEPS):
        ours = _ours(saved[last])
        resumed = UNINTERRUPTED[name](lr_scheduler, ours, last)
        assert resumed.last_epoch == last + 1
        assert resumed.get_last_lr() == [group["lr"] for group in ours.param_groups]
        for step in range(_STEPS):
            _close(_numbers(ours), history[last + 1 + step], f"last_epoch {last}, step {step}")
            resumed.step()


def test_uninterrupted_runs_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in UNINTERRUPTED.items():
            ours, theirs = _ours(), _theirs()
            mine, other = make(lr_scheduler, ours, -1), make(torch.optim.lr_scheduler, theirs, -1)
            for step in range(2 * _STEPS):
                _close(_numbers(ours), _numbers(theirs), f"{name}, step {step}")
                mine.step()
                other.step()


def test_a_sequence_whose_schedules_were_made_to_resume() -> None:
    """Their own last_epoch is taken for what it is: the sequence says where it goes on."""
    full = _ours()
    run = lr_scheduler.SequentialLR(
        full, [lr_scheduler.StepLR(full, 2, 0.5), lr_scheduler.ExponentialLR(full, 0.9)], [7]
    )
    for _ in range(5):
        run.step()
    ours = _ours(full.param_groups)
    parts = [lr_scheduler.StepLR(ours, 2, 0.5, last_epoch=4), lr_scheduler.ExponentialLR(ours, 0.9, last_epoch=4)]
    resumed = lr_scheduler.SequentialLR(ours, parts, [7], last_epoch=4)
    for step in range(10):
        _close(_numbers(ours), _numbers(full), f"step {step}")
        run.step()
        resumed.step()


@pytest.mark.parametrize("name", [*SCHEDULES, *UNINTERRUPTED])
def test_a_state_saved_at_every_step_goes_on(name: str) -> None:
    """By way of JSON, into a schedule made anew."""
    make = (SCHEDULES | UNINTERRUPTED)[name]
    full = _ours()
    run = make(lr_scheduler, full, -1)
    history, saved = [], []
    for _ in range(2 * _STEPS):
        history.append(_numbers(full))
        saved.append(json.loads(json.dumps([run.state_dict(), full.state_dict()["param_groups"]])))
        run.step()
    for begin in range(_STEPS):
        ours = _ours()
        resumed = make(lr_scheduler, ours, -1)
        state, groups = saved[begin]
        _with(ours, groups)
        resumed.load_state_dict(state)
        for step in range(begin, begin + 30):
            _close(_numbers(ours), history[step], f"saved at {begin}, step {step}")
            resumed.step()


def test_restarts_that_resume_take_fractions() -> None:
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(_ours([{"initial_lr": 1.0}] * 2), 4, 2, last_epoch=13)
    assert (schedule.T_cur, schedule.T_i, schedule.last_epoch) == (2, 16, 14)
    schedule.step(14.5)
    assert (schedule.T_cur, schedule.T_i) == (2.5, 16)
    schedule.step()
    assert (schedule.T_cur, schedule.T_i, schedule.last_epoch) == (3.5, 16, 15)


@pytest.mark.parametrize("epoch", [-2, 1.5, "3", None, math.nan, True])
def test_what_is_no_last_epoch(epoch: Any) -> None:
    groups = [{"initial_lr": 1.0}] * 2
    for name, make in {**SCHEDULES, **UNINTERRUPTED}.items():
        if name == "chained" or "cycle" in name or "triangles" in name:
            continue
        with pytest.raises(UsageError, match=f"last_epoch: expected a whole number of at least -1; got {epoch!r}"):
            make(lr_scheduler, _ours(groups), epoch)


def test_one_cycle_needs_its_bounds_to_resume() -> None:
    with pytest.raises(UsageError, match="to go on after step 4, group 0 needs max_lr, min_lr, base_momentum"):
        lr_scheduler.OneCycleLR(_ours([{"initial_lr": 1.0}] * 2), 0.5, total_steps=9, last_epoch=4)


# -- plateaus -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "measures", "best"),
    [
        ("min", [-1.0, -0.95, -1.05, -1.2, -1.25, -1.33], [-1.0, -1.0, -1.0, -1.2, -1.2, -1.33]),
        ("max", [-1.0, -1.05, -0.95, -0.85, -0.8, -0.7], [-1.0, -1.0, -1.0, -0.85, -0.85, -0.7]),
        ("min", [1.0, 0.95, 0.85, 0.0, -0.1, -0.105], [1.0, 1.0, 0.85, 0.0, -0.1, -0.1]),
        ("max", [0.0, -0.1, 0.01, 0.0105, 0.02], [0.0, 0.0, 0.01, 0.01, 0.02]),
        ("min", [math.nan, 1.0, math.nan, 0.5, math.nan], [math.inf, 1.0, 1.0, 0.5, 0.5]),
        ("max", [math.nan, -1.0, math.nan, -0.5, math.inf], [-math.inf, -1.0, -1.0, -0.5, math.inf]),
        ("min", [math.inf, 3.0, -math.inf, -math.inf], [math.inf, 3.0, -math.inf, -math.inf]),
    ],
)
def test_a_relative_threshold_is_a_fraction_of_the_bests_size(
    mode: str, measures: list[float], best: list[float]
) -> None:
    schedule = lr_scheduler.ReduceLROnPlateau(_ours(), mode, threshold=0.1, patience=1000)
    found, bad = [], []
    for measure in measures:
        schedule.step(measure)
        found.append(schedule.best)
        bad.append(schedule.num_bad_epochs)
    assert found == best
    changed = [a != b for a, b in zip(best, [math.inf if mode == "min" else -math.inf, *best], strict=False)]
    assert [count == 0 for count in bad] == changed


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("kind", ["rel", "abs"])
def test_measures_of_both_signs_and_nan_against_torch(mode: str, kind: str) -> None:
    """PyTorch's own relative threshold is on the wrong side of a negative best, so there it is compared with abs."""
    torch = pytest.importorskip("torch")
    sign = 1.0 if kind == "rel" else -1.0
    ours, theirs = _ours(), _theirs()
    how: dict[str, Any] = {"mode": mode, "threshold_mode": kind, "threshold": 0.02, "patience": 2, "cooldown": 1}
    mine = lr_scheduler.ReduceLROnPlateau(ours, **how)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **how)
    for step in range(_STEPS):
        measure = math.nan if step % 7 == 3 else sign * (1.1 + math.sin(1.7 * step) / (1 + 0.01 * step))
        mine.step(measure)
        other.step(measure)
        _close(_numbers(ours), _numbers(theirs), f"step {step}")
        assert (mine.best, mine.num_bad_epochs) == (other.best, other.num_bad_epochs)


def test_a_nan_measure_alone_lowers_the_rate() -> None:
    optimizer = _ours()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    for _ in range(2):
        schedule.step(math.nan)
    assert _numbers(optimizer)[0] == pytest.approx(0.01)


def test_a_group_that_was_added_later_falls_too() -> None:
    for least, error in ((0.02, False), ([0.02, 0.02], False), ([0.02, 0.01], True)):
        optimizer = _ours()
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=least)
        optimizer.add_param_group({"params": [gpunn.ones(1)], "lr": 1.0})
        schedule.step(1.0)
        if error:
            with pytest.raises(UsageError, match="min_lr: there are 3 parameter groups now, and 2 numbers"):
                schedule.step(1.0)
        else:
            schedule.step(1.0)
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.02, 0.1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, div_factor=0), "div_factor: expected a number > 0; got 0"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, final_div_factor=-1), "final_div_factor: expected a number > 0; got -1"),
        (lambda s, o: s.OneCycleLR(o, math.nan, 10), "max_lr: expected a finite number; got nan"),
        (lambda s, o: s.OneCycleLR(o, [0.1, "a"], 10), "max_lr: expected a finite number; got 'a'"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, base_momentum=None), "base_momentum: expected a finite number"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=math.nan), "pct_start"),
        (lambda s, o: s.CyclicLR(o, math.nan, 0.2), "base_lr: expected a finite number; got nan"),
        (lambda s, o: s.CyclicLR(o, 0.1, [0.2, math.inf]), "max_lr: expected a finite number; got inf"),
        (lambda s, o: s.CyclicLR(o, 0.1, 0.2, gamma="a"), "gamma: expected a finite number"),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr=math.nan), "min_lr: expected a number; got nan"),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr="a"), "min_lr: expected a number; got 'a'"),
        (lambda s, o: s.ReduceLROnPlateau(o, eps=math.nan), "eps: expected a number; got nan"),
        (lambda s, o: s.ReduceLROnPlateau(o, threshold=math.nan), "threshold: expected a number >= 0; got nan"),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=math.nan), "factor"),
        (lambda s, o: s.ExponentialLR(o, math.nan), "gamma"),
        (lambda s, o: s.LinearLR(o, math.nan), "start_factor"),
        (lambda s, o: s.CosineAnnealingLR(o, 5, math.nan), "eta_min"),
    ],
)
def test_numbers_that_no_schedule_takes(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(lr_scheduler, _ours())
