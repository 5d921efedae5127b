"""Compare two devices layer by layer, forward and backward, and name the first layer that diverges.

Each layer is computed on both devices from the same random inputs and output gradients, those of the first device.
"forward" and "backward" are the largest differences by the size of the reference's numbers, "of tolerance" is their
share of what rounding explains, and "accumulated" is how far the outputs are apart where each device goes on with its
own numbers. The exit status is 1 if a layer diverges.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gpunn.cli.arguments import one_of, whole
from gpunn.cli.models import MODEL_HELP
from gpunn.cli.summary import lengths, model_and_shape


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", help=MODEL_HELP)
    add(
        "--devices",
        type=pair,
        default=("cpu", "emulator"),
        metavar="A,B",
        help="the reference and the one in question: cpu, cuda, cuda:1, cuda-plain, emulator (default: cpu,emulator)",
    )
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")
    add("--batch-size", type=whole(1), default=2, metavar="N", help="items of the batch (default: 2)")
    add("--seed", type=whole(0, None), default=0, metavar="N", help="of weights and numbers (default: 0)")
    add("--dtype", type=one_of(("float32", "float64")), default="float32", metavar="TYPE", help="float32 or float64")
    add("--eval", action="store_true", help="compare in evaluation mode: no dropout, batch norm as it was trained")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    import numpy as np

    import gpunn
    from gpunn._device import device
    from gpunn.errors import UsageError
    from gpunn.nn.summary import shape_text
    from gpunn.tape import no_grad

    for name in args.devices:
        device(name)
    gpunn.manual_seed(args.seed)
    model, shape, description = model_and_shape(args.model, args.input)
    model = model.to(args.dtype)
    rng = np.random.Generator(np.random.Philox(args.seed))
    x = gpunn.tensor(rng.standard_normal((args.batch_size, *shape), args.dtype))
    with no_grad():
        scores = model.eval()(x[:1])
    model.train(not args.eval)
    if scores is None:
        raise UsageError(f"{args.model}: expected a network that returns tensors; got NoneType.")
    target = None  # then the gradient is random
    if isinstance(scores, gpunn.Tensor) and scores.ndim == 2 and scores.shape[1] > 1:
        target = gpunn.tensor(rng.integers(0, scores.shape[1], args.batch_size))
    report = gpunn.lockstep(model, (x, target), args.devices, seed=args.seed)
    print(f"{args.model}: {description}; input {shape_text(shape)}, batch {args.batch_size}, {args.dtype}")
    print(report)
    return int(not report.agrees)


def pair(text: str) -> tuple[str, str]:
    """Two names with a comma between them."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise argparse.ArgumentTypeError(f"expected two devices such as cpu,emulator; got {text[:60]!r}")
    return names[0], names[1]
