"""Writing a model as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._interop import is_array, tensor_of
from gpunn._tensor import Tensor, upload
from gpunn.errors import UsageError, quoted
from gpunn.nn._moving import home_of
from gpunn.nn.module import Module
from gpunn.onnx import _arithmetic, _convolution, _layers, _recurrent, _reductions, _shapes, _volumes
from gpunn.onnx._file import saved
from gpunn.onnx._graph import Axis, Graph
from gpunn.onnx._table import LOWERINGS, OPS, Arguments, Made
from gpunn.onnx._trace import Noted, Trace, flat, watched
from gpunn.tape import no_grad

# Their import fills the table.
FAMILIES = (_arithmetic, _convolution, _layers, _recurrent, _reductions, _shapes, _volumes)
LEAST_OPSET = 18  # from it on reductions, Pad and Split take what is used here
_BATCHES = (2, 5)  # their halves, thirds and remainders differ in kind, so no such number is taken for a fixed one

DynamicAxes = Mapping[str, Mapping[int, str] | Sequence[int]]


def export(
    model: Module,
    args: Any,
    f: str | os.PathLike[str] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int = LEAST_OPSET,
    dynamic_axes: DynamicAxes | None = None,
    external_data: bool | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Any:
    """Write what a model computes in evaluation mode as an ONNX file.

    The model runs twice on the example, with batches of different sizes and values, and the ops that it calls are
    written down. What is the same in both runs is fixed in the file, and loops are unrolled. What differs and is not
    computed by ops (a branch of Python, a number read from a tensor, a random mask) is refused; a branch that goes the
    same way in both runs is written as it went. Weights have the names of the ``state_dict``.

    Parameters
    ----------
    model : Module
        On any device and in any mode; it is left as it is.
    args : Tensor, array, or tuple
        An example of the arguments of ``forward``. Only shapes and dtypes matter, and that integers are valid.
    f : path-like, optional
        The file; without one nothing is written.
    kwargs : mapping, optional
        Arguments of ``forward`` by name, likewise.
    input_names, output_names : sequence of str, optional
        Names in the file. If not given: those of forward's parameters; "output", or "output_0" and so on.
    opset_version : int
        Version of ONNX's operators, 18 or later.
    dynamic_axes : mapping of str to mapping or sequence, optional
        For inputs by name: which axes may have any length, as ``{axis: name}`` or a list. If not given, axis 0 of all
        inputs, named "batch"; ``{}`` for none.
    external_data : bool, optional
        Whether weights go into a second file, ``f`` with ".data" behind it. If not given, where one file cannot hold
        them: from 2 GB on.
    metadata : mapping of str to str, optional
        Kept in the file as ``metadata_props``.

    Returns
    -------
    onnx.ModelProto
        The model as written.

    Raises
    ------
    UsageError
        If the package onnx is missing, an argument is invalid, or the model does something that ONNX cannot say; the
        message names the layer.
    DataError
        If the file cannot be written.

    Notes
    -----
    The counterpart of ``torch.onnx.export``, whose axes are all fixed unless named.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> gpunn.onnx.export(model, gpunn.zeros(1, 4), "model.onnx")  # doctest: +SKIP
    """
    onnx = need_onnx("onnx.export")
    if not isinstance(model, Module):
        raise UsageError(f"onnx.export: model: expected a gpunn.nn.Module; got {type(model).__name__}.")
    newest = int(onnx.defs.onnx_opset_version())
    if type(opset_version) is not int or not LEAST_OPSET <= opset_version <= newest:
        raise UsageError(
            f"onnx.export: opset_version: expected {LEAST_OPSET} to {newest}, which the installed onnx knows; got "
            f"{opset_version!r}."
        )
    if external_data and f is None:
        raise UsageError("onnx.export: external_data: expected a file, f, beside which the weights go; got none.")
    example = _Example(model, args, kwargs or {}, input_names)
    axes = _dynamic(example.inputs, dynamic_axes, output_names or ())
    first, second = _traces(model, example, axes)
    graph, outputs = _written(model, first, second, axes, opset_version, list(example.inputs))
    file = (f, external_data, metadata or {})
    return saved(onnx, type(model).__name__, graph, example.inputs, axes, outputs, output_names, *file)


def need_onnx(op: str) -> Any:
    """The package onnx.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.defs
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise UsageError(f"{op}: it needs the package onnx ({error}): pip install 'gpunn[onnx]'.") from error
    return onnx


# -- the example --------------------------------------------------------------------------------------


class _Example:
    """Arguments of forward: which are inputs, under which names, and on which device the model wants them."""

    def __init__(self, model: Module, args: Any, kwargs: Mapping[str, Any], names: Sequence[str] | None) -> None:
        self._args = args if isinstance(args, tuple) else (args,)
        self._kwargs = dict(kwargs)
        self.home = home_of(model.parameters(), model.buffers())
        own = _parameter_names(model, len(self._args))
        places: list[tuple[Any, str]] = [(i, own[i]) for i in range(len(self._args))]
        places += [(key, key) for key in self._kwargs]
        self._places = [(place, name) for place, name in places if _is_input(self._at(place))]
        if not self._places:
            raise UsageError("onnx.export: args: expected at least one tensor or array among the example's arguments.")
        if names is not None:
            if isinstance(names, str) or len(names) != len(self._places) or len({*names}) != len(names):
                raise UsageError(
                    f"onnx.export: input_names: expected {len(self._places)} different ones; got {quoted(list(names))}."
                )
            self._places = [(place, name) for (place, _), name in zip(self._places, names, strict=True)]
        self.inputs = {name: _values(self._at(place)) for place, name in self._places}

    def _at(self, place: Any) -> Any:
        return self._args[place] if isinstance(place, int) else self._kwargs[place]

    def filled(self, arrays: Mapping[str, np.ndarray]) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Tensor]]:
        """The arguments with these arrays as inputs, and the tensors among them by name."""
        args, kwargs, tensors = list(self._args), dict(self._kwargs), {}
        for place, name in self._places:
            device = self.home or _device_of(self._at(place))
            tensors[name] = tensor = Tensor(upload(arrays[name], device), device)
            if isinstance(place, int):
                args[place] = tensor
            else:
                kwargs[place] = tensor
        return tuple(args), kwargs, tensors


def _is_input(value: Any) -> bool:
    return isinstance(value, Tensor) or is_array(value)


def _device_of(value: Any) -> Device:
    return value.device if isinstance(value, Tensor) else get_device("cpu")


def _values(value: Any) -> np.ndarray:
    tensor = value if isinstance(value, Tensor) else tensor_of("onnx.export", value)
    return np.array(tensor._numpy_without_tape())


def _parameter_names(model: Module, count: int) -> list[str]:
    """Names for the first ``count`` arguments of forward."""
    code = type(model).forward.__code__ if hasattr(type(model).forward, "__code__") else None
    own = list(code.co_varnames[1 : code.co_argcount]) if code is not None else []
    return [own[i] if i < len(own) else f"input_{i}" for i in range(count)]


# -- dynamic axes -------------------------------------------------------------------------------------


def _dynamic(inputs: Mapping[str, np.ndarray], given: DynamicAxes | None, outputs: Sequence[str]) -> list[Axis]:
    """The dynamic axes of all inputs, with the lengths that they have in both traces."""
    if given is None:
        lengths = {array.shape[0] for array in inputs.values() if array.ndim}
        if len(lengths) > 1 or not all(array.ndim for array in inputs.values()):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise UsageError(
                f"onnx.export: expected inputs whose first axis is the batch, of one length; got {shapes}. Name the "
                "axes that may have any length: dynamic_axes={'x': {0: 'batch'}}."
            )
        given = {name: {0: "batch"} for name in inputs}
    axes: list[Axis] = []
    chosen: dict[str, tuple[int, int]] = {}
    for name, wanted in given.items():
        if name not in inputs:
            if name in outputs or name.startswith("output"):
                continue  # as in PyTorch's calls; a result's are known
            raise UsageError(f"onnx.export: dynamic_axes: expected names out of {', '.join(inputs)}; got {name!r}.")
        pairs = wanted.items() if isinstance(wanted, Mapping) else ((axis, f"{name}_{axis}") for axis in wanted)
        shape = inputs[name].shape
        for number, label in pairs:
            if type(number) is not int or not -len(shape) <= number < len(shape):
                raise UsageError(
                    f"onnx.export: dynamic_axes: {name!r}: expected axes of shape {shape}; got {number!r}."
                )
            axis = number % len(shape)
            if label not in chosen:
                chosen[label] = _lengths(axis, shape[axis], len(chosen))
            axes.append(Axis(label, name, axis, chosen[label]))
    return axes


def _lengths(axis: int, example: int, before: int) -> tuple[int, int]:
    """Two lengths of an axis; for each further one the second grows by another factor, which tells them apart."""
    if axis == 0 or example < 2:
        return _BATCHES[0] + before, _BATCHES[1] * (before + 1) + before
    return example, example * (before + 2)


def _resized(array: np.ndarray, name: str, axes: Sequence[Axis], trace: int) -> np.ndarray:
    """The example's array with the lengths of a trace, by repetition; in the second trace with other values."""
    for axis in axes:
        if axis.input == name:
            places = np.arange(axis.lengths[trace]) % max(array.shape[axis.number], 1)
            array = np.take(array, places, axis.number)
    if trace and array.size:
        if array.dtype.kind == "f":
            factors = np.random.Generator(np.random.Philox(0)).uniform(0.5, 1, array.shape)
            return (array * factors + 0.01).astype(array.dtype)
        return np.roll(array.reshape(-1), 1).reshape(array.shape)
    return array


# -- two traces -----------------------------------------------------------------------------------------


def _traces(model: Module, example: _Example, axes: Sequence[Axis]) -> tuple[Trace, Trace]:
    training = [(module, module.training) for module in model.modules() if module.training]
    known = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    traces = []
    model.eval()
    try:
        for number in (0, 1):
            arrays = {name: _resized(array, name, axes, number) for name, array in example.inputs.items()}
            args, kwargs, tensors = example.filled(arrays)

            def forward(args: Any = args, kwargs: Any = kwargs) -> Any:
                with no_grad():
                    return model(*args, **kwargs)

            traces.append(watched(model, tensors, forward, OPS, known))
    finally:
        for module, mode in training:
            module.training = mode
    for trace in traces:
        if trace.refused:
            raise UsageError(f"onnx.export: {trace.refused}.")
    return traces[0], traces[1]


def _state(model: Module) -> dict[int, tuple[str, np.ndarray]]:
    """Parameters and buffers by id, with their names and values."""
    found: dict[int, tuple[str, np.ndarray]] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found.setdefault(id(tensor), (name, tensor._numpy_without_tape()))
    return found


def _written(
    model: Module, first: Trace, second: Trace, axes: Sequence[Axis], opset: int, inputs: Sequence[str]
) -> tuple[Graph, list[Any]]:
    """The graph, and the outputs as (name, shape, dtype)."""
    graph = Graph(_state(model), _distinct(axes), opset)
    for number, name in enumerate(inputs):
        graph.names[number] = name
    graph.take(inputs)
    if [call.op for call in first.calls] != [call.op for call in second.calls]:
        here = next(
            (a for a, b in zip(first.calls, second.calls, strict=False) if a.op != b.op),
            (first.calls or second.calls)[-1],
        )
        raise UsageError(
            f"onnx.export: {here.place}: from {here.op} on the model calls other ops for other values or lengths of "
            "its inputs. Expected always the same ones: compute choices with where(), and leave axes with loops over "
            "them out of dynamic_axes."
        )
    results = [[one for one in flat(trace.outputs) if isinstance(one, Noted)] for trace in (first, second)]
    if not results[0] or len(results[0]) != len(results[1]):
        raise UsageError("onnx.export: expected a model that returns tensors, always as many.")
    if any(one.number is None for one in results[0]):
        raise UsageError(
            "onnx.export: expected outputs that ops of gpunn compute from the inputs; got one that does not depend on "
            "them, or was computed by other means."
        )
    needed = _needed(first, {one.number for one in results[0]})
    for call, other, wanted in zip(first.calls, second.calls, needed, strict=True):
        if not wanted:
            continue
        graph.enter(call)
        arguments = {name: graph.both(value, other.arguments[name]) for name, value in call.arguments.items()}
        made = [Made(graph.shape(a.shape, b.shape), a.dtype) for a, b in zip(call.results, other.results, strict=True)]
        names = LOWERINGS[call.op](graph, Arguments(arguments, made))
        several: Sequence[str | None] = (names,) if isinstance(names, str) else names
        for noted, written in zip(call.results, several, strict=True):
            if written is not None and noted.number is not None:
                graph.names[noted.number] = written
    graph.enter(None)
    return graph, [graph.both(a, b) for a, b in zip(*results, strict=True)]


def _distinct(axes: Sequence[Axis]) -> list[Axis]:
    """The first axis of each name."""
    found: dict[str, Axis] = {}
    for axis in axes:
        found.setdefault(axis.name, axis)
    return list(found.values())


def _needed(trace: Trace, numbers: set[int | None]) -> list[bool]:
    """For each call whether the outputs, whose values have these ``numbers``, depend on it."""
    found = []
    for call in reversed(trace.calls):
        wanted = any(one.number in numbers for one in call.results)
        if wanted:
            numbers |= {n.number for n in flat(call.arguments) if isinstance(n, Noted) and n.number is not None}
        found.append(wanted)
    return found[::-1]
