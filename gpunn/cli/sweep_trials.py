"""Training a sweep's trials, each as ``gpunn train`` would, and telling their results."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.cli import train
from gpunn.cli.datasets import defaults_for
from gpunn.cli.precision import products_in
from gpunn.cli.recipe import augmentation, check_recipe
from gpunn.cli.watching import callbacks
from gpunn.errors import UsageError
from gpunn.sweep.space import Fixed

if TYPE_CHECKING:
    from gpunn.sweep.study import Plan, Trained
    from gpunn.sweep.trials import Result

# In the order in which they are drawn: whether momentum and decay have a meaning depends on the first two.
WORDS = ("optimizer", "schedule")
_NUMBERS = ("lr", "batch_size", "momentum", "weight_decay", "lr_decay", "label_smoothing", "clip_grad_norm")
_COUNTS = ("epochs", "accumulate", "seed")
VARIABLE = (*WORDS, *_NUMBERS, *_COUNTS)
# What a trial is not asked for, with the value that it has.
NOT_ASKED = {
    "resume": None,
    "trust": False,
    "no_save": False,
    "overwrite": False,
    "tensorboard": False,
    "resident": False,
    "health": False,
    "keep": 1,
    "checkpoint_every": None,
    "out": None,
    "monitor": None,
}
_WIDE = 400  # letters: more than the table of all hyper-parameters has


def filled(args: argparse.Namespace, settings: Mapping[str, Any]) -> argparse.Namespace:
    """The arguments of ``gpunn train`` for a trial."""
    given = {**dict.fromkeys(VARIABLE), **NOT_ASKED, **settings}
    made = argparse.Namespace(**{**vars(args), **given})
    if args.patience is not None:
        made.monitor = args.monitor
    train.fill(made)
    check_recipe(made, defaults_for(made.data))
    return made


class Trials:
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
        args = filled(self._args, {name: value for name, value in given.items() if self.plan.used(name, given)})
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
            with products_in(args):
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


def drop_checkpoints(out: Path, results: Sequence[Result], worker: str) -> None:
    """Delete the checkpoints of all trials but the best: nothing goes on from them, and they are large."""
    for result in results[1:]:
        if result.worker == worker:
            shutil.rmtree(out / f"trial-{result.place:03d}" / "checkpoints", ignore_errors=True)


# -- results ----------------------------------------------------------------------------------------


def report(results: Sequence[Result], trials: Trials, worker: str) -> None:
    """The table, its file, the picture, and the best trial with its command."""
    from rich.console import Console

    from gpunn.serialize import write_atomically
    from gpunn.sweep.table import as_csv, figures_text, left_out, settings_text, table

    # A terminal breaks lines that are too long for it; rich would leave out the ends of the numbers.
    console = Console(width=_WIDE, highlight=False)
    console.print(table(results, trials.names, trials.monitor))
    if left_out(results):
        print(f"... and {left_out(results)} more.")
    path = trials.out / "trials.csv"
    write_atomically(path, as_csv(results, trials.names))
    print(f"{path} has all of it{_picture(results, trials)}.")
    best = results[0] if results else None
    if best is None or best.value is None:
        print("No trial was trained to its end: there is no best one. Try lower learning rates.")
        return
    place = str(trials.folder(best.place)) if best.worker == worker else f"the sweep's folder on {best.host}"
    print(f"Best is trial {best.place}: {settings_text(best.settings)}: {figures_text(best.figures)}.")
    print(f"Its run is {'' if best.worker == worker else 'in '}{place}. To train it again:")
    print(f"gpunn {shlex.join(best.command)}")


def _picture(results: Sequence[Result], trials: Trials) -> str:
    """Draw it where matplotlib is installed; what to say of it."""
    from gpunn.plots.style import drawing, need_matplotlib, write

    try:
        need_matplotlib()
    except UsageError:
        return "; for a picture, pip install 'gpunn[plot]' and give the same command"
    from gpunn.plots.sweep import draw_sweep

    path = trials.out / "sweep.png"
    with drawing():
        write(draw_sweep(results, trials.plan.space, trials.monitor, trials.plan.minimize), path)
    return f", and {path} shows it"
