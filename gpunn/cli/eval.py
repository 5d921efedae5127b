"""Test a trained network: loss and accuracy on the test images.

RUN is the folder that gpunn train --out wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gpunn.cli.arguments import one_of, whole
from gpunn.cli.datasets import add_data_arguments, open_part
from gpunn.cli.run import RUN_HELP, Run, add_trust_arguments
from gpunn.errors import shortened


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("run_folder", metavar="RUN", help=RUN_HELP)
    add_trust_arguments(add)
    add_data_arguments(add, default="what the run was trained on")
    add("--part", type=one_of(("test", "train")), default="test", metavar="NAME", help="test (the default) or train")
    add("--batch-size", type=whole(1), default=500, metavar="N", help="images at a time (default: 500)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:1, emulator, ... or auto (the default)")


def run(args: argparse.Namespace) -> int:
    """Rebuild the network, load its weights, and test it."""
    trained = Run(args.run_folder, args.model, args.trust)
    if args.data is None:
        args.data = trained.data_name
        args.data_dir = args.data_dir or trained.data_folder
        args.image_size = args.image_size or trained.image_size

    from gpunn._device import device

    home = device(args.device)
    dataset = open_part(args, args.part == "train", trained.statistics)
    trained.check_fits(dataset)
    model = trained.model().to(home)

    from gpunn.data import DataLoader
    from gpunn.train import evaluate

    result = evaluate(model, DataLoader(dataset, args.batch_size, device=home))
    print(
        f"{shortened(trained.name)} from {shortened(trained.folder, 4096)} (epoch {trained.epoch}) on "
        f"{shortened(args.data, 4096)}, {result.images:,} {args.part} "
        f"images, on {home}: loss {result.loss:.4f}, accuracy {result.accuracy_percent:.2f} %"
    )
    return 0
