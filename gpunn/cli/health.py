"""Examine a network's layers: gradients that vanish or explode, dead units, saturated activations.

NETWORK is a folder that gpunn train wrote, or a network as for gpunn train, which is examined before any training.
Some images go forward and backward, and nothing is changed. Columns: mean and standard deviation of each layer's
outputs; the share of outputs that are 0, of units that do nothing for any image, and of outputs at which the activation
is nearly flat; the L2 norm of the loss's gradient at the output, and as a multiple of the last layer's; the norm of
the layer's weights, and that of their gradient as a share of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn.cli.arguments import one_of, whole
from gpunn.cli.datasets import add_data_arguments, open_data, open_part
from gpunn.cli.models import resolve
from gpunn.cli.run import Run, add_trust_arguments
from gpunn.cli.watching import sample
from gpunn.errors import UsageError, shortened


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add(
        "network", metavar="NETWORK", help="a folder that gpunn train wrote, or a network such as lenet5 or file.py:Net"
    )
    add_trust_arguments(add)
    add_data_arguments(add, default="what the run was trained on; for a network without a run digits")
    add("--part", type=one_of(("test", "train")), default="train", metavar="NAME", help="train (the default) or test")
    add("--images", type=whole(1), default=200, metavar="N", help="how many to look at (default: 200)")
    add("--batch-size", type=whole(1), default=100, metavar="N", help="images at a time (default: 100)")
    add("--seed", type=whole(0), default=0, metavar="N", help="of the weights of a network without a run (default: 0)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, emulator, ... or auto (the default)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from gpunn._device import device

    home = device(args.device)
    model, dataset, what = _of_run(args) if Path(args.network).is_dir() else _of_name(args)

    from gpunn.train import layer_health

    batches = sample(dataset, args.batch_size, args.images)
    report = layer_health(model.to(home), batches, max_batches=len(batches))
    print(f"{what}, {report.images} {args.part} images, on {home}: loss {report.loss:.4f}")
    print(report)
    return 0


def _of_run(args: argparse.Namespace) -> tuple[Any, Any, str]:
    trained = Run(args.network, args.model, args.trust)
    if args.data is None:
        args.data = trained.data_name
        args.data_dir = args.data_dir or trained.data_folder
        args.image_size = args.image_size or trained.image_size
    dataset = open_part(args, args.part == "train", trained.statistics)
    trained.check_fits(dataset)
    return trained.model(), dataset, f"{shortened(trained.name)} from {shortened(trained.folder, 4096)}"


def _of_name(args: argparse.Namespace) -> tuple[Any, Any, str]:
    from gpunn.random import manual_seed

    if args.model is not None or args.trust:
        flag = "--trust" if args.trust else "--model"
        raise UsageError(f"{flag}: it is for a run's folder; {shortened(args.network)} is none.")
    entry = resolve(args.network)
    args.data = args.data or "digits"
    train_set, test_set = open_data(args)
    manual_seed(args.seed)
    model = entry.build(train_set.input_shape, len(train_set.classes))
    dataset = train_set if args.part == "train" else test_set
    return model, dataset, f"{shortened(args.network)}, untrained"
