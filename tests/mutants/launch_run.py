"""A mutation run over launch code.

Nothing is compiled again, and each mutant meets only the tests that run its lines.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpunn.primitive import REGISTRY
from tests.mutants import checks, launch_checks
from tests.mutants.forked import Say, run_forked
from tests.mutants.launch_code import PACKAGE, files
from tests.mutants.launch_operators import LaunchMutant
from tests.mutants.run import Baseline, verdict
from tests.test_edges import PRODUCTS

# For every file of launch code: what is chosen, the orders of blocks, the launches that are counted, sizes.
COMMON = (
    "tests/gpu/test_choices.py", "tests/gpu/test_conv2d.py", "tests/gpu/test_conv2d_first.py",
    "tests/gpu/test_conv2d_first_data.py", "tests/gpu/test_conv2d_first_half_data.py",
    "tests/gpu/test_conv2d_first_half.py", "tests/gpu/test_conv2d_first_half_plans.py",
    "tests/gpu/test_conv2d_tensor.py", "tests/gpu/test_conv2d_tiled.py",
    "tests/gpu/test_conv2d_winograd.py", "tests/gpu/test_gemm.py", "tests/gpu/test_half.py",
    "tests/gpu/test_half_limits.py", "tests/gpu/test_launcher.py", "tests/gpu/test_strided_copy.py",
    "tests/gpu/test_tickets.py", "tests/test_precision.py",
    "tests/test_block_order.py", "tests/test_launch_counts.py", "tests/test_edges_large.py",
    "tests/test_edges_offsets.py", "tests/test_edges_tall.py",
)  # fmt: skip
# For the primitives that reach a file: the lengths around tiles, blocks and vectors.
_EDGES = ("test_at_the_edges", "test_at_the_edges_of_the_largest_tile")
# Functions that choose among launches which all compute the same. Another choice that all checks find right is slower
# or faster, and no fault; what is chosen for the cases that matter is pinned in tests/gpu and test_launch_counts.py.
CHOICES = {
    ("gpu/gemm.py", "choose_tile"), ("gpu/gemm.py", "choose_slices"), ("gpu/gemm.py", "at_once"),
    ("gpu/gemm.py", "cost"), ("gpu/gemm.py", "choose_split"), ("gpu/gemm.py", "choose_shared"),
    ("gpu/gemm.py", "_shared_cost"), ("gpu/gemm.py", "_shared_way"), ("gpu/gemm.py", "shared_ways"),
    ("gpu/gemm.py", "ways_of"),
    ("gpu/half.py", "_tile"), ("gpu/half.py", "_ways"), ("gpu/tensor.py", "choose_slices"),
    ("gpu/tensor.py", "slices_around"), ("gpu/tensor.py", "ways_of"), ("gpu/conv2d.py", "facts"),
    ("gpu/reduce.py", "rows_shape"), ("gpu/reduce.py", "columns_shape"), ("gpu/along_axis.py", "row_launch"),
    ("gpu/along_axis.py", "column_launch"), ("gpu/conv2d_first.py", "_plans"),
    ("gpu/conv2d_winograd.py", "_choose"), ("gpu/conv2d_winograd.py", "choose_weight"),
    ("gpu/conv2d_winograd.py", "_plan"), ("gpu/conv2d_winograd.py", "_weight_plan"),
}  # fmt: skip
_OTHER = "another choice among launches, which computes the same"
_MOST_SECONDS = 60.0  # of recorded time, for one mutant; the quickest checks come first


class LaunchRun:
    """One mutation run over launch code; like ``Run`` of ``run.py``.

    Attributes
    ----------
    found : dict
        Mutant = {"how": one of HOWS, "survived" or "invalid", "where": ..., "message": ...}.
    reasons : dict
        Mutant = why it changes nothing, as far as that is found out by itself.
    """

    def __init__(self, jobs: int, primitives: Sequence[str], recorded: Path | None) -> None:
        self._jobs, self._recorded = jobs, recorded
        self._said: dict[str, list[dict[str, Any]]] = {}
        self._examples = checks.Examples(primitives)
        self._texts = {file: (PACKAGE / file).read_text(encoding="utf-8") for file in files()}
        self.found: dict[LaunchMutant, dict[str, Any]] = {}
        self.reasons: dict[LaunchMutant, str] = {}
        self.failures: list[str] = []

    def on_battery(self, choose: Callable[[], Sequence[LaunchMutant]], show: Callable[[LaunchMutant], None]) -> None:
        """Try mutants on the battery; those that are not Python are replaced as long as ``choose`` has others."""
        said = self._record(self._on_battery())
        baseline = self._baseline(said)
        made = {s["check"]: s["launches"] for s in said if "launches" in s}
        while mutants := [m for m in choose() if m not in self.found]:

            def work(say: Say, mutant: LaunchMutant, text: str) -> None:
                names = _reaching(baseline, mutant)
                launch_checks.try_battery(say, mutant.file, text, mutant.at_import, self._examples, names, made)

            self._try(mutants, work, show)

    def on_tests(self, mutants: Sequence[LaunchMutant], show: Callable[[LaunchMutant], None]) -> None:
        """Try mutants on the tests that run their lines."""
        wanted = {m.file for m in mutants}
        battery = self._baseline(self._record(self._on_battery()))
        reaching = {name for name, lines in battery.launched.items() if wanted & {file for file, _ in lines}}
        works: dict[str, Callable[[Say], None]] = {
            node: functools.partial(launch_checks.record_tests, nodes=[node]) for node in self.test_files(reaching)
        }
        said = self._record(works)
        baseline = self._baseline(said)

        def work(say: Say, mutant: LaunchMutant, text: str) -> None:
            nodes = _reaching(baseline, mutant)
            if nodes:
                launch_checks.try_tests(say, mutant.file, text, mutant.at_import, nodes)
            else:
                say({"how": "survived"})

        choices = {m for m in mutants if self.found[m].get("launches") == "other"}
        self._try(mutants, work, show)
        for mutant in mutants:
            right = self.found[mutant]["how"] == "survived" and mutant in choices
            if right and (mutant.file, mutant.function) in CHOICES:
                self.reasons[mutant] = _OTHER

    @staticmethod
    def test_files(primitives: set[str]) -> list[str]:
        """The tests of the ops that these primitives belong to, and those of all."""
        ops = {REGISTRY[name].plain.__module__.rsplit(".", 1)[-1] for name in primitives}
        own = [f"tests/ops/test_{op}.py" for op in sorted(ops)]
        edges = [f"tests/test_edges.py::{_EDGES[0]}[emulator-{name}]" for name in sorted(primitives)]
        edges += [f"tests/test_edges.py::{_EDGES[1]}[emulator-{n}]" for n in sorted(primitives & set(PRODUCTS))]
        return [*COMMON, *(node for node in own if (checks.ROOT / node).exists()), *edges]

    def _on_battery(self) -> dict[str, Callable[[Say], None]]:
        works: dict[str, Callable[[Say], None]] = {}
        for name in self._examples.of:
            works[f"battery {name}"] = functools.partial(
                launch_checks.record_battery, examples=self._examples, names=[name]
            )
        return works

    def _record(self, works: dict[str, Callable[[Say], None]]) -> list[dict[str, Any]]:
        """What recordings said, now or, if nothing of launch code has changed, in an earlier run."""
        key = hashlib.sha256(repr(sorted(self._texts.items())).encode()).hexdigest()
        if self._recorded is not None and self._recorded.exists() and not self._said:
            kept = json.loads(self._recorded.read_text())
            self._said = kept["said"] if kept["key"] == key else {}
        new = [name for name in works if name not in self._said]
        for number, ending in run_forked([works[name] for name in new], self._jobs):
            said = ending.said
            if ending.signal:
                said.append({"check": new[number], "broken": f"a recording ended by signal {ending.signal}"})
            self._said[new[number]] = said
        if self._recorded is not None and new:
            self._recorded.write_text(json.dumps({"key": key, "said": self._said}))
        return [one for name in works for one in self._said[name]]

    def _baseline(self, said: list[dict[str, Any]]) -> Baseline:
        baseline = Baseline()
        for one in said:
            baseline.take_one(one)
        self.failures = sorted({*self.failures, *(f"{c}: {m}" for c, m in baseline.failures.items())})
        return baseline

    def _try(self, mutants: Sequence[LaunchMutant], work: Callable[..., None], show: Callable[..., None]) -> None:
        def one(say: Say, mutant: LaunchMutant) -> None:
            text = mutant.apply(self._texts[mutant.file])
            try:
                compile(text, mutant.file, "exec")
            except SyntaxError as error:
                say({"how": "invalid", "where": mutant.file, "message": str(error)})
                return
            work(say, mutant, text)

        works = [functools.partial(one, mutant=m) for m in mutants]
        for number, ending in run_forked(works, self._jobs):
            self.found[mutants[number]] = verdict(ending)
            show(mutants[number])


def _reaching(baseline: Baseline, mutant: LaunchMutant) -> list[str]:
    """The checks that run the mutant's lines, quickest first; anything of its file, where importing computes it."""

    def reaches(lines: set[tuple[str, Any]]) -> bool:
        first, last = mutant.lines
        return any(file == mutant.file and (mutant.at_import or first <= line <= last) for file, line in lines)

    found = [c for c, lines in baseline.launched.items() if c not in baseline.failures and reaches(lines)]
    found = [c for c in found if baseline.seconds[c] < checks.STEP_SECONDS]  # a longer one would end by that limit
    found.sort(key=lambda check: baseline.seconds[check])
    total, taken = 0.0, list[str]()
    for check in found:
        total += baseline.seconds[check]
        if total > _MOST_SECONDS and taken:
            break
        taken.append(check)
    return taken
