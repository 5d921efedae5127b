"""The command: choose mutants, try them on the battery, then on the tests, and report."""

from __future__ import annotations

import argparse
import functools
import os
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpunn.emulator import available
from gpunn.emulator.build import cache_folder
from gpunn.gpu.launcher import kernel_folder
from gpunn.primitive import REGISTRY
from tests.mutants import checks, explained
from tests.mutants.forked import Ending, Say, run_forked
from tests.mutants.operators import OPERATORS, Mutant, mutants_of
from tests.mutants.plan import Users, sample

_SIGNALS: dict[int, str] = {signal.SIGXCPU: "timeout", signal.SIGKILL: "timeout"}
HOWS = ("values", "finding", "error", "crash", "timeout")


class Baseline:
    """What the untouched kernels do: who launches what, how long it takes, and what fails already."""

    def __init__(self) -> None:
        self.launched: dict[str, set[tuple[str, str]]] = {}
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, str] = {}

    def take(self, ending: Ending) -> None:
        """Add what a recording said."""
        for said in ending.said:
            if "launched" in said:
                self.launched[said["check"]] = {(file, kernel) for file, kernel in said["launched"]}
                self.seconds[said["check"]] = said["seconds"]
            elif "how" in said or "broken" in said:
                self.failures.setdefault(said.get("check", ""), said.get("message") or said.get("broken", ""))
        if ending.signal:
            begun = next((said["begin"] for said in reversed(ending.said) if "begin" in said), "")
            self.failures[begun] = signal.Signals(ending.signal).name

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
    """

    def __init__(self, folder: Path, work: Path, jobs: int, primitives: Sequence[str]) -> None:
        self._kernels, self._work, self._jobs = work / "kernels", work, jobs
        shutil.copytree(folder, self._kernels)  # whoever edits them meanwhile
        self._examples = checks.Examples(primitives)
        self._users = Users(self._kernels, checks.KERNELS_OF_TESTS)
        self.found: dict[Mutant, dict[str, Any]] = {}
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
        roots = [checks.ROOT / name for name in checks.SUITE]
        files = sorted(str(f) for root in roots for f in ([root] if root.is_file() else root.rglob("test_*.py")))
        named = re.compile("emulator|kernels|EVERYWHERE")  # how a test asks for a device that runs kernels
        texts = [f for f in files if named.search(Path(f).read_text(encoding="utf-8"))]
        works = [
            functools.partial(checks.record_tests, kernels=self._kernels, files=texts[i :: self._jobs])
            for i in range(self._jobs)
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
            self.found[mutants[number]] = _verdict(ending)
            show(mutants[number])
            shutil.rmtree(folders[number], ignore_errors=True)


def _verdict(ending: Ending) -> dict[str, Any]:
    begun = next((said["begin"] for said in reversed(ending.said) if "begin" in said), "")
    if ending.signal:
        name = signal.Signals(ending.signal).name
        return {"how": _SIGNALS.get(ending.signal, "crash"), "where": begun, "message": name}
    for said in ending.said:
        if "how" in said:
            return said
    why = next((said["broken"] for said in ending.said if "broken" in said), "a worker ended without a word")
    return {"how": "survived", "where": begun, "message": f"could not be tried: {why}"}


@contextmanager
def _ended_by_signal() -> Any:
    """SIGTERM ends the command like Ctrl-C: what it started is stopped and its files are removed."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    folder = kernel_folder()
    files = sorted(path.name for path in folder.glob("*.cu*"))
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Mutation run over the kernels.")
    parser.add_argument("--kernel", nargs="+", metavar="FILE", choices=files, default=files, help="only these files")
    parser.add_argument("--only", nargs="+", metavar="OPERATOR", choices=OPERATORS, help=f"of {', '.join(OPERATORS)}")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="mutants of each file (default 8)")
    parser.add_argument("--all", action="store_true", help="all mutants of each file")
    parser.add_argument("--battery", action="store_true", help="try them on the battery alone, not on the tests")
    parser.add_argument("--primitive", nargs="+", metavar="NAME", help="of the battery only these (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once (default 2)")
    parser.add_argument("--explained", type=Path, default=explained.FILE, metavar="TSV", help="reasons of survivors")
    parser.add_argument("--verbose", action="store_true", help="a line for every mutant")
    options = parser.parse_args(arguments)
    if reason := available():
        parser.error(reason)
    _import_what_tests_use()
    with_kernel = sorted(name for name, primitive in REGISTRY.items() if primitive.kernel_body is not None)
    if unknown := set(options.primitive or ()) - set(with_kernel):
        parser.error(f"--primitive: no primitive with a kernel is called {', '.join(sorted(unknown))}")

    started = time.monotonic()
    reasons = explained.read(options.explained)
    every = {file: mutants_of(folder / file) for file in files}
    stale = explained.stale(reasons, [m for ms in every.values() for m in ms])
    chosen = {f: [m for m in every[f] if options.only is None or m.operator in options.only] for f in options.kernel}

    with tempfile.TemporaryDirectory(prefix="gpunn-mutants-") as work, _ended_by_signal():
        run = Run(folder, Path(work), options.jobs, options.primitive or with_kernel)
        report = Report(run, reasons, options.verbose)

        def choose() -> list[Mutant]:
            """The sample of each file, without the invalid ones that are known by now."""
            count = None if options.all else options.count
            valid = {f: [m for m in ms if run.found.get(m, {}).get("how") != "invalid"] for f, ms in chosen.items()}
            return [m for f in valid for m in sample(valid[f], count, options.seed)]

        stopped = False
        try:
            run.on_battery(choose, report.show)
            survivors = [m for m, found in run.found.items() if found["how"] == "survived"]
            report.final = True
            if survivors and not options.battery:
                print(f"-- {len(survivors)} went through the battery; the tests on them", flush=True)
                run.on_tests(survivors, report.show)
        except KeyboardInterrupt:
            stopped = True
    report.table(options.kernel)
    for failure in run.failures:
        print(f"FAILS ON THE UNTOUCHED KERNELS: {failure}")
    for key in stale:
        print(f"STALE EXPLANATION: {' | '.join(key)}")
    print(f"{time.monotonic() - started:.0f} s{', stopped before the end' if stopped else ''}")
    return 130 if stopped else int(bool(run.failures or stale or report.bad()))


def _import_what_tests_use() -> None:
    """So that no forked process has to."""
    from gpunn.ops import import_all

    import_all()
    if find_spec("torch"):  # else importing it would skip, and here there is no test to skip
        import tests.parity

        assert tests.parity


class Report:
    """Prints what comes out."""

    def __init__(self, run: Run, reasons: dict[explained.Key, str], verbose: bool) -> None:
        self._run, self._reasons, self._verbose = run, reasons, verbose
        self.final = False
        self._shown = 0
        self._started = time.monotonic()

    def show(self, mutant: Mutant) -> None:
        """A line about one mutant, or now and then about how far it is."""
        found = self._run.found[mutant]
        self._shown += 1
        explained_ = mutant.key in self._reasons
        wrong = found["how"] == "survived" and self.final and not explained_
        wrong |= explained_ and found["how"] in HOWS
        if wrong or self._verbose:
            state = f"{found['how']:9}{mutant.place:22} {mutant.operator:11}"
            print(f"{state} {found.get('where', '')} {found.get('message', '')}"[:200].rstrip(), flush=True)
            print(f"          - {mutant.before}\n          + {mutant.after}", flush=True)
        elif self._shown % 50 == 0:
            print(f"{self._shown} tried, {time.monotonic() - self._started:.0f} s", flush=True)

    def _of(self, how: str) -> list[Mutant]:
        return [m for m, found in self._run.found.items() if found["how"] == how]

    def bad(self) -> bool:
        """Whether a mutant survived without a reason, or was caught in spite of one."""
        unexplained = [m for m in self._of("survived") if m.key not in self._reasons]
        return bool(unexplained or self._caught_although_explained())

    def _caught_although_explained(self) -> list[Mutant]:
        return [m for how in HOWS for m in self._of(how) if m.key in self._reasons]

    def table(self, files: Sequence[str]) -> None:
        """File by file, then each survivor."""
        print(f"\n{'file':28} mutants  caught" + "".join(f"{how:>9}" for how in HOWS) + " survived  explained")
        total: Counter[str] = Counter()
        for file in files:
            row: Counter[str] = Counter()
            for mutant, found in self._run.found.items():
                if mutant.file == file and found["how"] != "invalid":
                    row["mutants"] += 1
                    row[found["how"]] += 1
                    row["explained"] += found["how"] == "survived" and mutant.key in self._reasons
            total += row
            self._row(file, row)
        self._row("all", total)
        print(f"\n{len(self._of('invalid'))} more do not compile")
        for mutant in sorted(self._of("survived"), key=lambda m: (m.file, m.start)):
            reason = self._reasons.get(mutant.key)
            print(f"{'explained' if reason else 'SURVIVED '} {mutant.place} {mutant.operator} in {mutant.function}")
            print(f"          - {mutant.before}\n          + {mutant.after}")
            if said := reason or self._run.found[mutant].get("message"):
                print(f"          {said}")
        for mutant in self._caught_although_explained():
            print(f"EXPLAINED, YET CAUGHT: {' | '.join(mutant.key)}: {self._run.found[mutant]}")
        caught = sum(total[how] for how in HOWS)
        print(
            f"{total['mutants']} mutants, {caught} caught "
            f"({100 * caught / max(1, total['mutants'] - total['explained']):.1f} % of those that change something), "
            f"{total['survived']} survived, {total['survived'] - total['explained']} of them unexplained"
        )

    @staticmethod
    def _row(name: str, row: Counter[str]) -> None:
        caught = sum(row[how] for how in HOWS)
        share = f"{100 * caught / row['mutants']:6.1f}%" if row["mutants"] else "      -"
        hows = "".join(f"{row[how]:9}" for how in HOWS)
        print(f"{name:28} {row['mutants']:7} {share}{hows}{row['survived']:9} {row['explained']:10}")
