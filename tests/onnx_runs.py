"""Exporting a model and running the file in onnxruntime, for comparison with gpunn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gpunn
from gpunn import nn
from gpunn.onnx._trace import flat

# Two libraries add the terms of the same sums in other orders, and have their own exp and erf: in float32, relative to
# the largest output. A wrong formula is off by far more.
TOLERANCE = 1e-4


class Applied(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def run(proto: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of an exported model in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; of warnings there are some about folding
    options.intra_op_num_threads = 1
    text = proto if isinstance(proto, str) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def compare(model: nn.Module, example: Sequence[np.ndarray], batch: Sequence[np.ndarray], **options: Any) -> Any:
    """Export ``model`` from an example, and see that onnxruntime gives its outputs for another batch."""
    proto = gpunn.onnx.export(model, tuple(map(gpunn.tensor, example)), **options)
    with gpunn.no_grad():
        outputs = flat(model.eval()(*map(gpunn.tensor, batch)))
    expected = [output.numpy() for output in outputs if isinstance(output, gpunn.Tensor)]
    for mine, theirs in zip(expected, run(proto, batch), strict=True):
        assert theirs.dtype == mine.dtype
        assert theirs.shape == mine.shape
        finite = np.isfinite(mine)
        np.testing.assert_array_equal(theirs[~finite], mine[~finite])
        largest = np.abs(mine[finite].astype(float)).max(initial=0)
        bound = TOLERANCE * largest if mine.dtype.kind == "f" else 0
        assert np.abs(theirs[finite].astype(float) - mine[finite]).max(initial=0) <= bound
    return proto
