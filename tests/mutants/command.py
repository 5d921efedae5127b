"""The command: choose mutants, try them on the battery, then on the tests, and report."""

from __future__ import annotations

import argparse
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpunn.emulator import available
from gpunn.gpu.launcher import kernel_folder
from gpunn.primitive import REGISTRY
from tests.mutants import checks, explained
from tests.mutants.launch_code import files as launch_files
from tests.mutants.launch_operators import LAUNCH_OPERATORS, launch_mutants
from tests.mutants.launch_run import LaunchRun
from tests.mutants.operators import OPERATORS, Mutant, mutants_of
from tests.mutants.plan import sample
from tests.mutants.run import HOWS, Run


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
    kernels, launches = sorted(path.name for path in folder.glob("*.cu*")), launch_files()
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Mutation run over the kernels, or over what launches them."
    )
    parser.add_argument("--launch", action="store_true", help="change launch code in Python instead of kernels")
    parser.add_argument(
        "--file", "--kernel", nargs="+", metavar="FILE", choices=kernels + launches,
        help="only these files: gemm.cu; with --launch gpu/gemm.py, ops/relu.py",
    )  # fmt: skip
    names = f"of kernels {', '.join(OPERATORS)}; of launches {', '.join(LAUNCH_OPERATORS)}"
    parser.add_argument("--only", nargs="+", metavar="OPERATOR", help=names)
    parser.add_argument("--count", type=int, default=8, metavar="N", help="mutants of each file (default 8)")
    parser.add_argument("--all", action="store_true", help="all mutants of each file")
    parser.add_argument("--battery", action="store_true", help="try them on the battery alone, not on the tests")
    parser.add_argument(
        "--tests", nargs="+", metavar="TEST", default=checks.SUITE,
        help="try what goes through the battery on these: folders, files, file.py::test (default: many)",
    )  # fmt: skip
    parser.add_argument("--primitive", nargs="+", metavar="NAME", help="of the battery only these (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once (default 2)")
    parser.add_argument("--explained", type=Path, default=explained.FILE, metavar="TSV", help="reasons of survivors")
    parser.add_argument(
        "--recorded", type=Path, metavar="JSON",
        help="with --launch: keep which lines each test runs, and do not find it out again while they are the same",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="a line for every mutant")
    options = parser.parse_args(arguments)
    files: list[str] = options.file or (launches if options.launch else kernels)
    if other := set(files) & set(kernels if options.launch else launches):
        parser.error(f"--file: {', '.join(sorted(other))}: {'not ' if options.launch else ''}with --launch")
    known = list(LAUNCH_OPERATORS if options.launch else OPERATORS)
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"--only: no operator is called {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
    if missing := [name for name in options.tests if not (checks.ROOT / name.partition("::")[0]).exists()]:
        parser.error(f"--tests: there is no {', '.join(missing)}")
    if options.launch and options.tests is not checks.SUITE:
        parser.error("--tests: not with --launch, which chooses by the lines that tests run")
    if reason := available():
        parser.error(reason)
    _import_what_tests_use()
    with_kernel = sorted(name for name, primitive in REGISTRY.items() if primitive.kernel_body is not None)
    if unknown := set(options.primitive or ()) - set(with_kernel):
        parser.error(f"--primitive: no primitive with a kernel is called {', '.join(sorted(unknown))}")

    started = time.monotonic()
    every: dict[str, Sequence[Mutant]]
    if options.launch:
        every = {file: launch_mutants(file) for file in files}
    else:
        every = {file: mutants_of(folder / file) for file in kernels}  # a header's are tried on whoever uses it
    reasons = {key: reason for key, reason in explained.read(options.explained).items() if key[0] in every}
    stale = explained.stale(reasons, [m for ms in every.values() for m in ms])
    chosen = {f: [m for m in every[f] if options.only is None or m.operator in options.only] for f in files}

    with tempfile.TemporaryDirectory(prefix="gpunn-mutants-") as work, _ended_by_signal():
        primitives = options.primitive or with_kernel
        run: Any
        if options.launch:
            run = LaunchRun(options.jobs, primitives, options.recorded)
        else:
            run = Run(folder, Path(work), options.jobs, primitives, options.tests)
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
    report.table(files)
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

    def __init__(self, run: Any, reasons: dict[explained.Key, str], verbose: bool) -> None:
        self._run, self._reasons, self._verbose = run, reasons, verbose
        self.final = False
        self._shown = 0
        self._started = time.monotonic()

    def show(self, mutant: Mutant) -> None:
        """A line about one mutant, or now and then about how far it is."""
        found = self._run.found[mutant]
        self._shown += 1
        explained_ = self._reason(mutant) is not None
        wrong = found["how"] == "survived" and self.final and not explained_
        wrong |= mutant.key in self._reasons and found["how"] in HOWS
        if wrong or self._verbose:
            state = f"{found['how']:9}{mutant.place:22} {mutant.operator:11}"
            print(f"{state} {found.get('where', '')} {found.get('message', '')}"[:200].rstrip(), flush=True)
            print(f"          - {mutant.before}\n          + {mutant.after}", flush=True)
        elif self._shown % 50 == 0:
            print(f"{self._shown} tried, {time.monotonic() - self._started:.0f} s", flush=True)

    def _reason(self, mutant: Mutant) -> str | None:
        """Why nothing can notice a mutant: written down, or found out by the run itself."""
        return self._reasons.get(mutant.key) or self._run.reasons.get(mutant)

    def _of(self, how: str) -> list[Mutant]:
        return [m for m, found in self._run.found.items() if found["how"] == how]

    def bad(self) -> bool:
        """Whether a mutant survived without a reason, or was caught in spite of one."""
        unexplained = [m for m in self._of("survived") if self._reason(m) is None]
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
                    row["explained"] += found["how"] == "survived" and self._reason(mutant) is not None
            total += row
            self._row(file, row)
        self._row("all", total)
        print(f"\n{len(self._of('invalid'))} more do not compile")
        for mutant in sorted(self._of("survived"), key=lambda m: (m.file, m.start)):
            reason = self._reason(mutant)
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
