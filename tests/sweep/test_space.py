"""Ranges, choices and grids of hyper-parameters."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import pytest

from gpunn.cli.arguments import number, one_of, whole
from gpunn.errors import UsageError
from gpunn.sweep.space import Choices, Fixed, Range, Spec, grid, numbers, words

_RATE = numbers(number(positive=True), log=True)
_DECAY = numbers(number(positive=False), log=True)
_SHARE = numbers(number(positive=False), log=None)
_COUNT = numbers(whole(1), log=None)
_SEED = numbers(whole(0, None), log=False)
_NAME = words(one_of(("sgd", "adam", "lamb")))


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (_RATE, "0.1", Fixed(0.1)),
        (_RATE, "1e-3..1e-1", Range(1e-3, 1e-1, True, False)),
        (_RATE, "0.1..0.2", Range(0.1, 0.2, True, False)),
        (_RATE, ".5..1.", Range(0.5, 1.0, True, False)),
        (_RATE, "0.1, 0.2", Choices((0.1, 0.2))),
        (_DECAY, "0..1e-3", Range(0.0, 1e-3, False, False)),  # 0 has no logarithm
        (_SHARE, "0.5..0.99", Range(0.5, 0.99, False, False)),
        (_SHARE, "0.01..0.1", Range(0.01, 0.1, True, False)),  # a decade
        (_COUNT, "16", Fixed(16)),
        (_COUNT, "16,32,64", Choices((16, 32, 64))),
        (_COUNT, "1..5", Range(1, 5, False, True)),
        (_COUNT, "8..512", Range(8, 512, True, True)),
        (_SEED, "1..1000", Range(1, 1000, False, True)),
        (_NAME, "adam", Fixed("adam")),
        (_NAME, "sgd,adam", Choices(("sgd", "adam"))),
    ],
)
def test_what_is_read(parse: Callable[[str], Spec], text: str, expected: Spec) -> None:
    found = parse(text)
    assert found == expected
    assert parse(str(found)) == found  # as it is compared when a sweep goes on


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (_RATE, "0.1..0.01", "expected a range A..B with A below B; '0.1..0.01' runs down"),
        (_RATE, "0.1..0.1", "'0.1..0.1' is one value, which is given as 0.1"),
        (_RATE, "..1", "expected a range such as 1..10"),
        (_RATE, "1..", "expected a range such as 1..10"),
        (_RATE, "0.1..1,2", "expected a range such as 1..10"),
        (_RATE, "0..1", "expected a number above 0; got '0'"),
        (_RATE, "a..b", "expected a number above 0; got 'a'"),
        (_RATE, "0.1,,0.2", "expected values with a comma between them; got '0.1,,0.2'"),
        (_RATE, "0.1,0.10", "expected different values; got one twice in '0.1,0.10'"),
        (_COUNT, "1.5..3", "expected a whole number of at least 1; got '1.5'"),
        (_NAME, "sgd,adm", "expected one of sgd, adam, lamb; got 'adm'; did you mean 'adam'?"),
    ],
)
def test_what_is_refused(parse: Callable[[str], Spec], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        parse(text)
    assert said in str(raised.value)


def test_a_drawn_number_has_four_digits_and_stays_in_its_range() -> None:
    spec = Range(0.00123446, 0.1, True, False)
    assert spec.settle(0.0123456) == 0.01235
    assert spec.settle(0.00123446) == 0.00123446  # and not 0.001234, which is below
    assert Range(10_001, 20_000, False, True).settle(12_345) == 12_345


def _always(name: str, values: Any) -> bool:
    return True


def test_a_grid_is_every_combination_in_order() -> None:
    space: dict[str, Spec] = {"lr": Choices((0.1, 0.2)), "seed": Fixed(3), "batch_size": Range(1, 3, False, True)}
    assert grid(space, _always) == [
        {"lr": lr, "batch_size": batch} for lr in (0.1, 0.2) for batch in (1, 2, 3)
    ]  # fmt: skip


def test_a_grid_has_no_points_that_differ_in_what_has_no_meaning() -> None:
    space: dict[str, Spec] = {"optimizer": Choices(("sgd", "adam")), "momentum": Choices((0.5, 0.9))}
    points = grid(space, lambda name, values: name != "momentum" or values["optimizer"] == "sgd")
    assert points == [
        {"optimizer": "sgd", "momentum": 0.5},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "adam"},
    ]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"lr": Range(0.001, 0.1, True, False)}, "--lr: --sampler grid needs values such as 0.001,0.01,0.1; 0.001..0."),
        ({"batch_size": Range(1, 10**9, True, True)}, "at most 10,000 combinations"),
        ({"seed": Range(0, 199, False, True), "epochs": Range(1, 51, False, True)}, "at most 10,000 combinations"),
    ],
)
def test_what_is_no_grid(space: dict[str, Spec], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        grid(space, _always)
