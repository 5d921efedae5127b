"""What the cost model predicts, kept: the published ladder that checks it, and the device report's cases on an H200.

``python -m benchmarks.predictions`` compiles and reads what is new (`gpunn.bench.machine_code`; ``gpunn[sass]``),
counts the ladder's accesses on the emulator, and writes four tables to ``benchmarks/results``: ``machine_code.tsv``,
what a warp of each kernel runs; ``published_ladder.tsv``, predicted beside published (`gpunn.bench.published`);
``predictions.tsv``, each case with what limits it, and whether it reaches what is wanted; ``ways.tsv``, where launches
have several ways (`gpunn.gpu.choices`) the rule's and the one that the model would choose. ``--check`` writes nothing
and compiles nothing; it fails where a table is not of these sources, and where the ladder's order or its factor does
not hold. Cases that fall short do not fail: they are listed, with what limits them.

Of cases the accesses are taken as the best possible; ``python -m tests.emulator.kernel_counts`` counts what they are.
No row is a measurement.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from benchmarks._report.cases import all_cases
from gpunn._device import Device
from gpunn._half import half_named
from gpunn._precision import get_precision, set_precision
from gpunn.bench import machine_code, ops, published
from gpunn.bench.cards import CARDS
from gpunn.bench.case import Case
from gpunn.bench.cases import CONVOLUTIONS, layers
from gpunn.bench.explain import LayerLaunch, list_case
from gpunn.bench.machine_code import MachineCodeError
from gpunn.bench.predict import Access, predict
from gpunn.bench.tune import Run, Trial, Trials, predicted
from gpunn.errors import DeviceError
from gpunn.gpu.choices import tuned_by
from gpunn.gpu.launcher import KernelSource, trace_launches

RESULTS = Path(__file__).parent / "results"
LADDER, CASES = RESULTS / "published_ladder.tsv", RESULTS / "predictions.tsv"
WAYS = RESULTS / "ways.tsv"
CARD = CARDS["H200"]
_LADDER_HEADINGS = (
    "kernel", "conflicts", "loads", "stores", "published", "predicted", "ratio", "limit", "at boost", "source",
)  # fmt: skip
_CASE_HEADINGS = (
    "line", "kernels", "GFLOP", "MB", "least µs", "limit", "TFLOP/s", "of roofline", "of copy", "wanted", "verdict",
)  # fmt: skip
_WAY_HEADINGS = ("line", "kernel", "rule", "least µs", "best", "least µs", "ratio")
SLOWER = 1.25  # than the best way, by prediction: a rule knows neither the card nor whether there is a ReLU


class Want(NamedTuple):
    """What some lines should reach: a share of copy bandwidth."""

    lines: tuple[str, ...]
    copy: float
    bytes_only: bool  # and nothing but bytes may limit them


_MOVES = ("stem-pool.*", "bn256-*.*", "bn64-*.*", "cross-entropy-large.*", "sgd25m.*")
_MOVES_ALONE = ("global-pool.*", "avg-pool.*", "relu.*", "gelu.*", "sigmoid.*", "tanh.*", "group-norm.*", "conv11*.*")
WANTS = (Want(_MOVES, 0.85, True), Want(_MOVES_ALONE, 0.85, False))
# Convolutions by tensor cores, 3 to 10 of the case list, and what they should reach of these.
TENSOR = tuple(f"conv{n:02}" for n in range(3, 11))
TENSOR_SHARE = 0.6
# What stands behind their lines: of bfloat16, or of float32 in this precision; and its part of the rate of bf16.
RATES = {"bf16": 1, "tf32": 1 / 2}


def wanted_code() -> dict[machine_code.Key, None]:
    """The kernels whose machine code the tables need."""
    found: dict[machine_code.Key, None] = {}
    for work in published.works().values():
        found[machine_code.key_of(work.file, work.macros, work.kernel, published.CARD.sm)] = None
    for launches in case_launches().values():
        for one in launches:
            found[machine_code.key_of(one.file, one.macros, one.kernel, CARD.sm)] = None

    def note(device: Device, run: Run) -> float:
        run()
        with trace_launches() as launches:
            run()
        for one in launches:
            found[machine_code.key_of(one.file, one.macros, one.kernel, CARD.sm)] = None
        return 1.0

    try_ways(note)
    return found


_launches: dict[str, tuple[Case, list[LayerLaunch]]] = {}


def _cases() -> Iterator[tuple[str, Case]]:
    """The cases of single ops by their lines; between one and the next the precision is what the line says."""
    for case in all_cases(quick=False):
        if case.direction != "ceiling":
            yield case.id, case
    half_named("predictions", "bfloat16")  # NumPy knows it by its name from now on
    before = get_precision()
    try:
        for key, kind in itertools.product(TENSOR, RATES):
            (n, c, h, k, r), how = CONVOLUTIONS[key]
            rest = how.get("stride", 1), how.get("pad", 0)
            dtype = "bfloat16" if kind == "bf16" else "float32"
            set_precision(before if kind == "bf16" else kind)
            for case in ops.convolution(key, n, c, h, k, r, *rest, dtype=dtype):
                yield f"{case.id} {kind}", case
    finally:
        set_precision(before)
    for case in layers("full", "bfloat16"):
        if any(fnmatch.fnmatchcase(case.id, pattern) for pattern in (*_MOVES, *_MOVES_ALONE)):
            yield f"{case.id} bf16", case


def case_launches() -> dict[str, list[LayerLaunch]]:
    """The launches of each case of single ops, by its line."""
    if not _launches:
        for line, case in _cases():
            _launches[line] = case, list_case(case)
    return {line: launches for line, (_, launches) in _launches.items()}


def try_ways(measure: Callable[[Device, Run], float]) -> dict[str, Trial]:
    """Every way of every launch of the cases that has several, by the first line that has such a launch."""
    trials, lines = Trials(measure), dict[str, Trial]()
    for line, case in _cases():
        before = len(trials.found)
        with tuned_by(trials):
            list_case(case)
        for (kernel, _), trial in list(trials.found.items())[before:]:
            lines[f"{line}\t{kernel}"] = trial
    return {line: trial for line, trial in lines.items() if len(trial.us) > 1}


def way_rows() -> list[tuple[str, ...]]:
    """The table of ways: what the rule takes, and what the model would."""
    rows = []
    for line, trial in try_ways(predicted(CARD)).items():
        best = min(trial.us, key=lambda way: trial.us[way])
        both = [(" ".join(map(str, way)), f"{trial.us[way]:.2f}") for way in (trial.rule, best)]
        ratio = trial.us[trial.rule] / trial.us[best]
        rows.append((*line.split("\t"), *both[0], *both[1], f"{ratio:.2f}"))
    return sorted(rows, key=lambda row: (-float(row[-1]), row))


def way_faults(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Where a rule's way is predicted to take longer than another by more than what is accepted."""
    return [
        f"{line}: {kernel} by rule ({rule}) is predicted to take {ratio} times as long as by {best}; at most {SLOWER:g}"
        for line, kernel, rule, _, best, _, ratio in rows
        if float(ratio) > SLOWER
    ]


def ladder_rows(accesses: Mapping[str, Access]) -> list[tuple[str, ...]]:
    """The ladder's table."""
    rows, works = [], published.works()
    for one in published.compare(accesses):
        work, access = works[one.kernel], accesses[one.kernel]
        rows.append(
            (
                one.kernel,
                *(f"{value:.3f}" for value in astuple(access)),
                "" if one.published is None else f"{one.published:g}",
                f"{one.predicted:.0f}",
                "" if one.ratio is None else f"{one.ratio:.2f}",
                one.base.limit,
                f"{one.most:.0f}",
                KernelSource.registry[work.file].content_hash(work.macros),
            )
        )
    return rows


def ladder_faults(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Where the published ladder is not in its order, or a rung is off by more than the factor."""
    told = [(row[0], float(row[5]), float(row[6])) for row in rows if row[4]]
    faults = [
        f"{name} ({after:.0f} GFLOP/s) is not predicted to be faster than {before_name} ({before:.0f})"
        for (before_name, before, _), (name, after, _) in pairwise(told)
        if after <= before
    ]
    return faults + [
        f"{name}: predicted {ratio:.2f} times what was published; at most {published.FACTOR:g} either way"
        for name, _, ratio in told
        if not 1 / published.FACTOR <= ratio <= published.FACTOR
    ]


def _names(launches: Sequence[LayerLaunch]) -> str:
    """The kernels of a line by their first launches, each with how many there are."""
    counts = Counter(one.kernel for one in launches)
    return "+".join(kernel if times == 1 else f"{times} {kernel}" for kernel, times in counts.items())


def case_rows() -> list[tuple[str, ...]]:
    """The cases' table: those that fall short first."""
    case_launches()
    rows = []
    for line, (case, launches) in _launches.items():
        found = [(one, predict(one, CARD)) for one in launches]
        known = [(one, prediction) for one, prediction in found if prediction is not None]
        if len(known) < len(found):
            raise MachineCodeError(f"{line}: a kernel's resources are not known: run python -m benchmarks.compile_gate")
        us = sum(prediction.us for _, prediction in known)
        moved = sum(prediction.copy * prediction.us for _, prediction in known)
        least = sum(prediction.roofline * prediction.us for _, prediction in known)
        _, longest = max(known, key=lambda pair: pair[1].us)
        limits = {p.limit for _, p in known if p.us > us / 20}
        if line.partition(".")[0] in TENSOR and (rate := RATES.get(line.partition(" ")[2], 0) * CARD.mma):
            least = max(case.flop / rate / 1e6, case.traffic / CARD.gbs / 1e3)
            reached = case.flop / us / 1e6 >= TENSOR_SHARE * rate
            wanted, verdict = f"{TENSOR_SHARE:g} of {rate:.0f} TFLOP/s", "reached" if reached else _short(limits)
        else:
            want = next((w for w in WANTS if any(fnmatch.fnmatchcase(line, p) for p in w.lines)), None)
            wanted = "" if want is None else f"{want.copy:g} of copy" + ", by bytes" * want.bytes_only
            verdict = "" if want is None else _verdict(want, moved / us, limits)
        rows.append(
            (
                line,
                _names(launches),
                f"{case.flop / 1e9:.2f}" if case.flop else "",
                f"{sum(one.traffic for one in launches) / 1e6:.1f}",
                f"{us:.2f}",
                longest.limit,
                f"{case.flop / us / 1e6:.1f}" if case.flop else "",
                f"{least / us:.2f}",
                f"{moved / us:.2f}",
                wanted,
                verdict,
            )
        )
    return sorted(rows, key=lambda row: (not row[-1].startswith("short"), row[0]))


def _verdict(want: Want, share: float, limits: set[str]) -> str:
    others = ", ".join(sorted(limits - {"DRAM"}))
    return _short(limits) if share < want.copy or (want.bytes_only and others) else "reached"


def _short(limits: set[str]) -> str:
    return f"short: {', '.join(sorted(limits - {'DRAM'})) or 'DRAM'}"


def text_of(headings: Sequence[str], rows: Sequence[tuple[str, ...]], title: str) -> str:
    """A table as it is kept."""
    return "\n".join([f"# {title}", "\t".join(headings), *("\t".join(row) for row in rows)]) + "\n"


def ladder_text(rows: Sequence[tuple[str, ...]]) -> str:
    """The ladder's table as it is kept."""
    title = (
        f"GFLOP/s of float32 products of {published.SIDE}² on an {published.CARD.name}: published (SGEMM_CUDA), and "
        f"predicted at {published.BASE_GHZ:g} GHz. No constant is fitted."
    )
    return text_of(_LADDER_HEADINGS, rows, title)


def case_text() -> str:
    """The cases' table as it is kept."""
    return text_of(
        _CASE_HEADINGS,
        case_rows(),
        f"Predicted for an {CARD.name}, not measured. float32 unless it says bf16; its precision.",
    )


def way_text(rows: Sequence[tuple[str, ...]]) -> str:
    """The table of ways as it is kept."""
    title = (
        "Ways of launches (gpunn.gpu.choices): tile, slices, or 0 for two launches, or 4 and megabytes for Winograd's "
        f"algorithm. Predicted for an {CARD.name}, not measured."
    )
    return text_of(_WAY_HEADINGS, rows, title)


def kept_accesses(path: Path) -> dict[str, Access]:
    """What the emulator counted when the ladder's table was made; rungs whose source has changed since are left out.

    Raises
    ------
    MachineCodeError
        If a line has not as many cells as there are columns.
    """
    found, works = {}, published.works()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        cells = line.split("\t")
        if line.startswith("#") or tuple(cells) == _LADDER_HEADINGS:
            continue
        if len(cells) != len(_LADDER_HEADINGS):
            raise MachineCodeError(
                f"{path}:{number}: expected {len(_LADDER_HEADINGS)} cells; got {len(cells)}: make it anew"
            )
        work = works.get(cells[0])
        if work is not None and cells[-1] == KernelSource.registry[work.file].content_hash(work.macros):
            found[cells[0]] = Access(*map(float, cells[1:4]))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Make the tables, or check them; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predictions", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a table is stale or the ladder off"
    )
    options = parser.parse_args(arguments)
    try:
        return _check() if options.check else _make()
    except (MachineCodeError, DeviceError) as error:
        print(f"predictions: {error}", file=sys.stderr)
        return 2


def _check() -> int:
    have = machine_code.read_table(machine_code.table_path())
    stale = [f"machine code of {key[0]} {key[2]} [{key[1]}] sm_{key[3]}" for key in wanted_code() if key not in have]
    accesses = kept_accesses(LADDER)
    stale += [f"accesses of {kernel}" for kernel in published.works() if kernel not in accesses]
    faults: list[str] = []
    if not stale:
        rows = ladder_rows(accesses)
        ways = way_rows()
        faults = ladder_faults(rows) + way_faults(ways)
        stale += [
            path.name
            for path, text in ((LADDER, ladder_text(rows)), (CASES, case_text()), (WAYS, way_text(ways)))
            if not path.is_file() or path.read_text(encoding="utf-8") != text
        ]
    for what in stale:
        print(f"STALE: {what}: run python -m benchmarks.predictions")
    for fault in faults:
        print(f"OFF: {fault}")
    return int(bool(stale or faults))


def _make() -> int:
    path = machine_code.table_path()
    have, wanted = machine_code.read_table(path), wanted_code()
    rows = {key: parts for key, parts in have.items() if key in wanted}
    for number, key in enumerate(wanted, 1):
        if key not in rows:
            print(f"compiling {number}/{len(wanted)}: {key[0]} {key[2]} [{key[1]}] sm_{key[3]}", flush=True)
            rows[key] = machine_code.compiled(key[0], key[1], key[3], key[4])[key[2]]
    machine_code.write_table(rows, path)
    machine_code.read_table.cache_clear()
    accesses = kept_accesses(LADDER)
    if set(accesses) != set(published.works()):
        accesses = {
            name: Access(*(round(value, 3) for value in astuple(one)))
            for name, one in published.count_accesses().items()
        }
    ladder = ladder_rows(accesses)
    LADDER.write_text(ladder_text(ladder), encoding="utf-8")
    CASES.write_text(case_text(), encoding="utf-8")
    ways = way_rows()
    WAYS.write_text(way_text(ways), encoding="utf-8")
    for row in ladder:
        print(f"{row[0]:20} published {row[4]:>6}, predicted {row[5]:>6} ({row[6]:>4}), by {row[7]}; at boost {row[8]}")
    faults = ladder_faults(ladder) + way_faults(ways)
    for fault in faults:
        print(f"OFF: {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
