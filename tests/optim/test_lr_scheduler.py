"""Every schedule gives PyTorch's rates over seventy steps, alone, chained and in sequence; saving; refusals."""

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

_STEPS = 70
Make = Callable[[Any, Any], Any]  # (lr_scheduler module, optimiser) -> schedule


def _half(step: int) -> float:
    return 0.5 + 1 / (2 + step)


def _warm_up(s: Any, o: Any) -> Any:
    parts = [s.LinearLR(o, start_factor=0.1, total_iters=5), s.CosineAnnealingLR(o, T_max=30, eta_min=1e-3)]
    return s.SequentialLR(o, parts, milestones=[5])


def _long_sequence(s: Any, o: Any) -> Any:
    parts = [
        s.ConstantLR(o, 0.5, total_iters=7),
        s.ExponentialLR(o, 0.9),
        s.LambdaLR(o, _half),
        s.StepLR(o, 4, 0.5),
        s.MultiStepLR(o, [2, 5], 0.3),
        s.PolynomialLR(o, 8, 2.0),
        s.CosineAnnealingWarmRestarts(o, 4),
    ]
    return s.SequentialLR(o, parts, milestones=[9, 15, 22, 35, 45, 55])


def _one_cycle_later(s: Any, o: Any) -> Any:
    return s.SequentialLR(o, [s.ConstantLR(o, 0.5, 20), s.OneCycleLR(o, 0.4, total_steps=60)], milestones=[10])


def _multiplied_later(s: Any, o: Any) -> Any:
    return s.SequentialLR(o, [s.ExponentialLR(o, 0.9), s.MultiplicativeLR(o, _half)], milestones=[6])


SCHEDULES: dict[str, Make] = {
    "lambda": lambda s, o: s.LambdaLR(o, _half),
    "lambdas": lambda s, o: s.LambdaLR(o, [_half, lambda step: 0.95**step]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda step: 0.97),
    "step": lambda s, o: s.StepLR(o, 7),
    "step of 1": lambda s, o: s.StepLR(o, step_size=1, gamma=0.9),
    "multistep": lambda s, o: s.MultiStepLR(o, [30, 5, 30, 44], gamma=0.5),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.93),
    "constant": lambda s, o: s.ConstantLR(o),
    "constant for long": lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=40),
    "linear": lambda s, o: s.LinearLR(o),
    "linear down": lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=33),
    "polynomial": lambda s, o: s.PolynomialLR(o),
    "polynomial of power 2": lambda s, o: s.PolynomialLR(o, total_iters=50, power=2.0),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=50),
    "cosine up again": lambda s, o: s.CosineAnnealingLR(o, T_max=9, eta_min=0.01),
    "cosine of one step": lambda s, o: s.CosineAnnealingLR(o, 1, eta_min=0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=2, eta_min=0.001),
    "one cycle": lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=_STEPS),
    "one cycle by epochs": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=8, steps_per_epoch=10, pct_start=0.4, anneal_strategy="linear", div_factor=10
    ),
    "one cycle in three": lambda s, o: s.OneCycleLR(
        o, 0.5, total_steps=75, three_phase=True, base_momentum=[0.7, 0.8], max_momentum=0.9, final_div_factor=50
    ),
    "one cycle, rate only": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=80, cycle_momentum=False),
    "triangles": lambda s, o: s.CyclicLR(o, 0.01, 0.2, step_size_up=8),
    "lower triangles": lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.2, 5, 11, mode="triangular2"),
    "falling triangles": lambda s, o: s.CyclicLR(
        o, 0.01, [0.2, 0.3], step_size_up=6, mode="exp_range", gamma=0.97, cycle_momentum=False
    ),
    "own triangles": lambda s, o: s.CyclicLR(
        o, 0.01, 0.2, 7, scale_fn=lambda cycle: 1 / (1 + cycle), base_momentum=0.6, max_momentum=0.95
    ),
    "warm-up": _warm_up,
    "long sequence": _long_sequence,
    "one cycle later": _one_cycle_later,
    "multiplied later": _multiplied_later,
    "sequence from 0": lambda s, o: s.SequentialLR(o, [s.ExponentialLR(o, 0.5), s.StepLR(o, 3)], milestones=[0]),
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.95)]),
    "chained four": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, total_iters=10), s.StepLR(o, 6, 0.7), s.CosineAnnealingLR(o, 40), s.PolynomialLR(o, 60)], o
    ),
    "sequence in a chain": lambda s, o: s.ChainedScheduler([_warm_up(s, o), s.StepLR(o, 9, 0.5)]),
}


def _optimizers(kind: str) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")

    def make(package: Any, tensors: list[Any]) -> Any:
        how = {"momentum": 0.9} if kind == "SGD" else {}
        return getattr(package, kind)([{"params": tensors[0]}, {"params": tensors[1], "lr": 0.03}], lr=0.1, **how)

    ours = make(optim, [gpunn.ones(1, requires_grad=True) for _ in range(2)])
    return ours, make(torch.optim, [torch.ones(1, requires_grad=True) for _ in range(2)])


def _numbers(optimizer: Any) -> list[float]:
    found = [group["lr"] for group in optimizer.param_groups]
    return found + [group.get("momentum", group.get("betas", [0])[0]) for group in optimizer.param_groups]


def _close(got: list[float], expected: list[float], step: int) -> None:
    # A rounding (2e-16, relative) in each of seventy steps.
    assert got == pytest.approx(expected, rel=1e-13, abs=1e-15), f"step {step}"


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_torchs(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = _optimizers(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about the order of calls
        mine = SCHEDULES[name](lr_scheduler, ours)
        other = SCHEDULES[name](torch.optim.lr_scheduler, theirs)
        for step in range(_STEPS):
            _close(_numbers(ours), _numbers(theirs), step)
            assert mine.get_last_lr() == [group["lr"] for group in ours.param_groups]
            _close(mine.get_last_lr(), other.get_last_lr(), step)
            assert mine.last_epoch == getattr(other, "last_epoch", mine.last_epoch)
            ours.step()
            theirs.step()
            mine.step()
            other.step()


def test_two_schedules_of_one_optimiser_compose() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = _optimizers("SGD")
    both = [
        [s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 12), s.MultiStepLR(o, [3, 8], 0.5)]
        for s, o in ((lr_scheduler, ours), (torch.optim.lr_scheduler, theirs))
    ]
    for step in range(_STEPS):
        _close(_numbers(ours), _numbers(theirs), step)
        theirs.step()
        for mine, other in zip(*both, strict=True):
            mine.step()
            other.step()


@pytest.mark.parametrize(
    "how",
    [
        {"patience": 2},
        {"mode": "max", "patience": 1, "factor": 0.5, "threshold": 0.1, "cooldown": 3},
        {"threshold_mode": "abs", "threshold": 0.05, "patience": 0, "min_lr": [0.01, 0.001]},
        {"mode": "max", "threshold_mode": "abs", "patience": 3, "eps": 1e-3, "factor": 0.3},
    ],
)
def test_plateau_is_torchs(how: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = _optimizers("SGD")
    mine = lr_scheduler.ReduceLROnPlateau(ours, **how)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **how)
    for step in range(_STEPS):
        measure = math.exp(-step / 15) + 0.2 * math.sin(1.7 * step)
        mine.step(gpunn.tensor(measure) if step % 2 else measure)
        other.step(float(torch.tensor(measure)) if step % 2 else measure)
        _close(_numbers(ours), _numbers(theirs), step)
        assert (mine.num_bad_epochs, mine.cooldown_counter) == (other.num_bad_epochs, other.cooldown_counter)
        assert mine.last_epoch == other.last_epoch
    assert ours.param_groups[0]["lr"] < 0.1, "the rate never fell"


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_saved_schedule_goes_on_where_it_was(name: str) -> None:
    """By way of JSON, into a schedule made anew, as a resumed run makes it."""

    def make() -> tuple[Any, Any]:
        members = [{"params": [gpunn.ones(1)]}, {"params": [gpunn.ones(1)], "lr": 0.03}]
        optimizer = optim.SGD(members, lr=0.1, momentum=0.9)
        return optimizer, SCHEDULES[name](lr_scheduler, optimizer)

    optimizer, schedule = make()
    for _ in range(13):
        schedule.step()
    saved = json.loads(json.dumps(schedule.state_dict()))
    groups = optimizer.state_dict()
    resumed_optimizer, resumed = make()
    resumed_optimizer.load_state_dict(groups)
    resumed.load_state_dict(saved)
    assert resumed.last_epoch == schedule.last_epoch
    assert resumed.get_last_lr() == schedule.get_last_lr()
    for _ in range(45):
        schedule.step()
        resumed.step()
        assert _numbers(resumed_optimizer) == _numbers(optimizer)


def test_a_saved_plateau_goes_on_where_it_was() -> None:
    optimizers = [optim.SGD([gpunn.ones(1)], lr=0.1) for _ in range(2)]
    first = lr_scheduler.ReduceLROnPlateau(optimizers[0], patience=2)
    for loss in (1.0, 0.5, 0.6):
        first.step(loss)
    second = lr_scheduler.ReduceLROnPlateau(optimizers[1], patience=5)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for schedule in (first, second):
        schedule.step(0.6)
        schedule.step(0.6)
    assert optimizers[0].param_groups[0]["lr"] == optimizers[1].param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_state_of_torchs_is_taken() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = _optimizers("SGD")
    mine = lr_scheduler.MultiStepLR(ours, [5])
    other = torch.optim.lr_scheduler.MultiStepLR(theirs, [2, 4, 4, 9], gamma=0.5)
    for step in range(12):
        if step == 3:
            mine.load_state_dict(other.state_dict())
            ours.param_groups[0]["lr"], ours.param_groups[1]["lr"] = (g["lr"] for g in theirs.param_groups)
        if step >= 3:
            _close(_numbers(ours), _numbers(theirs), step)
        theirs.step()
        mine.step()
        other.step()


class _Falling:
    """A function that remembers."""

    def __init__(self) -> None:
        self.rate = 1.0

    def __call__(self, step: int) -> float:
        return self.rate**step


def test_an_object_used_as_the_function_is_saved() -> None:
    function = _Falling()
    schedule = lr_scheduler.LambdaLR(optim.SGD([gpunn.ones(1)], lr=0.1), function)
    function.rate = 0.5
    saved = json.loads(json.dumps(schedule.state_dict()))
    other = lr_scheduler.LambdaLR(optim.SGD([gpunn.ones(1)], lr=0.1), _Falling())
    other.load_state_dict(saved)
    other.step()
    assert other.get_last_lr() == [0.05]


def test_restarts_take_a_fraction_of_an_epoch() -> None:
    torch = pytest.importorskip("torch")
    for multiple in (1, 2):
        ours, theirs = _optimizers("SGD")
        mine = lr_scheduler.CosineAnnealingWarmRestarts(ours, 3, multiple)
        other = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, 3, multiple)
        for step in range(_STEPS):
            # An eighth, so that places are exact: PyTorch takes a logarithm, we subtract.
            mine.step(step / 8)
            theirs.step()
            other.step(step / 8)
            _close(_numbers(ours), _numbers(theirs), step)


def test_groups_that_go_on_need_an_initial_rate() -> None:
    optimizer = optim.SGD([gpunn.ones(1)], lr=0.1)
    with pytest.raises(UsageError, match="group 0 needs an 'initial_lr'"):
        lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
    optimizer = optim.SGD([{"params": [gpunn.ones(1)], "initial_lr": 0.2}], lr=0.1)
    schedule = lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
    assert (schedule.last_epoch, schedule.base_lrs, schedule.get_last_lr()) == (5, [0.2], [0.1])
    schedule.step()
    assert schedule.get_last_lr() == [pytest.approx(0.01)]


def test_whole_numbers_may_be_floats() -> None:
    """As in scripts that divide epochs, or write 1.0."""
    for make in (lambda o, n: lr_scheduler.StepLR(o, n), lambda o, n: lr_scheduler.CosineAnnealingLR(o, n)):
        one, other = (make(optim.SGD([gpunn.nn.Parameter(gpunn.zeros(1))], lr=0.1), n) for n in (4, 4.0))
        for _ in range(9):
            one.step()
            other.step()
            assert one.get_last_lr() == other.get_last_lr()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s, o: s.StepLR("sgd", 3), "StepLR: expected an optimiser; got str"),
        (lambda s, o: s.StepLR(o, 0), "step_size: expected a whole number of at least 1; got 0"),
        (lambda s, o: s.StepLR(o, 2.5), "step_size"),
        (lambda s, o: s.ExponentialLR(o, -1), "gamma: expected a number >= 0"),
        (lambda s, o: s.MultiStepLR(o, [1.5]), "milestones"),
        (lambda s, o: s.LinearLR(o, 0), "start_factor: expected a number > 0 and <= 1; got 0"),
        (lambda s, o: s.LinearLR(o, end_factor=2), "end_factor"),
        (lambda s, o: s.LinearLR(o, total_iters=0), "total_iters"),
        (lambda s, o: s.ConstantLR(o, 1.5), "factor"),
        (lambda s, o: s.PolynomialLR(o, power="2"), "power"),
        (lambda s, o: s.CosineAnnealingLR(o, 0), "T_max"),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 0), "T_mult"),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 5).step(-1), "epoch: expected a number >= 0"),
        (lambda s, o: s.LambdaLR(o, [_half]), "lr_lambda: expected one for each of 2 parameter groups; got 1"),
        (lambda s, o: s.LambdaLR(o, 0.5), "lr_lambda: expected a function; got 0.5"),
        (lambda s, o: s.OneCycleLR(o, 0.1), "give total_steps, or epochs and steps_per_epoch"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2), "pct_start"),
        (lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="exp"), "anneal_strategy: expected 'cos' or 'linear'"),
        (lambda s, o: s.OneCycleLR(o, [0.1], 10), "max_lr: expected one for each"),
        (lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"), "mode: expected 'triangular'"),
        (lambda s, o: s.CyclicLR(o, 0.1, 0.2, scale_mode="step"), "scale_mode"),
        (lambda s, o: s.ReduceLROnPlateau(o, "least"), "mode: expected 'min' or 'max'; got 'least'"),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), "factor: expected a number >= 0 and < 1"),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]), "min_lr: expected one for each"),
        (lambda s, o: s.ReduceLROnPlateau(o).step(), "expected a measure"),
        (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]), "got 1 schedules and 1 milestones"),
        (lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []), "got ReduceLROnPlateau"),
        (lambda s, o: s.SequentialLR(o, [s.ChainedScheduler([s.StepLR(o, 1)])], []), "cannot begin anew"),
        (lambda s, o: s.ChainedScheduler([]), "at least one schedule"),
        (lambda s, o: s.ChainedScheduler([s.StepLR(o, 1)], optim.SGD([gpunn.ones(1)])), "belongs to another optimiser"),
    ],
)
def test_refuses(make: Make, message: str) -> None:
    optimizer = optim.SGD([{"params": [gpunn.ones(1)]}, {"params": [gpunn.ones(1)]}], lr=0.1, momentum=0.9)
    with pytest.raises(UsageError, match=message):
        make(lr_scheduler, optimizer)


def test_cycles_refuse_an_optimiser_without_momentum_and_too_many_steps() -> None:
    optimizer = optim.Adagrad([gpunn.ones(1)], lr=0.1)
    with pytest.raises(UsageError, match="Adagrad has neither momentum nor betas; use cycle_momentum=False"):
        lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3, cycle_momentum=False)
    for _ in range(3):
        schedule.step()
    with pytest.raises(UsageError, match="step 4 of 3: give a larger total_steps"):
        schedule.step()


def test_programs_derive_schedules_of_their_own() -> None:
    """By the name that the base class had before PyTorch 2."""
    torch = pytest.importorskip("torch")

    def rates(library: Any) -> list[Any]:
        class WarmUp(library.optim.lr_scheduler._LRScheduler):
            def __init__(self, optimizer: Any, total_iters: int, last_epoch: int = -1) -> None:
                self.total_iters = total_iters
                super().__init__(optimizer, last_epoch)

            def get_lr(self) -> list[float]:
                return [base * self.last_epoch / (self.total_iters + 1e-8) for base in self.base_lrs]

        optimizer = library.optim.SGD([library.ones(1, requires_grad=True)], lr=0.5)
        schedule = WarmUp(optimizer, 4)
        found = [optimizer.param_groups[0]["lr"]]
        for _ in range(3):
            optimizer.step()
            schedule.step()
            found += [optimizer.param_groups[0]["lr"], schedule.get_last_lr()[0]]
        assert isinstance(schedule, library.optim.lr_scheduler.LRScheduler)
        return [*found, schedule.state_dict()["total_iters"], schedule.last_epoch]

    assert rates(gpunn) == rates(torch)
