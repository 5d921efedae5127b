"""The file: inputs, outputs, weights and nodes as protobuf, checked; large weights lie beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._version import __version__
from gpunn.errors import UsageError, quoted
from gpunn.onnx._graph import Axis, Graph, Size, dtype_code
from gpunn.serialize import write_together

_MOST_BYTES = 2_000_000_000  # what a file of protobuf holds, with room for the graph
_ALIGNMENT = 4096  # of weights in a file of their own, so that a runtime can map them into memory


def saved(
    onnx: Any,
    title: str,
    graph: Graph,
    examples: Mapping[str, np.ndarray],
    axes: Sequence[Axis],
    outputs: Sequence[Any],
    output_names: Sequence[str] | None,
    f: str | os.PathLike[str] | None,
    external: bool | None,
    metadata: Mapping[str, str],
) -> Any:
    """The model as protobuf, written to ``f`` if that is given; see :func:`gpunn.onnx.export`."""
    helper = onnx.helper
    names = _output_names(graph, outputs, output_names)
    inputs = []
    for name, array in examples.items():
        shape: list[Any] = list(array.shape)
        for axis in axes:
            if axis.input == name:
                shape[axis.number] = axis.name
        inputs.append(helper.make_tensor_value_info(name, dtype_code(array.dtype), shape))
    results = [
        helper.make_tensor_value_info(
            name, dtype_code(value.dtype), [(n.text or None) if isinstance(n, Size) else n for n in value.shape]
        )
        for name, value in zip(names, outputs, strict=True)
    ]
    nodes, used = _live(graph, set(names))
    weights = {name: np.asarray(values, order="C") for name, values in graph.weights.items() if name in used}
    total = sum(values.nbytes for values in weights.values())
    apart = total > _MOST_BYTES if external is None else external
    if apart and f is None:
        raise UsageError(f"onnx.export: {total / 1e9:.1f} GB of weights need a file beside the model's: give f.")
    path = None if f is None else Path(f)
    location = f"{path.name}.data" if apart and path is not None else ""
    tensors, chunks = _tensors(onnx, weights, location)
    made = helper.make_graph(nodes, title, inputs, results, tensors)
    opsets = [helper.make_opsetid("", graph.opset)]
    # The oldest form of file that has these operators: runtimes refuse those that are newer than they are.
    version = helper.find_min_ir_version_for(opsets)
    proto = helper.make_model(
        made, opset_imports=opsets, producer_name="gpunn", producer_version=__version__, ir_version=version
    )
    for key, text in metadata.items():
        proto.metadata_props.add(key=str(key), value=str(text))
    if not apart:
        onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        files: dict[Any, list[bytes | memoryview]] = {path: [proto.SerializeToString()]}
        if apart:
            files[path.with_name(location)] = chunks
        write_together(files)
        if apart:  # the checker reads both files
            onnx.checker.check_model(str(path), full_check=False)
    return proto


def _output_names(graph: Graph, outputs: Sequence[Any], wanted: Sequence[str] | None) -> list[str]:
    """Give the outputs their names."""
    count = len(outputs)
    if wanted is not None and (isinstance(wanted, str) or len(wanted) != count or len({*wanted}) != count):
        raise UsageError(f"onnx.export: output_names: expected {count} different ones; got {quoted(list(wanted))}.")
    names = list(wanted) if wanted is not None else ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
    for name in names:
        if name in graph.names.values():
            raise UsageError(f"onnx.export: output_names: {name!r} is the name of an input: expected another one.")
    for name, value in zip(names, outputs, strict=True):
        graph.nodes.append(_identity(value.name, name))
    return names


def _identity(source: str, target: str) -> Any:
    from onnx import helper

    return helper.make_node("Identity", [source], [target], f"/{target}")


def _live(graph: Graph, wanted: set[str]) -> tuple[list[Any], set[str]]:
    """The nodes that the outputs need, in order, and all names that these read."""
    kept = []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1], wanted


def _tensors(onnx: Any, weights: Mapping[str, np.ndarray], location: str) -> tuple[list[Any], list[Any]]:
    """The weights for the graph; with a ``location`` only where they are there, and what that file has to hold."""
    if not location:
        return [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()], []
    tensors: list[Any] = []
    chunks: list[Any] = []
    place = 0
    for name, values in weights.items():
        gap = -place % _ALIGNMENT
        tensor = onnx.TensorProto(
            name=name,
            dims=values.shape,
            data_type=dtype_code(values.dtype),
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in (("location", location), ("offset", place + gap), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
        chunks += [bytes(gap), values.reshape(-1).view(np.uint8).data]
        place += gap + values.nbytes
    return tensors, chunks
