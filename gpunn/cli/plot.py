"""Draw pictures of runs: curves of one or several, a confusion matrix, a sheet of misclassified images.

RUN is a folder that gpunn train wrote, or for curves its metrics.jsonl. Curves are drawn from what was recorded; the
other two run the network on the test images, as gpunn eval does. A picture is written to RUN (of several runs: to the
current folder) or to --out; its name ends in .png, .svg or .pdf. Needs matplotlib: pip install 'gpunn[plot]'.

metrics.jsonl has a line for each epoch, a JSON object:
  epoch, step                   whole numbers: epochs and steps done so far
  train_loss, test_loss         mean loss per image: in training before each batch's step, after the epoch on the
                                test images; null where there is no test, or the number is not finite
  train_accuracy_percent, test_accuracy_percent   0 to 100
  images_per_second, seconds    training images a second; the whole epoch, with its test
  lr                            learning rate of the optimiser's first group at the end of the epoch
  gradient_norms                an object: by layer the L2 norm of its parameters' gradient in the last step, or null
  skipped                       steps that changed nothing, as their loss or gradient was not finite
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.cli.arguments import one_of, whole
from gpunn.cli.datasets import add_data_arguments, open_part
from gpunn.cli.run import Run, add_trust_arguments
from gpunn.errors import UsageError, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("curves", "confusion", "mistakes")
# Options that curves do not need.
_OF_NETWORKS = ("model", "trust", "data", "data_dir", "image_size", "max_pixels", "download")


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("runs", nargs="+", metavar="RUN", help="a folder that gpunn train wrote; for curves up to 12")
    add(
        "--kind",
        type=one_of(KINDS),
        default="curves",
        metavar="NAME",
        help="curves (the default: loss, accuracy, learning rate, gradient norms), confusion or mistakes",
    )
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="a file that ends in .png, .svg or .pdf (default: RUN/curves.png or the like)",
    )
    add_trust_arguments(add)
    add_data_arguments(add, default="what the run was trained on")
    add("--part", type=one_of(("test", "train")), default="test", metavar="NAME", help="test (the default) or train")
    add("--batch-size", type=whole(1), default=500, metavar="N", help="images at a time (default: 500)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, emulator, ... or auto (the default)")


def run(args: argparse.Namespace) -> int:
    """Draw and write one picture."""
    from gpunn.plots.style import check_suffix, drawing, need_matplotlib, write

    need_matplotlib()
    if args.kind == "curves":
        given = [name for name in _OF_NETWORKS if getattr(args, name)]
        if given:
            flag = f"--{given[0].replace('_', '-')}"
            raise UsageError(f"{flag}: it is for --kind confusion and --kind mistakes; curves are drawn as recorded.")
    elif len(args.runs) > 1:
        raise UsageError(f"--kind {args.kind}: expected one run; got {len(args.runs)}.")
    out = args.out or _default_path(args.runs, args.kind)
    check_suffix(out)
    with drawing():
        figure = _curves(args.runs) if args.kind == "curves" else _of_network(args)
        if figure is None:
            return 0
        write(figure, out)
    print(f"{out} shows {'the curves of ' * (args.kind == 'curves')}{_what(args)}.")
    return 0


def _default_path(runs: list[str], kind: str) -> Path:
    folder = Path(runs[0]) if len(runs) == 1 else Path()
    return (folder if folder.is_dir() else folder.parent) / f"{kind}.png"


def _what(args: argparse.Namespace) -> str:
    if args.kind == "curves":
        return shortened(args.runs[0], 200) if len(args.runs) == 1 else f"{len(args.runs)} runs"
    return f"the {'confusion matrix' if args.kind == 'confusion' else 'mistakes'} of {shortened(args.runs[0], 200)}"


def _curves(folders: list[str]) -> Figure:
    from gpunn.plots.curves import draw_curves
    from gpunn.plots.style import run_names
    from gpunn.train.metrics import read_metrics

    found = [read_metrics(folder) for folder in folders]
    for metrics in found:
        for note in metrics.notes:
            print(f"gpunn: note: {metrics.path}: {note}", file=sys.stderr)
    return draw_curves(list(zip(run_names(list(folders)), found, strict=True)))


def _of_network(args: argparse.Namespace) -> Figure | None:
    """The picture of a network's answers; None, with a word of it, if there is nothing to draw."""
    trained = Run(args.runs[0], args.model, args.trust)
    if args.data is None:
        args.data = trained.data_name
        args.data_dir = args.data_dir or trained.data_folder
        args.image_size = args.image_size or trained.image_size

    from gpunn._device import device
    from gpunn.plots.confusion import MOST_CLASSES, draw_confusion
    from gpunn.plots.mistakes import caption, draw_mistakes, most_shown, pixels_of
    from gpunn.plots.predictions import predict
    from gpunn.plots.style import run_names

    if args.kind == "confusion" and len(trained.classes) > MOST_CLASSES:
        raise UsageError(
            f"--kind confusion: expected at most {MOST_CLASSES:,} classes in a matrix; the run has "
            f"{len(trained.classes):,}."
        )
    home = device(args.device)
    dataset = open_part(args, args.part == "train", trained.statistics)
    trained.check_fits(dataset)
    answers = predict(trained.model().to(home), dataset, len(trained.classes), home, args.batch_size)
    (name,) = run_names(args.runs)
    what = f"{name} (epoch {trained.epoch}), {args.part} images of {Path(args.data).name}"
    if args.kind == "confusion":
        return draw_confusion(answers.confusion(len(trained.classes)), trained.classes, what)
    wrong = answers.mistakes()
    if not len(wrong):
        print(f"all {len(dataset):,} {args.part} images are classified correctly: there is nothing to draw.")
        return None

    def captions(numbers: Any) -> list[tuple[str, str]]:
        rows = zip(answers.labels[numbers], answers.predicted[numbers], answers.probability[numbers], strict=True)
        return [caption(trained.classes[true], trained.classes[said], float(sure)) for true, said, sure in rows]

    shown = wrong[: most_shown(captions(wrong[:40]))]
    which = (
        f"{len(shown)} of {len(wrong):,}"
        if len(shown) < len(wrong)
        else f"all {len(wrong)}"
        if len(wrong) > 1
        else "the only"
    )
    title = f"{which} mistake{'s' * (len(wrong) > 1)} among {len(dataset):,}: {what}"
    return draw_mistakes(pixels_of(dataset, shown), captions(shown), title)
