"""Search for good hyper-parameters: train a network many times, and compare.

Any of these options of gpunn train may vary: a range A..B (of learning rates and weight decays, and of whatever spans a
decade, equal ratios are equally likely), choices A,B,C, or one value, the same in every trial. What has no meaning in a
trial (momentum with adam) is left out of it. All other options of gpunn train are as there.

  gpunn sweep lenet5 --trials 20 --lr 1e-3..1e-1 --batch-size 16,32,64 --optimizer sgd,adam
  gpunn sweep lenet5 --sampler grid --lr 0.01,0.03,0.1 --batch-size 16,32

The sweep is kept in --out. The same command goes on where it stopped, by Ctrl-C or otherwise: a trial that did not
end is trained again. Its trials are folders there, trial-001 and so on, for gpunn plot, gpunn eval and gpunn predict. A
loss that is not finite, or memory that does not suffice, is a trial's result and does not end the sweep. At the end
come a table, sorted by --monitor after the last epoch, the same as trials.csv, and as a picture, sweep.png. The best
figure of many is a little better than the network is: for one to report, test on images that the sweep has not seen.

Several machines work on one sweep with --storage postgresql://USER@HOST/DATABASE (or mysql+pymysql://...) and a
--name; each has its own --out, and ends the trial that it has begun. Keep passwords out of it: PGPASSWORD or
~/.pgpass hold PostgreSQL's.
Needs Optuna: pip install 'gpunn[sweep]'.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.cli import train
from gpunn.cli.arguments import one_of, whole
from gpunn.cli.datasets import open_data
from gpunn.cli.models import MODEL_HELP, resolve
from gpunn.cli.recipe import augmentation, is_used
from gpunn.cli.sweep_trials import NOT_ASKED, VARIABLE, WORDS, Trials, drop_checkpoints, filled, report
from gpunn.cli.watching import FOLDER, MONITORS
from gpunn.errors import DataError, UsageError, shortened
from gpunn.sweep.space import SAMPLERS, Choices, Fixed, Range, Spec, grid, numbers, words

if TYPE_CHECKING:
    from gpunn.sweep.study import Plan, Sweep

# Of a range, whether equal ratios are equally likely; by default where it spans a decade.
_LOG = {"lr": True, "weight_decay": True, "seed": False}
# What may be another when a sweep goes on, as it changes no result.
_FREE = ("device", "workers", "no_capture", "download", "data_dir", "max_pixels")
_TRIALS = 20
_FILE = "sweep.json"


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments: those of a run that may vary or are the same in all trials, and its own."""

    def varied(*names: str, **options: Any) -> None:
        field = names[0].lstrip("-").replace("-", "_")
        if field in NOT_ASKED:
            return
        if field == "model":
            names, options = ("model",), {"help": MODEL_HELP}
        elif field in WORDS:
            options = {**options, "type": words(options["type"]), "metavar": "NAMES"}
        elif field in VARIABLE:
            options = {**options, "type": numbers(options["type"], log=_LOG.get(field)), "metavar": "A..B"}
        add(*names, **options)

    train.add_arguments(varied)
    add("--trials", type=whole(1), metavar="N", help=f"how many in all (default: {_TRIALS}; of a grid all)")
    add(
        "--sampler",
        type=one_of(SAMPLERS),
        default="tpe",
        metavar="NAME",
        help="tpe: where earlier trials were good (the default); random; grid: every combination of values",
    )
    add("--sampler-seed", type=whole(0, None), default=0, metavar="N", help="of what is drawn (default: 0)")
    add("--prune", action="store_true", help="end trials that are worse than the median of the earlier ones")
    add(
        "--monitor",
        type=one_of(MONITORS),
        default="test_loss",
        metavar="NAME",
        help=f"what is compared: {', '.join(MONITORS)} (default: test_loss)",
    )
    add("--out", type=Path, metavar="DIR", help="keep the sweep here (default: runs/sweep-MODEL)")
    add("--storage", metavar="URL", help="the database of its trials (default: a file of SQLite in --out)")
    add("--name", metavar="NAME", help="with --storage: which sweep in that database")


def run(args: argparse.Namespace) -> int:
    """Check everything that was requested, then train trial after trial."""
    from gpunn._device import device
    from gpunn.sweep.storage import check_url, file_url, need_optuna
    from gpunn.train._forward import half_of
    from gpunn.train.run_folder import RunFolder

    entry = resolve(args.model)
    plan = _plan(args)
    if (args.storage is None) is not (args.name is None):
        raise UsageError("--storage and --name: the database, and which sweep in it; give both or neither.")
    if args.storage is not None:
        check_url(args.storage)
    count = _count(args, plan)
    home = device(args.device or "auto")
    data = argparse.Namespace(**{**vars(args), "data": args.data or "digits"})
    train_set, test_set = open_data(data)
    augmentation(args.augment, train_set)
    half_of(args.autocast)
    out: Path = args.out or FOLDER / f"sweep-{_stem(args.model)}"
    if (out / "config.json").exists():
        raise UsageError(f"--out: {shortened(out, 200)} holds a run of gpunn train. Give another folder.")
    need_optuna()
    folder = RunFolder(out)  # last, as it makes the folder
    with folder.locked():
        worker = _worker(out)
        url, name = args.storage or file_url(out / "study.sqlite3"), args.name or "sweep"
        from gpunn.sweep.study import Sweep

        sweep = Sweep(plan, url, name, worker, args.storage is not None)
        try:
            trials = Trials(args, entry, home, train_set, test_set, plan, out, count)
            return _search(sweep, trials, worker)
        finally:
            sweep.close()


def _search(sweep: Sweep, trials: Trials, worker: str) -> int:
    """Train what is missing, and tell the results."""
    left = sweep.interrupted()
    known = sweep.results()
    if known or left:
        again = f"; {left} that did not end {'are' if left > 1 else 'is'} trained again" if left else ""
        print(f"Going on with {trials.out}: {len(known)} of {trials.count} trials are finished{again}.", flush=True)
    try:
        with trials.showing():
            while not sweep.done(trials.count):
                sweep.run_one(trials.train)
                results = sweep.results()
                trials.tell(results)
                drop_checkpoints(trials.out, results, worker)
    except KeyboardInterrupt as stopped:
        print(
            f"gpunn: interrupted; {len(sweep.results())} of {trials.count} trials are finished. The same command "
            f"goes on.",
            file=sys.stderr,
        )
        return 128 + getattr(stopped, "signum", signal.SIGINT)
    report(sweep.results(), trials, worker)
    return 0


# -- what is asked for ------------------------------------------------------------------------------


def _plan(args: argparse.Namespace) -> Plan:
    """The space, and what must stay the same; options that contradict each other are refused."""
    from gpunn.sweep.study import Plan

    space: dict[str, Spec] = {name: getattr(args, name) for name in VARIABLE if getattr(args, name) is not None}
    varying = {name: spec for name, spec in space.items() if not isinstance(spec, Fixed)}
    if not varying:
        raise UsageError(
            "gpunn sweep: expected at least one option that varies, such as --lr 1e-3..1e-1 or --batch-size 16,32,64; "
            "all have one value."
        )
    for optimizer in _values(space.get("optimizer")):
        for schedule in _values(space.get("schedule")):
            _check_combination(args, space, optimizer, schedule)
    for name, spec in space.items():
        if not any(
            is_used(name, optimizer, schedule)
            for optimizer in _values(space.get("optimizer"))
            for schedule in _values(space.get("schedule"))
        ):
            _check_combination(args, {**space, name: spec}, *_first(space), anyway=name)
    smoothing = space.get("label_smoothing")
    if "label_smoothing" in varying and args.monitor.endswith("loss"):
        raise UsageError(
            f"--label-smoothing: with another smoothing the loss is another measure, so {args.monitor} compares "
            "nothing. Give --monitor test_accuracy_percent."
        )
    if isinstance(smoothing, Range | Choices):
        most = smoothing.high if isinstance(smoothing, Range) else max(smoothing.values)
        if most > 1:
            raise UsageError(f"--label-smoothing: expected numbers from 0 to 1; got {smoothing}.")
    epochs = space.get("epochs")
    if args.prune and isinstance(epochs, Fixed) and epochs.value < 3:
        raise UsageError("--prune: it ends trials after their second epoch at the earliest; give --epochs 3 or more.")

    def used(name: str, values: Mapping[str, Any]) -> bool:
        return is_used(name, values.get("optimizer"), values.get("schedule"))

    return Plan(
        space=space,
        used=used,
        same=_same(args, space),
        monitor=args.monitor,
        minimize=args.monitor.endswith("loss"),
        sampler=args.sampler,
        seed=args.sampler_seed,
        prune=args.prune,
    )


def _values(spec: Spec | None) -> tuple[Any, ...]:
    if isinstance(spec, Choices):
        return spec.values
    return (spec.value,) if isinstance(spec, Fixed) else (None,)


def _first(space: Mapping[str, Spec]) -> tuple[Any, Any]:
    return _values(space.get("optimizer"))[0], _values(space.get("schedule"))[0]


def _check_combination(
    args: argparse.Namespace, space: Mapping[str, Spec], optimizer: Any, schedule: Any, anyway: str = ""
) -> None:
    """Refuse what ``gpunn train`` would refuse, with the least value of each hyper-parameter that has a meaning."""
    settings = {"optimizer": optimizer, "schedule": schedule}
    for name, spec in space.items():
        if name not in settings and (name == anyway or is_used(name, optimizer, schedule)):
            settings[name] = spec.low if isinstance(spec, Range) else _values(spec)[0]
    filled(args, settings)


def _same(args: argparse.Namespace, space: Mapping[str, Spec]) -> dict[str, str]:
    """By option what must not change when the sweep goes on."""
    own = ("sampler", "sampler_seed", "prune", "monitor")
    same = {"model": args.model, "--data": args.data or "digits"}
    skipped = {*NOT_ASKED, *_FREE, *VARIABLE, *own, "model", "data", "trials", "storage", "name", "command", "run"}
    for name, value in vars(args).items():
        if name in own or (name not in skipped and value not in (None, False)):
            same[f"--{name.replace('_', '-')}"] = str(value)
    for name, spec in space.items():
        same[f"--{name.replace('_', '-')}"] = str(spec)
    return same


def _count(args: argparse.Namespace, plan: Plan) -> int:
    """How many trials are to be finished in all."""
    if args.sampler != "grid":
        return args.trials or _TRIALS
    points = len(grid(plan.space, plan.used))
    return min(points, args.trials or points)


def _stem(model: str) -> str:
    return re.sub(r"[^\w.-]+", "-", model.rpartition(":")[2]).strip(".-")[:60] or "model"


def _worker(out: Path) -> str:
    """What tells this folder's trials from others' in a database: kept in the folder."""
    from gpunn._json import parse
    from gpunn.serialize import write_atomically

    path = out / _FILE
    if path.exists():
        try:
            known = parse(path.read_bytes())["worker"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{shortened(path, 200)}: not what gpunn sweep wrote ({shortened(error, 100)}). Give another folder."
            ) from error
        return str(known)
    worker = uuid.uuid4().hex
    write_atomically(path, (json.dumps({"worker": worker}) + "\n").encode())
    return worker
