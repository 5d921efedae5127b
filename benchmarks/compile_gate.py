"""The compile gate: every kernel compiled for every GPU architecture, with no GPU.

``python -m benchmarks.compile_gate`` asks NVRTC to compile each declared specialisation of each
``KernelSource`` for each of its architectures, with the options the product uses, and reads from ptxas'
log what the kernel costs: registers, static shared memory, stack and spills. The numbers are kept in
``benchmarks/results/kernel_resources.tsv``, so that a change to a kernel shows its price in the diff.

A spill, or any stack frame (local memory), fails: the kernels keep their tiles in registers, and an
array that slipped into local memory is slow without being wrong, which no other test would notice.

So does a kernel whose own shared memory and the dynamic one that its launches declare are together more than a block
may have: the GPU would refuse the launch.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, astuple, dataclass, fields
from multiprocessing import get_context
from pathlib import Path

from gpunn import _warmup
from gpunn.bench import ladder, machine_code
from gpunn.gpu.launcher import SHARED_MOST, KernelSource

GateError = machine_code.MachineCodeError  # no compiler, an unreadable table: the gate fails as a whole
INSTALL, OPTIONS = machine_code.COMPILER, machine_code.OPTIONS
compile_source, compiler_version = machine_code.compile_source, machine_code.compiler_version
TABLE = Path(__file__).parent / "results" / "kernel_resources.tsv"
# Shared memory of a block where a kernel asks for more than SHARED_MOST, in KB, by compute capability
# (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
_SHARED_ASKED = {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
_TITLE = (
    "# What ptxas makes of every kernel: registers a thread; static shared memory, stack, spills in bytes.",
    "# Made by: python -m benchmarks.compile_gate (no GPU needed). `source` is the hash of text and options.",
)


@dataclass(frozen=True)
class Resources:
    """What one kernel needs on one architecture."""

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int


@dataclass(frozen=True)
class Job:
    """One specialisation for one architecture: what is compiled at once, and the key of its table rows."""

    file: str
    macros: str  # "REAL=float VEC=4", sorted by name
    arch: int
    source: str  # the content hash


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    file: str
    macros: str
    kernel: str
    arch: int
    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int
    source: str

    @property
    def job(self) -> Job:
        return Job(self.file, self.macros, self.arch, self.source)

    @property
    def place(self) -> str:
        return f"{self.file} {self.kernel} [{self.macros or 'no macros'}] sm_{self.arch}"

    @property
    def fault(self) -> str | None:
        """Why this kernel fails the gate, or None."""
        if self.stack or self.spill_stores or self.spill_loads:
            return (
                f"{self.place}: {self.stack} bytes of stack (local memory), "
                f"{self.spill_stores} bytes of spill stores, {self.spill_loads} of spill loads"
            )
        return None


def over_limit(row: Row, dynamic: int) -> str | None:
    """Why a launch of this kernel with so many bytes of dynamic shared memory is refused, or None."""
    most = _SHARED_ASKED[row.arch] * 1024 if dynamic > SHARED_MOST else SHARED_MOST  # as gpu.loaders asks
    if row.shared + dynamic <= most:
        return None
    return f"{row.place}: {row.shared} bytes of static and {dynamic} of dynamic shared memory; a block has {most}"


def sources() -> dict[str, KernelSource]:
    """Every kernel file of the package: those that ops launch, and the ladders' to read."""
    return {**_warmup.sources(), **{source.file: source for source in ladder.SOURCES.values()}}


def jobs_of(source: KernelSource) -> Iterator[Job]:
    """All specialisations of one file for all its architectures."""
    for macros in source.specialisations():
        text = " ".join(f"{name}={value}" for name, value in sorted(macros.items()))
        for arch in source.architectures:
            yield Job(source.file, text, arch, source.content_hash(macros))


# -- compiling ------------------------------------------------------------------------------------

_ENTRY = re.compile(r"Compiling entry function '([^']+)'")
_PROPERTIES = re.compile(r"Function properties for (\S+)")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+)(?:\+\d+)? bytes smem")
_CUMULATIVE = re.compile(r"(\d+) bytes (?:cumulative stack size|lmem)")


def parse_log(log: str) -> dict[str, Resources]:
    """Read ``--ptxas-options=-v`` output: {kernel: resources}.

    A function that was not inlined has a frame of its own; it counts against every kernel of the log,
    because ptxas does not say who calls it.
    """
    entries: dict[str, dict[str, int]] = {}
    others = [0, 0, 0]
    entry = function = ""
    for line in log.splitlines():
        if match := _ENTRY.search(line):
            entry = match[1]
            entries[entry] = {"registers": -1, "shared": 0, "stack": 0, "spill_stores": 0, "spill_loads": 0}
        elif match := _PROPERTIES.search(line):
            function = match[1]
        elif match := _FRAME.search(line):
            frame = [int(n) for n in match.groups()]
            if function in entries:
                entries[function].update(zip(("stack", "spill_stores", "spill_loads"), frame, strict=True))
            else:
                others = [a + b for a, b in zip(others, frame, strict=True)]
        elif match := _USED.search(line):
            used = entries[entry]
            used["registers"] = int(match[1])
            shared, cumulative = _SHARED.search(line), _CUMULATIVE.search(line)
            used["shared"] = int(shared[1]) if shared else 0
            used["stack"] = max(used["stack"], int(cumulative[1]) if cumulative else 0)
    for name, used in entries.items():
        if used["registers"] < 0:
            raise GateError(f"ptxas' log says nothing of {name}'s registers:\n{log}")
        for key, extra in zip(("stack", "spill_stores", "spill_loads"), others, strict=True):
            used[key] += extra
    return {name: Resources(**used) for name, used in entries.items()}


def compile_job(job: Job, text: str) -> list[Row]:
    """The table rows of one job, by compiling it."""
    resources = parse_log(compile_source(text, job.file, job.macros.split(), job.arch)[0])
    if not resources:
        raise GateError(f"{job.file} [{job.macros}] has no kernel for sm_{job.arch}")
    return [
        Row(job.file, job.macros, kernel, job.arch, **asdict(used), source=job.source)
        for kernel, used in sorted(resources.items())
    ]


def compile_all(jobs: list[Job], texts: dict[str, str], processes: int) -> tuple[list[Row], list[str]]:
    """Compile ``jobs`` in parallel: (rows, messages of those that failed)."""
    rows: list[Row] = []
    failures: list[str] = []
    if not jobs:
        return rows, failures
    # ptxas runs inside this process and serialises on a lock, so threads would not help; and a fork
    # would inherit the parent's threads' locks.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(compile_job, job, texts[job.file]): job for job in jobs}
        for done, future in enumerate(as_completed(futures), 1):
            try:
                rows += future.result()
            except GateError as error:
                failures.append(str(error))
            _progress(done, len(jobs), futures[future])
    return rows, failures


def _progress(done: int, total: int, job: Job) -> None:
    """One line that rewrites itself on a terminal; a line now and then in a log file."""
    text = f"compiled {done}/{total}: {job.file} [{job.macros}] sm_{job.arch}"
    if sys.stdout.isatty():
        print(f"\r\x1b[K{text}", end="\n" if done == total else "", flush=True)
    elif done == total or done % 50 == 0:
        print(text, flush=True)


# -- the table ------------------------------------------------------------------------------------


def read_table(path: Path) -> tuple[str, list[Row]]:
    """(compiler and options the table was made with, its rows); ("", []) where there is none yet."""
    if not path.exists():
        return "", []
    made_with, rows = "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split("\t")
        if line.startswith("# with: "):
            made_with = line.removeprefix("# with: ")
        elif line.startswith("#") or cells == [field.name for field in fields(Row)]:
            continue
        elif len(cells) != len(fields(Row)):
            raise GateError(
                f"{path}:{number}: expected {len(fields(Row))} cells; got {len(cells)}: remake it with --all"
            )
        else:
            file, macros, kernel, *numbers, source = cells
            arch, registers, shared, stack, stores, loads = map(int, numbers)
            rows.append(Row(file, macros, kernel, arch, registers, shared, stack, stores, loads, source))
    return made_with, rows


def write_table(rows: Iterable[Row], made_with: str, path: Path) -> None:
    """Write the rows in an order that does not depend on how they were made."""
    lines = [*_TITLE, f"# with: {made_with}", "\t".join(field.name for field in fields(Row))]
    ordered = sorted(rows, key=lambda row: (row.file, row.macros, row.kernel, row.arch))
    lines += ["\t".join(map(str, astuple(row))) for row in ordered]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compare(wanted: Iterable[Job], rows: Iterable[Row]) -> tuple[list[Job], list[Row]]:
    """(jobs that the table does not have, by hash; rows that no job stands behind any more)."""
    wanted = list(wanted)
    have = {row.job for row in rows}
    keep = set(wanted)
    return [job for job in wanted if job not in have], [row for row in rows if row.job not in keep]


def _describe(rows: list[Row]) -> str:
    if not rows:
        return "no kernels"
    most, largest = max(rows, key=lambda row: row.registers), max(rows, key=lambda row: row.shared)
    kernels = len({(row.file, row.kernel) for row in rows})
    return (
        f"{kernels} kernels in {len({row.file for row in rows})} files, {len(rows)} rows; "
        f"most registers {most.registers} ({most.place}), "
        f"most shared memory {largest.shared} bytes ({largest.place})"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the gate; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_gate", description=__doc__)
    parser.add_argument("--all", action="store_true", help="compile everything, not only what changed")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is stale")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (default 2)")
    options = parser.parse_args(arguments)
    try:
        return _run(options.all, options.check, options.jobs)
    except GateError as error:
        print(f"compile gate: {error}", file=sys.stderr)
        return 2


def _run(everything: bool, check: bool, processes: int) -> int:
    started = time.monotonic()
    declared = sources()
    wanted = [job for source in declared.values() for job in jobs_of(source)]
    made_with, table = read_table(TABLE)
    missing, gone = compare(wanted, table)
    if everything or missing:  # with nothing to compile, no compiler is needed
        now_with = f"{compiler_version()} {' '.join(OPTIONS)}"
        if made_with and now_with != made_with:
            print(f"the table was made with {made_with}; this is {now_with}")
        # Rows of two compilers side by side would say nothing, so all are made anew.
        if everything or (now_with != made_with and not check):
            missing = wanted
        made_with = now_with
    rows, failures = compile_all(missing, {name: s.text for name, s in declared.items()}, processes)
    kept = set(wanted) - set(missing)
    result = [row for row in table if row.job in kept] + rows
    faults = [row.fault for row in result if row.fault]
    over = list(filter(None, (over_limit(row, declared[row.file].dynamic_shared.get(row.kernel, 0)) for row in result)))
    stale = sorted({row.place for row in set(table) ^ set(result)})
    if not check and stale:
        write_table(result, made_with, TABLE)

    for message in failures:
        print(f"FAILED: {message}")
    for fault in faults:
        print(f"SPILL: {fault}")
    for fault in over:
        print(f"SHARED: {fault}")
    if check and stale:
        shown = stale[:20] + [f"and {len(stale) - 20} more"] * (len(stale) > 20)
        print("STALE: the table differs from the kernels; run python -m benchmarks.compile_gate")
        print("\n".join(f"  {line}" for line in shown))
    print(_describe(result))
    print(
        f"{len(missing)} compilations in {time.monotonic() - started:.1f} s; {len(gone)} old rows dropped; "
        f"{len(failures)} failed to compile; {len(faults)} spill or use local memory; "
        f"{len(over)} want more shared memory than there is"
    )
    return int(bool(failures or faults or over or (check and stale)))


if __name__ == "__main__":
    sys.exit(main())
