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
--name; each has its own --out. Keep passwords out of it: PGPASSWORD or ~/.pgpass hold PostgreSQL's.
Needs Optuna: pip install 'gpunn[sweep]'.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.cli import train
from gpunn.cli.arguments import one_of, whole
from gpunn.cli.datasets import defaults_for, open_data
from gpunn.cli.models import MODEL_HELP, resolve
from gpunn.cli.recipe import augmentation, check_recipe, is_used
from gpunn.cli.watching import FOLDER, MONITORS, callbacks
from gpunn.errors import DataError, UsageError, shortened
from gpunn.sweep.space import SAMPLERS, Choices, Fixed, Range, Spec, grid, numbers, words

if TYPE_CHECKING:
    from gpunn.sweep.study import Plan, Sweep, Trained
    from gpunn.sweep.trials import Result

# In the order in which they are drawn: whether momentum and decay have a meaning depends on the first two.
_WORDS = ("optimizer", "schedule")
_NUMBERS = ("lr", "batch_size", "momentum", "weight_decay", "lr_decay", "label_smoothing", "clip_grad_norm")
_COUNTS = ("epochs", "accumulate", "seed")
_VARIABLE = (*_WORDS, *_NUMBERS, *_COUNTS)
# Of a range, whether equal ratios are equally likely; by default where it spans a decade.
_LOG = {"lr": True, "weight_decay": True, "seed": False}
# What a trial is not asked for, with the value that it has.
_SET = {
    "resume": None,
    "trust": False,
    "no_save": False,
    "overwrite": False,
    "tensorboard": False,
    "health": False,
    "keep": 1,
    "checkpoint_every": None,
    "out": None,
    "monitor": None,
}
# What may be another when a sweep goes on, as it changes no result.
_FREE = ("device", "workers", "no_capture", "download", "data_dir", "max_pixels")
_TRIALS = 20
_FILE = "sweep.json"


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments: those of a run that may vary or are the same in all trials, and its own."""

    def varied(*names: str, **options: Any) -> None:
        field = names[0].lstrip("-").replace("-", "_")
        if field in _SET:
            return
        if field == "model":
            names, options = ("model",), {"help": MODEL_HELP}
        elif field in _WORDS:
            options = {**options, "type": words(options["type"]), "metavar": "NAMES"}
        elif field in _VARIABLE:
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
    from gpunn.train.run_folder import RunFolder

    entry = resolve(args.model)
    plan = _plan(args)
    if (args.storage is None) is not (args.name is None):
        raise UsageError("--storage and --name: the database, and which sweep in it; give both or neither.")
    if args.storage is not None:
        check_url(args.storage)
    trials = _count(args, plan)
    home = device(args.device or "auto")
    data = argparse.Namespace(**{**vars(args), "data": args.data or "digits"})
    train_set, test_set = open_data(data)
    augmentation(args.augment, train_set)
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
            trainer = _Trials(args, entry, home, train_set, test_set, plan, out, trials)
            return _search(sweep, trainer, worker)
        finally:
            sweep.close()


def _search(sweep: Sweep, trainer: _Trials, worker: str) -> int:
    """Train what is missing, and tell the results."""
    left = sweep.interrupted()
    known = sweep.results()
    if known or left:
        again = f"; {left} that did not end {'are' if left > 1 else 'is'} trained again" if left else ""
        print(f"Going on with {trainer.out}: {len(known)} of {trainer.count} trials are finished{again}.", flush=True)
    try:
        with trainer.showing():
            while not sweep.done(trainer.count):
                sweep.run_one(trainer.train)
                results = sweep.results()
                trainer.tell(results)
                _drop_checkpoints(trainer.out, results, worker)
    except KeyboardInterrupt as stopped:
        print(
            f"gpunn: interrupted; {len(sweep.results())} of {trainer.count} trials are finished. The same command "
            f"goes on.",
            file=sys.stderr,
        )
        return 128 + getattr(stopped, "signum", signal.SIGINT)
    _report(sweep.results(), trainer, worker)
    return 0


# -- what is asked for ------------------------------------------------------------------------------


def _plan(args: argparse.Namespace) -> Plan:
    """The space, and what must stay the same; options that contradict each other are refused."""
    from gpunn.sweep.study import Plan

    space: dict[str, Spec] = {name: getattr(args, name) for name in _VARIABLE if getattr(args, name) is not None}
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
    _filled(args, settings)


def _filled(args: argparse.Namespace, settings: Mapping[str, Any]) -> argparse.Namespace:
    """The arguments of ``gpunn train`` for a trial."""
    given = {**dict.fromkeys(_VARIABLE), **_SET, **settings}
    filled = argparse.Namespace(**{**vars(args), **given})
    if args.patience is not None:
        filled.monitor = args.monitor
    train.fill(filled)
    check_recipe(filled, defaults_for(filled.data))
    return filled


def _same(args: argparse.Namespace, space: Mapping[str, Spec]) -> dict[str, str]:
    """By option what must not change when the sweep goes on."""
    own = ("sampler", "sampler_seed", "prune", "monitor")
    same = {"model": args.model, "--data": args.data or "digits"}
    skipped = {*_SET, *_FREE, *_VARIABLE, *own, "model", "data", "trials", "storage", "name", "command", "run"}
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


# -- training ---------------------------------------------------------------------------------------


class _Trials:
    """Trains trials, and shows how far they are."""

    def __init__(
        self,
        args: argparse.Namespace,
        entry: Any,
        home: Any,
        train_set: Any,
        test_set: Any,
        plan: Plan,
        out: Path,
        count: int,
    ) -> None:
        self._args, self._entry, self._home = args, entry, home
        self._train_set, self._test_set = train_set, test_set
        self.out, self.count, self.monitor = out, count, plan.monitor
        self.names = [name for name, spec in plan.space.items() if not isinstance(spec, Fixed)]
        self.plan = plan
        self._fixed = {name: spec.value for name, spec in plan.space.items() if isinstance(spec, Fixed)}
        self._status: Any = None
        self._place = 0
        self._start = 0.0

    def folder(self, place: int) -> Path:
        """The run of a trial."""
        return self.out / f"trial-{place:03d}"

    def train(self, place: int, settings: dict[str, Any], report: Callable[[int, float], bool]) -> Trained:
        """Train one trial, as ``gpunn train`` would."""
        from gpunn.sweep.study import Trained
        from gpunn.sweep.table import settings_text

        self._place, self._start = place, time.perf_counter()
        title = f"trial {place}/{self.count}: {settings_text(settings)}"
        self._show(title)
        given = {**self._fixed, **settings}
        args = _filled(self._args, {name: value for name, value in given.items() if self.plan.used(name, given)})
        args.out = self.folder(place)
        try:
            parts = train.make_parts(
                args,
                self._entry,
                self._home,
                self._train_set,
                self._test_set,
                augmentation(args.augment, self._train_set),
            )
            watch = _watch(self.monitor, report, lambda text: self._show(f"{title}; {text}"))
            watching = [*callbacks(args, self._train_set, self._home), watch]
            config = train.config_of(args, self._train_set)
            trainer = train.make_trainer(args, parts, self._home, config, watching, overwrite=True, log=None)
            trainer.fit(parts.train_loader, parts.test_loader, args.epochs, args.max_steps)
        finally:
            # The next one needs the memory: what a network's hooks and closures hold is in cycles.
            parts = trainer = None  # type: ignore[assignment]
            gc.collect()
            if self._home.ordinal is not None:
                self._home.xp.get_default_memory_pool().free_all_blocks()
        return Trained(watch.figures, list(config["command"]), watch.pruned)

    def tell(self, results: Sequence[Result]) -> None:
        """A line of the trial that has just ended."""
        from gpunn.sweep.table import line, settings_text

        result = next(r for r in results if r.place == self._place)
        best = "  (the best so far)" if result is results[0] and result.value is not None and len(results) > 1 else ""
        seconds = time.perf_counter() - self._start
        text = f"trial {result.place}/{self.count}  {settings_text(result.settings)}  {line(result)}"
        text += f"  {seconds:.1f} s{best}"
        if self._status is None:
            print(text, flush=True)
        else:
            self._status.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """On a terminal that can move its cursor, a line that says what is being trained."""
        if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
            yield
            return
        from rich.console import Console

        with Console().status("") as self._status:
            yield
        self._status = None

    def _show(self, text: str) -> None:
        if self._status is not None:
            from rich.markup import escape

            self._status.update(escape(text))


def _watch(monitor: str, report: Callable[[int, float], bool], show: Callable[[str], None]) -> Any:
    """The callback that tells the study each epoch, and ends a trial that the study prunes."""
    from gpunn.sweep.table import figures_text
    from gpunn.train import Callback

    class Watch(Callback):
        figures: dict[str, Any] = {}  # noqa: RUF012  # replaced, never changed
        pruned = False
        last = 0

        def on_fit_begin(self, trainer: Any, epochs: int, steps: int) -> None:
            self.last = epochs

        def on_progress(self, trainer: Any, progress: Any) -> None:
            show(f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}")

        def on_epoch_end(self, trainer: Any, record: Any) -> None:
            self.figures = {name: value for name, value in record.as_dict().items() if name != "gradient_norms"}
            show(f"epoch {record.epoch}/{self.last}, {figures_text(self.figures)}")
            # After the last epoch there is nothing left to save.
            if report(record.epoch, float(self.figures[monitor])) and record.epoch < self.last:
                self.pruned = True
                trainer.stop("the sweep ended it")

    return Watch()


def _drop_checkpoints(out: Path, results: Sequence[Result], worker: str) -> None:
    """Delete the checkpoints of all trials but the best: nothing goes on from them, and they are large."""
    for result in results[1:]:
        if result.worker == worker:
            shutil.rmtree(out / f"trial-{result.place:03d}" / "checkpoints", ignore_errors=True)


# -- results ----------------------------------------------------------------------------------------


def _report(results: Sequence[Result], trainer: _Trials, worker: str) -> None:
    """The table, its file, the picture, and the best trial with its command."""
    from rich.console import Console

    from gpunn.serialize import write_atomically
    from gpunn.sweep.table import as_csv, figures_text, left_out, settings_text, table

    # Where there is no terminal, lines may be as long as they are.
    wide = None if sys.stdout.isatty() else 200
    console = Console(width=wide, highlight=False)
    console.print(table(results, trainer.names, trainer.monitor))
    if left_out(results):
        print(f"... and {left_out(results)} more.")
    path = trainer.out / "trials.csv"
    write_atomically(path, as_csv(results, trainer.names))
    print(f"{path} has all of it{_picture(results, trainer)}.")
    best = results[0] if results else None
    if best is None or best.value is None:
        print("No trial was trained to its end: there is no best one. Try lower learning rates.")
        return
    place = str(trainer.folder(best.place)) if best.worker == worker else f"the sweep's folder on {best.host}"
    print(f"Best is trial {best.place}: {settings_text(best.settings)}: {figures_text(best.figures)}.")
    print(f"Its run is {'' if best.worker == worker else 'in '}{place}. To train it again:")
    print(f"gpunn {shlex.join(best.command)}")


def _picture(results: Sequence[Result], trainer: _Trials) -> str:
    """Draw it where matplotlib is installed; what to say of it."""
    from gpunn.plots.style import drawing, need_matplotlib, write

    try:
        need_matplotlib()
    except UsageError:
        return "; for a picture, pip install 'gpunn[plot]' and give the same command"
    from gpunn.plots.sweep import draw_sweep

    path = trainer.out / "sweep.png"
    with drawing():
        write(draw_sweep(results, trainer.plan.space, trainer.monitor, trainer.plan.minimize), path)
    return f", and {path} shows it"
