"""Write a network as an ONNX file, which onnxruntime and others run without gpunn.

SOURCE is a folder that gpunn train wrote, a network's name, whose weights are then freshly drawn or those of --weights,
or file.py:Net. The batch may have any size. Where onnxruntime is installed, the file is run in it, and its outputs are
compared with gpunn's. Needs the package onnx: pip install 'gpunn[onnx]'.

The file of a run takes images as the network does, standardised: its metadata has mean and std (of pixels from 0 to 1,
by channel), classes, and the run's name of the network.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.cli.arguments import whole
from gpunn.cli.models import MODEL_HELP
from gpunn.cli.run import Run, add_trust_arguments
from gpunn.cli.summary import lengths, model_and_shape
from gpunn.errors import GpunnError, UsageError, quoted, shortened

# Both add the terms of the same sums in other orders: relative to the largest output. A wrong graph is off by far more.
_TOLERANCE = 1e-4
_EXAMPLES = 3  # images that both run; another number than the export's


def add_arguments(add: Callable[..., Any]) -> None:
    """Declare the command's arguments."""
    add("source", metavar="RUN|NAME", help=f"a folder that gpunn train wrote, or {MODEL_HELP}")
    add("target", type=Path, metavar="OUT.onnx", help="the file to write")
    add_trust_arguments(add)
    add("--input", type=lengths, metavar="C,H,W", help="of a network by name: shape of one item (default: its own)")
    add("--classes", type=whole(1), metavar="N", help="of a network by name: how many (default: its own, 1000 or 10)")
    add("--weights", type=Path, metavar="FILE", help="of a network by name: .safetensors, .npz or PyTorch's .pt")
    add("--opset", type=whole(1), metavar="N", help="version of ONNX's operators (default: 18)")
    add("--overwrite", action="store_true", help="replace OUT.onnx if it exists")


def run(args: argparse.Namespace) -> int:
    """Export, compare, and say what was written."""
    from gpunn.onnx._export import LEAST_OPSET, export, need_onnx

    need_onnx("export")
    target: Path = args.target
    if target.suffix != ".onnx":
        raise UsageError(f"export: expected a file named .onnx; got {quoted(str(target), 200)}.")
    if target.exists() and not args.overwrite:
        raise UsageError(f"export: {shortened(target, 200)} exists. Give another name, or --overwrite.")
    model, shape, about = _model(args)
    example = np.random.Generator(np.random.Philox(0)).standard_normal((_EXAMPLES, *shape)).astype(np.float32)
    opset = LEAST_OPSET if args.opset is None else args.opset
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["scores"]}
    export(model, example[:1], target, **names, opset_version=opset, metadata=about)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    size, axes = target.stat().st_size / 1e6, ", ".join(map(str, shape))
    print(f"{target}: {about['network']}, images (batch, {axes}), {numbers:,} parameters, {size:,.1f} MB")
    print(_compared(model, example, target))
    return 0


def _model(args: argparse.Namespace) -> tuple[Any, tuple[int, ...], dict[str, str]]:
    """The network, the shape of one item, and what the file says about it."""
    by_name = {f"--{name}": getattr(args, name) for name in ("input", "classes", "weights")}
    given = [flag for flag, value in by_name.items() if value is not None]
    if not Path(args.source).is_dir():
        if args.model is not None or args.trust:
            raise UsageError(
                f"--model and --trust: they are for runs; no folder is called {shortened(args.source, 200)}."
            )
        model, shape, _ = model_and_shape(args.source, args.input, args.classes)
        if args.weights is not None:
            from gpunn.cli.convert import SUFFIXES, read_weights

            if args.weights.suffix not in SUFFIXES:
                raise UsageError(
                    f"--weights: expected a file named {', '.join(SUFFIXES)}; got {quoted(str(args.weights), 200)}."
                )
            model.load_state_dict(read_weights(args.weights, None))
        return model, shape, {"network": args.source}
    if given:
        raise UsageError(f"{given[0]}: it is for networks by name; {shortened(args.source, 200)} is a run's folder.")
    trained = Run(args.source, args.model, args.trust)
    mean, std = trained.statistics
    about = {
        "network": shortened(trained.name, 200),
        "classes": json.dumps(trained.classes),
        "mean": json.dumps(np.asarray(mean, float).reshape(-1).tolist()),
        "std": json.dumps(np.asarray(std, float).reshape(-1).tolist()),
    }
    return trained.model(), trained.input_shape, about


def _compared(model: Any, example: np.ndarray, target: Path) -> str:
    """What a run of the file in onnxruntime says."""
    try:
        import onnxruntime
    except ImportError:
        return "not run: with onnxruntime installed (pip install onnxruntime) this command would compare the outputs."
    from gpunn._creation import tensor
    from gpunn.tape import no_grad

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": example})
    with no_grad():
        expected = model.eval()(tensor(example)).numpy()
    largest = float(np.abs(expected).max()) or 1.0
    apart = float(np.abs(found - expected).max()) / largest
    if not apart <= _TOLERANCE:
        raise GpunnError(
            f"export: {shortened(target, 200)}: onnxruntime's outputs differ from gpunn's by {apart:.1e} of the "
            f"largest; expected at most {_TOLERANCE:.0e}. Please report this network."
        )
    return f"onnxruntime gives the same scores for {len(example)} images: they differ by {apart:.1e} of the largest."
