"""A mutation run over the kernels: on the battery, then on the tests."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpunn.emulator.build import cache_folder
from tests.mutants import checks
from tests.mutants.forked import Ending, Say, run_forked
from tests.mutants.operators import Mutant
from tests.mutants.plan import Users

_SIGNALS: dict[int, str] = {signal.SIGXCPU: "timeout", signal.SIGKILL: "timeout"}
HOWS = ("values", "finding", "error", "crash", "timeout")


class Baseline:
    """What the untouched kernels do: who launches what, how long it takes, and what fails already."""

    def __init__(self) -> None:
        self.launched: dict[str, set[tuple[str, Any]]] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, str] = {}

    def take(self, ending: Ending) -> None:
        """Add what a recording said."""
        for said in ending.said:
            self.take_one(said)
        if ending.signal:
            begun = next((said["begin"] for said in reversed(ending.said) if "begin" in said), "")
            self.failures[begun] = signal.Signals(ending.signal).name

    def take_one(self, said: dict[str, Any]) -> None:
        """Add one thing that a recording said."""
        if "launched" in said:
            self.launched[said["check"]] = {(file, what) for file, what in said["launched"]}
            self.seconds[said["check"]] = said["seconds"]
        elif "how" in said or "broken" in said:
            self.failures.setdefault(said.get("check", ""), said.get("message") or said.get("broken", ""))

    def checks(self, files: set[str], function: str) -> list[str]:
        """Those that launch one of the files: first that launch this function, then the quickest."""

        def distance(check: str) -> tuple[bool, float]:
            return all(kernel != function for _, kernel in self.launched[check]), self.seconds[check]

        return sorted((c for c in self._launching(files) if c not in self.failures), key=distance)

    def failures_of(self, files: set[str]) -> list[str]:
        """What fails already of that which launches one of the files; other red tests are not our business here."""
        broken = {check for check in self.failures if check not in self.launched}
        return [
            f"{check}: {self.failures[check]}" for check in self.failures if check in broken | self._launching(files)
        ]

    def _launching(self, files: set[str]) -> set[str]:
        return {check for check, found in self.launched.items() if files & {file for file, _ in found}}


class Run:
    """One mutation run on a copy of the kernels.

    Attributes
    ----------
    found : dict
        Mutant = {"how": one of HOWS, "survived" or "invalid", "where": ..., "message": ...}.
    reasons : dict
        Mutant = why it changes nothing, as far as a run finds that out by itself: here it does not.
    """

    def __init__(
        self, folder: Path, work: Path, jobs: int, primitives: Sequence[str], suite: Sequence[str] = checks.SUITE
    ) -> None:
        self._suite = suite
        self._kernels, self._work, self._jobs = work / "kernels", work, jobs
        shutil.copytree(folder, self._kernels)  # whoever edits them meanwhile
        self._examples = checks.Examples(primitives)
        self._users = Users(self._kernels, checks.KERNELS_OF_TESTS)
        self.found: dict[Mutant, dict[str, Any]] = {}
        self.reasons: dict[Mutant, str] = {}
        self.failures: list[str] = []

    def on_battery(self, choose: Callable[[], Sequence[Mutant]], show: Callable[[Mutant], None]) -> None:
        """Try mutants on the battery; those that do not compile are replaced as long as ``choose`` has others."""
        names = list(self._examples.of)
        works = [
            functools.partial(checks.record_battery, kernels=self._kernels, examples=self._examples, names=part)
            for part in (names[i :: self._jobs] for i in range(self._jobs))
        ]
        baseline = self._record(works, choose())
        while mutants := [m for m in choose() if m not in self.found]:

            def work(say: Say, kernels: Path, cache: Path, mutant: Mutant) -> None:
                names = baseline.checks(self._users.files(mutant), mutant.function)
                checks.try_battery(say, kernels, cache, self._examples, names)

            self._try(mutants, work, show)

    def on_tests(self, mutants: Sequence[Mutant], show: Callable[[Mutant], None]) -> None:
        """Try mutants on the tests that run kernels on the emulator."""
        roots = [checks.ROOT / name for name in self._suite if not name.partition("::")[1]]
        files = sorted(str(f) for root in roots for f in ([root] if root.is_file() else root.rglob("test_*.py")))
        named = re.compile("emulator|kernels|EVERYWHERE")  # how a test asks for a device that runs kernels
        texts = [f for f in files if named.search(Path(f).read_text(encoding="utf-8"))]
        texts += [str(checks.ROOT / name) for name in self._suite if name.partition("::")[1]]
        works = [
            functools.partial(checks.record_tests, kernels=self._kernels, files=texts[i :: self._jobs])
            for i in range(min(self._jobs, len(texts)))  # pytest without a file would run all tests
        ]
        baseline = self._record(works, mutants)

        def work(say: Say, kernels: Path, cache: Path, mutant: Mutant) -> None:
            nodes = baseline.checks(self._users.files(mutant), mutant.function)
            if nodes:
                checks.try_tests(say, kernels, cache, nodes)
            else:
                say({"how": "survived"})

        self._try(mutants, work, show)

    def _record(self, works: Sequence[Callable[[Say], None]], mutants: Sequence[Mutant]) -> Baseline:
        baseline = Baseline()
        for _, ending in run_forked(works, self._jobs):
            baseline.take(ending)
        self.failures += baseline.failures_of({file for m in mutants for file in self._users.files(m)})
        return baseline

    def _try(self, mutants: Sequence[Mutant], work: Callable[..., None], show: Callable[[Mutant], None]) -> None:
        def one(say: Say, mutant: Mutant, folder: Path) -> None:
            kernels, cache = folder / "kernels", folder / "cache"
            shutil.copytree(self._kernels, kernels)
            path = kernels / mutant.file
            path.write_text(mutant.apply(path.read_text(encoding="utf-8")), encoding="utf-8")
            cache.mkdir()
            for made in cache_folder().glob("*-*.*"):  # of what the mutant does not change
                if made.suffix in (".so", ".gch"):
                    os.symlink(made, cache / made.name)
            work(say, kernels, cache, mutant)

        folders = [self._work / f"mutant-{i}" for i in range(len(mutants))]
        works = [functools.partial(one, mutant=m, folder=f) for m, f in zip(mutants, folders, strict=True)]
        for number, ending in run_forked(works, self._jobs):
            self.found[mutants[number]] = verdict(ending)
            show(mutants[number])
            shutil.rmtree(folders[number], ignore_errors=True)


def verdict(ending: Ending) -> dict[str, Any]:
    """How a mutant fared, from what the process that tried it said."""
    begun = next((said["begin"] for said in reversed(ending.said) if "begin" in said), "")
    if ending.signal:
        name = signal.Signals(ending.signal).name
        return {"how": _SIGNALS.get(ending.signal, "crash"), "where": begun, "message": name}
    for said in ending.said:
        if "how" in said:
            return said
    why = next((said["broken"] for said in ending.said if "broken" in said), "a worker ended without a word")
    return {"how": "survived", "where": begun, "message": f"could not be tried: {why}"}
