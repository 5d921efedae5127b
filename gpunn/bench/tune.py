"""Trying every way that a launch may take (``gpunn.gpu.choices``): timed on this card, or predicted for another."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpunn._device import Device
from gpunn.bench.cards import Card
from gpunn.bench.explain import loss_of
from gpunn.bench.graphs import GpunnGraph
from gpunn.bench.predict import predict, work_of
from gpunn.bench.profile import random_batch
from gpunn.errors import OutOfMemoryError
from gpunn.gpu.choices import Entry, Key, Way, tuned_by
from gpunn.gpu.launcher import KernelSource, trace_launches

Run = Callable[[], Any]

_CALLS = 5  # of a graph
_SAMPLES = 7
_GAIN = 0.97  # of the rule's time: what gains less may be noise, and is not worth other bits


@dataclass
class Trial:
    """What was found about one kernel with such arguments.

    Attributes
    ----------
    kernel : str
    facts : tuple
        Sizes, dtype and the like.
    source : str
        The kernel's text, as a hash.
    rule, way : tuple of int
        The rule's way, and the one to take: the fastest, unless it gains less than 3 %.
    us : dict
        Microseconds of each way; infinite where memory did not suffice, or nothing is known.
    """

    kernel: str
    facts: tuple[Any, ...]
    source: str
    rule: Way
    us: dict[Way, float] = field(default_factory=dict)

    @property
    def way(self) -> Way:
        """The way to take."""
        fastest = min(self.us, key=lambda way: self.us[way])
        return fastest if self.us[fastest] < _GAIN * self.us[self.rule] else self.rule

    @property
    def gain(self) -> float:
        """The rule's time as a multiple of that of the way to take."""
        return self.us[self.rule] / self.us[self.way] if self.way != self.rule else 1.0

    def entry(self) -> Entry:
        """As it is kept."""
        return Entry(self.way, self.source, self.us[self.way], self.us[self.rule])


class Trials:
    """The tuner: each kernel's ways are measured the first time that it is met with such arguments.

    Parameters
    ----------
    measure : callable
        ``measure(device, run)``: the microseconds of what ``run()`` launches.
    told : callable, optional
        Given each trial when it is done.

    Attributes
    ----------
    found : dict
        The trials, in the order in which they were made.
    """

    def __init__(
        self, measure: Callable[[Device, Run], float], told: Callable[[Trial], None] = lambda trial: None
    ) -> None:
        self._measure, self._told = measure, told
        self.found: dict[Key, Trial] = {}

    def choose(
        self,
        device: Device,
        key: Key,
        source: KernelSource,
        rule: Way,
        others: Sequence[Way],
        run: Callable[[Way], Any],
    ) -> Way:
        """The way to take."""
        trial = self.found.get(key)
        if trial is None:
            trial = Trial(*key, source.digest, rule)
            for way in dict.fromkeys((rule, *others)):
                trial.us[way] = self._measured(device, functools.partial(run, way), way == rule)
            self.found[key] = trial
            self._told(trial)
        return trial.way

    def known(self, key: Key, rule: Way) -> Way:
        """The way to take of what was tried, else the rule's."""
        trial = self.found.get(key)
        return rule if trial is None else trial.way

    def _measured(self, device: Device, run: Run, by_rule: bool) -> float:
        try:
            return self._measure(device, run)
        except OutOfMemoryError:  # more slices need more memory; the rule's must do
            if by_rule:
                raise
            return math.inf

    def table(self) -> dict[Key, Entry]:
        """All of them, as they are kept."""
        return {key: trial.entry() for key, trial in self.found.items()}


def try_step(model: Any, shape: Sequence[int], batch_size: int, device: Device, trials: Trials, context: Any) -> None:
    """A forward and a backward pass in training mode on a GPU, in which the ways of all launches are tried.

    Parameters
    ----------
    model : Module
        It is moved away.
    shape : sequence of int
        Of one item.
    batch_size : int
    device : Device
    trials : Trials
    context : context manager
        Within which the forward pass runs, as ``autocast``.
    """
    model = model.to(device).train()
    x, _ = random_batch((batch_size, *shape), 1, device)
    with tuned_by(trials):
        with context:
            loss = loss_of(model, x, "tune")
        if loss.requires_grad:
            loss.backward()
    device.synchronize()


def timed(device: Device, run: Run) -> float:
    """The median time on this GPU, within a CUDA graph; inputs stay in the L2 if they fit."""
    graph = GpunnGraph(device, [run] * _CALLS, keep=False)
    for _ in range(_SAMPLES):
        graph.sample()
    return statistics.median(graph.timing.samples)


def predicted(card: Card) -> Callable[[Device, Run], float]:
    """A measure by the cost model: the least time on ``card`` (``gpunn.bench.predict``)."""

    def measure(device: Device, run: Run) -> float:
        run()  # what it launches may have ways of its own, which are tried now
        with trace_launches() as launches:
            run()
        found = [predict(work_of(launch), card) for launch in launches]
        return sum(math.inf if one is None else one.us for one in found)

    return measure
