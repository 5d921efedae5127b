"""Classify images with a trained network: classes with probabilities.

Images are converted to grey or RGB, resized to the network's input, and standardised like its training
images. Digits and MNIST are bright on dark; --invert is for dark ink on paper.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.cli.arguments import whole
from gpunn.cli.run import RUN_HELP, Run, add_trust_arguments
from gpunn.errors import UsageError, shortened


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("images", nargs="+", type=Path, metavar="IMAGE", help="BMP, JPEG, PNG, PPM, TIFF or WebP")
    add("--run", dest="run_folder", required=True, metavar="RUN", help=RUN_HELP)
    add_trust_arguments(add)
    add("--top", type=whole(1), default=3, metavar="N", help="how many classes to show (default: 3)")
    add(
        "--max-pixels",
        type=whole(1),
        metavar="N",
        help="refuse larger images (default: about 1.9 million, and 5 for every 4 bytes of the file)",
    )
    add("--invert", action="store_true", help="exchange bright and dark first")
    add("--device", default="cpu", metavar="NAME", help="cpu (the default), cuda, emulator, ...")


def run(args: argparse.Namespace) -> int:
    """One line per image."""
    trained = Run(args.run_folder, args.model, args.trust)

    from gpunn._creation import tensor
    from gpunn._device import device
    from gpunn.data.image import read_image
    from gpunn.nn.functional import softmax
    from gpunn.tape import no_grad

    home = device(args.device)
    channels, height, width = trained.input_shape
    if channels not in (1, 3):
        raise UsageError(
            f"{shortened(trained.folder, 200)}: its network takes images of {channels} channels; image files "
            "give 1 or 3."
        )
    pictures = [read_image(path, channels, (height, width), args.max_pixels) for path in args.images]
    model = trained.model().to(home).eval()
    for path, picture in zip(args.images, pictures, strict=True):
        x = trained.standardise(255 - picture if args.invert else picture)
        with no_grad():
            probabilities = softmax(model(tensor(x[None], device=home)), 1).numpy()[0]
        best = np.argsort(-probabilities, kind="stable")[: args.top]
        shown = ", ".join(f"{shortened(trained.classes[i])} {100 * probabilities[i]:.1f} %" for i in best)
        print(f"{shortened(path, 4096)}: {shown}")
    return 0
