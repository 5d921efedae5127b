"""Results as JSON lines, one for each case and run, appended and never rewritten.

A record has: date, case, name, group, size, dtype, device, threads, shapes, items, flop, bytes, error (largest
difference from another side), others_share_of_cpu, ceilings {gflops, gbs}, machine, processor, gpu, versions, commit,
and sides {name: ms, ms_quartiles, ms_least, samples, gflops, gbs, share_of_ceiling, ratio, ...}. A ratio is that
side's time over gpunn's: above 1 gpunn is faster.

In the group "compare" (``gpunn bench --compare``) the sides are devices, and ``device`` is their names with commas. A
ratio is that device's time over the first one's, and ``missing`` says of a device why it has none. FLOP, bytes and
ceilings are not there.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from gpunn.bench.machine import Ceilings, describe
from gpunn.bench.runner import Settings
from gpunn.errors import DataError

Record = dict[str, Any]
_NEEDED = ("case", "name", "group", "device", "dtype", "date", "sides")


def complete(found: Record, settings: Settings, ceilings: Ceilings, threads: int) -> Record:
    """What ``runner.measure`` found, plus where and how it was measured."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "size": settings.size,
        "dtype": settings.dtype,
        "device": str(settings.device),
        "threads": threads,
        **found,
        "ceilings": {"gflops": ceilings.gflops, "gbs": ceilings.gbs},
        **describe(settings.device),
    }


def append(path: Path, records: list[Record]) -> None:
    """Append records to a file, which is created if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read(path: Path) -> list[Record]:
    """All records of a file, none if it is missing.

    Raises
    ------
    DataError
        If a line is not a record; the message names it.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: expected a JSON object; {error}.") from error
        missing = [key for key in _NEEDED if not isinstance(record, dict) or key not in record]
        if missing:
            raise DataError(f"{path}, line {number}: expected a benchmark record; it has no {', '.join(missing)}.")
        records.append(record)
    return records


def latest(records: list[Record]) -> list[Record]:
    """The last record of each case, device, size and dtype, in the order they first appear."""
    newest: dict[tuple[Any, ...], Record] = {}
    for record in records:
        newest[tuple(record.get(key) for key in ("case", "device", "size", "dtype", "threads"))] = record
    return list(newest.values())
