"""Measure which ways of computing are fastest on this GPU for a network, and take them from then on.

Products and convolutions can be cut into tiles and slices in several ways. Rules choose one by shapes alone, on all
cards the same. This runs a forward and a backward pass of training, times every way of each launch as a CUDA graph, and
keeps the fastest, where it gains 3 %, in a file for this kind of card. Later programs read it: ~/.cache/gpunn/tuned, or
the folder that GPUNN_TUNED names; GPUNN_TUNED=0 leaves all to the rules. Other slices of a sum are other last bits.
With --predict nothing is run or kept: the cost model says what it would choose on a card (see gpunn explain --predict).
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpunn.cli.arguments import whole
from gpunn.cli.models import MODEL_HELP
from gpunn.cli.precision import add_precision_arguments, products_in
from gpunn.cli.summary import lengths, model_and_shape
from gpunn.errors import DeviceError, UsageError
from gpunn.gpu.conv2d_winograd import WINOGRAD
from gpunn.gpu.gemm import APART, SHARED

if TYPE_CHECKING:
    from gpunn._device import Device
    from gpunn.bench.tune import Trial, Trials

_BATCH = 128


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("model", nargs="?", help=MODEL_HELP)
    add("--input", type=lengths, metavar="C,H,W", help="shape of one item (default: the named network's own)")
    add("--batch-size", type=whole(1), metavar="N", help=f"items a step (default: {_BATCH})")
    add_precision_arguments(add)
    add("--device", default="cuda", metavar="NAME", help="cuda (the default) or cuda:1")
    add("--predict", metavar="CARD", help="what the cost model would choose on T4, A100, RTX4090, H100, H200, ...")
    add("--clear", action="store_true", help="forget what was measured on this kind of card")


def run(args: argparse.Namespace) -> int:
    """Tune, predict or forget."""
    if args.clear:
        if args.model is not None or args.predict is not None:
            raise UsageError("tune: --clear goes without a model and --predict.")
        return _clear(_gpu(args.device))
    if args.model is None:
        raise UsageError("tune: expected a model, such as resnet20 or net.py:Net; see gpunn tune --help.")
    return _predict(args) if args.predict is not None else _measure(args)


def _gpu(name: str) -> Device:
    from gpunn._device import device

    home = device(name)
    if home.ordinal is None or home.loader is None:
        raise DeviceError(
            f"tune: device '{home}' is no GPU with kernels; expected cuda or cuda:1. Without one, --predict H200 says "
            "what the cost model would choose."
        )
    return home


def _file(home: Device) -> Any:
    from gpunn.gpu import choices

    if os.environ.get(choices.VARIABLE) == "0":
        raise UsageError(f"tune: {choices.VARIABLE}=0 leaves all choices to the rules. Unset it.")
    return choices.path_of(home)


def _clear(home: Device) -> int:
    path = _file(home)
    known = path.exists()
    path.unlink(missing_ok=True)
    print(f"removed {path}" if known else f"nothing was measured on this kind of card: there is no {path}")
    return 0


def _measure(args: argparse.Namespace) -> int:
    from gpunn import cuda
    from gpunn.bench.tune import Trials, timed, try_step
    from gpunn.gpu import choices

    home = _gpu(args.device)
    path = _file(home)
    model, shape, description = model_and_shape(args.model, args.input)
    batch = args.batch_size or _BATCH
    print(f"{args.model}: {description}; batch {batch}; {home} ({cuda.get_device_name(home)})", flush=True)
    trials = Trials(timed, lambda trial: print(_line(trial), flush=True))
    with _asked(args, home) as context:
        try_step(model, shape, batch, home, trials, context)
    table = {**choices.table_of(home), **trials.table()}
    choices.write(path, table)
    choices.use(home, table)
    print(_total(trials))
    print(f"kept in {path}: {len(table)} kinds of launches")
    return 0


def _predict(args: argparse.Namespace) -> int:
    from gpunn.bench.cards import card as find_card
    from gpunn.bench.explain import list_launches
    from gpunn.bench.machine_code import MachineCodeError
    from gpunn.bench.tune import Trials, predicted
    from gpunn.gpu.choices import tuned_by

    card = find_card(args.predict)
    model, shape, description = model_and_shape(args.model, args.input)
    batch = args.batch_size or _BATCH
    print(f"{args.model}: {description}; batch {batch}; predicted for {card.name}, nothing is measured or kept")
    if sys.stderr.isatty():
        print("reading machine code, which is compiled where it is new", file=sys.stderr, flush=True)
    trials = Trials(predicted(card), lambda trial: print(_line(trial), flush=True))
    try:
        with _asked(args, None) as context, tuned_by(trials), context:
            list_launches(model, shape, batch)
    except MachineCodeError as error:
        raise DeviceError(f"tune --predict: {error}") from error
    print(_total(trials))
    return 0


@contextlib.contextmanager
def _asked(args: argparse.Namespace, home: Device | None) -> Any:
    """With --precision set; the value is what --autocast asks for, to be entered around the forward pass."""
    import gpunn
    from gpunn import amp

    kind = "emulator" if home is None else home.type
    with products_in(args):
        yield contextlib.nullcontext() if args.autocast is None else amp.autocast(kind, getattr(gpunn, args.autocast))


def _line(trial: Trial) -> str:
    facts = " ".join(map(str, trial.facts))
    rule = f"{_way(trial, trial.rule)} {_us(trial.us[trial.rule])}"
    if trial.way == trial.rule:
        return f"  {trial.kernel} {facts}: {rule}, the best of {len(trial.us)}"
    return f"  {trial.kernel} {facts}: {_way(trial, trial.way)} {_us(trial.us[trial.way])} instead of {rule}"


def _way(trial: Trial, way: tuple[int, ...]) -> str:
    """In words: tile and slices, of which a launch of one slice has none to tell."""
    if way == APART:
        return "two launches"
    if len(way) == 2 and way[0] == WINOGRAD:
        return f"Winograd, {way[1]} MB"
    if trial.kernel in SHARED:
        return f"tile {way[0]}, slices {' and '.join(map(str, way[1:]))}"
    if "_tensor_" in trial.kernel:  # which has one tile
        return f"{way[0]} slice{'s' * (way[0] > 1)}"
    if len(way) == 1:
        return f"tile {way[0]}"
    *tile, slices = way
    return f"tile {'x'.join(map(str, tile))}" + f", {slices} slices" * (slices > 1)


def _us(value: float) -> str:
    return f"{value:.1f} µs" if math.isfinite(value) else "not known"


def _total(trials: Trials) -> str:
    other = sum(trial.way != trial.rule for trial in trials.found.values())
    return f"{len(trials.found)} kinds of launches; of {other} another way than the rule's is faster"
