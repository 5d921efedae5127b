"""The graph of a model: which op's output goes into which other op, and the shapes of what goes there."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpunn._half import FLOATING
from gpunn._interop import is_array, tensor_of
from gpunn._layout import logical_shape
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn._modes import evaluating
from gpunn.nn.module import Module
from gpunn.tape import Node, enable_grad


@dataclass(frozen=True)
class Vertex:
    """One box of a graph.

    Attributes
    ----------
    kind : str
        "input", "parameter", "op" or "output".
    name : str
        An argument of ``forward``; a parameter as ``named_parameters`` calls it; an op, such as "conv2d"; "output".
    layer : str
        The dotted name of the layer that the op ran in; "" of the model itself and of everything else.
    """

    kind: str
    name: str
    layer: str = ""


@dataclass(frozen=True)
class Edge:
    """What one vertex gives to another: their numbers, and the shape of the tensor."""

    source: int
    target: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """What is computed from what, as :func:`graph_of` finds it. ``print`` lists the edges.

    Attributes
    ----------
    vertices : tuple of Vertex
        Inputs, parameters, ops and outputs.
    edges : tuple of Edge
        Each leads from a vertex to one with a larger number.

    Notes
    -----
    An op whose output is used twice has two edges, and so has one that is given the same tensor twice.
    """

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]

    def __str__(self) -> str:
        """Every edge, as ``x 8×3 → linear``."""
        names = [vertex.name for vertex in self.vertices]
        return ", ".join(f"{names[e.source]} {shape_text(e.shape)} → {names[e.target]}" for e in self.edges)

    def dot(self) -> str:
        """The graph as text in Graphviz's language, DOT."""
        style = {"op": "shape=box, style=rounded", "parameter": "shape=note"}
        lines = ["digraph model {", "  node [fontname=Helvetica]; edge [fontname=Helvetica];"]
        for number, vertex in enumerate(self.vertices):
            text = "\\n".join(map(_quoted, filter(None, (vertex.name, vertex.layer))))
            lines.append(f'  v{number} [label="{text}", {style.get(vertex.kind, "shape=ellipse")}];')
        for edge in self.edges:
            lines.append(f'  v{edge.source} -> v{edge.target} [label="{shape_text(edge.shape)}"];')
        return "\n".join([*lines, "}"]) + "\n"


def shape_text(shape: Sequence[int]) -> str:
    """``8×3×32×32``; a scalar is "scalar"."""
    return "×".join(map(str, shape)) if shape else "scalar"


def _quoted(text: str) -> str:
    """What may stand between double quotes in DOT, where a backslash begins an escape."""
    plain = "".join(" " if c.isspace() or unicodedata.category(c)[0] == "C" else c for c in text)
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def graph_of(model: Module, *inputs: Any) -> Graph:
    """Run a model once, and follow the tape back from what it returns.

    Parameters
    ----------
    model : Module
        It runs in evaluation mode, with nothing fused, and keeps its own mode. A loss is in the graph if ``forward``
        returns it.
    *inputs : Tensor or array
        An example batch: the arguments of ``forward``. Tensors and arrays are copied.

    Returns
    -------
    Graph
        Inputs, parameters, ops and outputs. Only what is differentiable is on the tape: inputs of whole numbers, such
        as class labels, are missing, and so are constants.

    Raises
    ------
    UsageError
        If nothing that it returns comes from its inputs or parameters.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> print(nn.graph_of(nn.Linear(3, 1), gpunn.zeros(8, 3)))
    x 8×3 → linear, weight 1×3 → linear, bias 1 → linear, linear 8×1 → output
    """
    given: list[Any] = []
    made: dict[Node, str] = {}
    home = next((parameter.device for parameter in model.parameters()), None)
    names = _argument_names(model)
    for value, name in zip(inputs, names, strict=False):
        if not isinstance(value, Tensor) and not is_array(value):
            given.append(value)  # a flag, or what forward will refuse
            continue
        tensor = value if isinstance(value, Tensor) else tensor_of("graph_of", value, home)
        leaf = tensor.detach().clone()
        if leaf.dtype.kind in FLOATING:
            # A node of its own, not a leaf: a model may change its input in place.
            leaf._node = Node(name, (), _no_gradient, False, (), extent=leaf._physical.shape)
            leaf.requires_grad = True
            made[leaf._node] = name
        given.append(leaf)
    with contextlib.ExitStack() as after:
        for context in (enable_grad(), evaluating(model), _all_on_the_tape(model)):
            after.enter_context(context)
        for module in model.modules():  # a hook keeps Sequential from fusing it with its neighbours
            after.enter_context(module.register_forward_hook(_nothing))
        outputs = _tensors(model(*given))
        return _Walk(model, made).graph(outputs)


def _argument_names(model: Module) -> Iterator[str]:
    """What ``forward`` calls its arguments."""
    parameters = list(inspect.signature(model.forward).parameters.values())
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            yield from (f"{parameter.name}[{number}]" for number in itertools.count())
        yield parameter.name
    yield from itertools.repeat("input")  # more than it takes: the call below says so


def _nothing(module: Module, args: Any, output: Any) -> None:
    return None


def _no_gradient(dy: Any, needs: Any) -> tuple[()]:
    return ()


@contextlib.contextmanager
def _all_on_the_tape(model: Module) -> Iterator[None]:
    """Frozen parameters require gradients for the block, so that the tape knows them."""
    frozen = [p for p in model.parameters() if not p.requires_grad and p.dtype.kind in FLOATING]
    for parameter in frozen:
        parameter.requires_grad = True
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad = False


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(values, Tensor):
        return [values]
    inner = values.values() if isinstance(values, dict) else values if isinstance(values, tuple | list) else ()
    return [tensor for value in inner for tensor in _tensors(value)]


class _Walk:
    """From the outputs back to everything that they came from."""

    def __init__(self, model: Module, inputs: Mapping[Node, str]) -> None:
        self._inputs = inputs
        self._layers = {id(module): name for name, module in model.named_modules()}
        self._parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self._numbers: dict[int, int] = {}  # by id of a node or leaf, which the outputs keep alive
        self._vertices: list[Vertex] = []
        self._edges: list[Edge] = []

    def graph(self, outputs: Sequence[Tensor]) -> Graph:
        roots = [output for output in outputs if output.requires_grad]
        if not roots:
            raise UsageError(
                "graph_of: expected a model whose output depends on its parameters or on inputs of floating-point "
                f"numbers; got {len(outputs)} tensor(s) that depend on neither."
            )
        for node in sorted(self._nodes(roots), key=lambda node: node.order):
            self._add_node(node)
        for number, root in enumerate(roots):
            name = "output" if len(roots) == 1 else f"output {number}"
            self._vertices.append(Vertex("output", name))
            source, shape = self._source(root._node or root)
            self._edges.append(Edge(source, len(self._vertices) - 1, shape))
        return Graph(tuple(self._vertices), tuple(self._edges))

    def _nodes(self, roots: Sequence[Tensor]) -> set[Node]:
        """All nodes behind the outputs, but for those that stand for one of several outputs of an op."""
        found: set[Node] = set()
        waiting = [root._node for root in roots]
        while waiting:  # deep graphs would be too much for recursion
            node = waiting.pop()
            if isinstance(node, Node) and node not in found:
                found.add(node)
                waiting += node.parents
        return {node for node in found if node.slot is None}

    def _add_node(self, node: Node) -> None:
        if node in self._inputs:
            self._number(node, Vertex("input", self._inputs[node]))
            return
        sources = [self._source(parent) for parent in node.parents if parent is not None]
        layer = next((self._layers[id(m)] for m in reversed(node.inside) if id(m) in self._layers), "")
        number = self._number(node, Vertex("op", node.name, layer))
        self._edges += [Edge(source, number, shape) for source, shape in sources]

    def _source(self, parent: Any) -> tuple[int, tuple[int, ...]]:
        """The number of the vertex that a parent stands for, and the shape of what it gives."""
        if isinstance(parent, Node):
            home = parent.parents[0] if parent.slot is not None else parent
            return self._numbers[id(home)], logical_shape(parent.extent or ())
        if id(parent) not in self._numbers:
            self._number(parent, Vertex("parameter", self._parameters.get(id(parent), "tensor")))
        return self._numbers[id(parent)], parent.shape

    def _number(self, of: Any, vertex: Vertex) -> int:
        self._vertices.append(vertex)
        self._numbers[id(of)] = len(self._vertices) - 1
        return len(self._vertices) - 1
