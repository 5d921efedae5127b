"""The tape: what was computed from what, and the walk back through it.

An op that has an input requiring a gradient makes a :class:`Node`, which holds the nodes (or
leaves) its inputs came from and a closure that turns the gradient of its output into those of
its inputs. Tensors point at nodes and nodes at earlier nodes, never the other way: there are
no reference cycles, so memory is freed the moment it is no longer needed.

Gradients travel as *physical* arrays (see ``_layout``).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpunn import _capture
from gpunn._device import Device
from gpunn._layout import logical, physical, physical_shape
from gpunn.errors import DeviceError, DTypeError, GraphError, ShapeError, where

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

Backward = Callable[[Any, tuple[bool, ...]], Sequence[Any]]

_order = itertools.count()


class _Mode(threading.local):
    def __init__(self) -> None:
        self.enabled = True


_mode = _Mode()


class no_grad(contextlib.ContextDecorator):
    """Within this block (or decorated function) nothing is recorded; thread-local, nestable."""

    def __enter__(self) -> None:
        self._outer = [*getattr(self, "_outer", []), _mode.enabled]
        _mode.enabled = False

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._outer.pop()


def is_grad_enabled() -> bool:
    """Whether ops are being recorded in this thread."""
    return _mode.enabled


class Version:
    """Counts in-place writes to one storage; shared by every tensor that views it."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Node:
    """One recorded op.

    Attributes
    ----------
    op : str
        Where it was recorded: the layer's name in the model, or the op.
    order : int
        Rises with every node, so that inputs always have smaller numbers than their users.
    parents : tuple
        For each input: the Node it came from, the leaf Tensor itself, or None if it needs no gradient.
    backward : callable or None
        ``backward(dy, needs)`` gives the inputs' gradients, None where ``needs`` is False. None once used.
    passes_on : bool
        Whether a returned gradient may be dy itself or a view of it.
    saved : tuple
        (version, count then, description) of each tensor whose array the closure uses.
    """

    __slots__ = ("backward", "op", "order", "parents", "passes_on", "saved")

    def __init__(
        self, op: str, parents: tuple[Any, ...], backward: Backward, passes_on: bool, saved: tuple[Any, ...]
    ) -> None:
        self.op = op
        self.order = next(_order)
        self.parents = parents
        self.backward: Backward | None = backward
        self.passes_on = passes_on
        self.saved = saved


def record(
    op: str,
    output: Any,
    device: Device,
    inputs: Sequence[Tensor],
    backward: Backward,
    *,
    saves: Sequence[Tensor] = (),
    passes_on: bool = False,
) -> Tensor:
    """Wrap an op's physical ``output`` as a Tensor, on the tape if any input requires a gradient.

    Parameters
    ----------
    saves : sequence of Tensor
        Inputs whose arrays ``backward`` will read: changing one in place before that raises.
    passes_on : bool
        Whether ``backward`` may return dy itself or a view of it.
    """
    from gpunn._tensor import Tensor

    result = Tensor._of_physical(output, device)
    if _mode.enabled and any(t.requires_grad for t in inputs):
        parents = tuple((t._node or t) if t.requires_grad else None for t in inputs)
        saved = tuple((t._version, t._version.count, t.shape) for t in saves)
        result._node = Node(where(op), parents, backward, passes_on, saved)
        result.requires_grad = True
    return result


def backward(root: Tensor, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
    """Add d root / d leaf to ``leaf.grad`` of every leaf; see :meth:`gpunn.Tensor.backward`."""
    if not root.requires_grad:
        raise GraphError(
            "backward: this tensor does not require a gradient: no input of its computation had "
            "requires_grad=True, or it was computed under no_grad()."
        )
    dy = _seed(root, gradient)
    if root._node is None:
        _add_to_leaf(root, dy, fresh=False)
        return
    # The last node made is always the next whose gradient is complete: all its users came later.
    pending: dict[Node, tuple[Any, bool]] = {root._node: (dy, False)}
    queue = [(-root._node.order, root._node)]
    while queue:
        node = heapq.heappop(queue)[1]
        dy, _ = pending.pop(node)
        for parent, dx, fresh in _step_back(node, dy, retain_graph):
            if not isinstance(parent, Node):
                _add_to_leaf(parent, dx, fresh)
            elif parent not in pending:
                pending[parent] = dx, fresh
                heapq.heappush(queue, (-parent.order, parent))
            else:
                pending[parent] = _sum(root.device, *pending[parent], dx), True


def _step_back(node: Node, dy: Any, retain_graph: bool) -> Iterator[tuple[Any, Any, bool]]:
    """Run one node's backward; yields (parent, gradient, whether nobody else holds that array)."""
    if node.backward is None:
        raise GraphError(
            f"{node.op}: backward ran through this graph before and freed it; "
            "call the first one with retain_graph=True, or compute the loss again."
        )
    for version, count, shape in node.saved:
        if version.count != count:
            raise GraphError(
                f"{node.op}: a tensor of shape {shape} that backward needs was changed in place "
                f"{version.count - count} time(s) since the forward; change it after backward(), or clone it."
            )
    parents = node.parents
    gradients = node.backward(dy, tuple(parent is not None for parent in parents))
    fresh = not node.passes_on
    if not retain_graph:
        node.backward, node.parents, node.saved = None, (), ()
    for parent, dx in zip(parents, gradients, strict=True):
        if parent is not None and dx is not None:
            yield parent, dx, fresh


def _seed(root: Tensor, gradient: Tensor | None) -> Any:
    """The physical array that backward starts from: ones for a scalar, else what was given."""
    if gradient is None:
        if root.size_ != 1:
            raise GraphError(
                f"backward: only a scalar has a default gradient; this tensor has shape {root.shape}. "
                "Reduce it (.sum(), .mean()) or pass gradient=."
            )
        return root.device.cached(f"one {root.dtype} {root.ndim}", lambda: _ones(root))
    if gradient.shape != root.shape:
        raise ShapeError(f"backward: expected a gradient of shape {root.shape}; got {gradient.shape}.")
    if gradient.dtype != root.dtype:
        raise DTypeError(f"backward: expected a gradient of dtype {root.dtype}; got {gradient.dtype}.")
    if gradient.device is not root.device:
        raise DeviceError(f"backward: the tensor is on {root.device}, its gradient on {gradient.device}.")
    return physical(gradient.array)


def _ones(root: Tensor) -> Any:
    """The gradient of a scalar by itself. One array serves every backward on its device; nothing writes to it."""
    ones = root.device.zeros((1,) * root.ndim, root.dtype)
    ones.fill(1)
    return ones


def _sum(device: Device, total: Any, owned: bool, extra: Any) -> Any:
    """Add into ``total`` where it is ours alone; allocate where it is only borrowed."""
    from gpunn.ops.arithmetic import accumulate, add_same_shape

    if not owned:
        return add_same_shape(device, total, extra)
    accumulate(device, total, extra)
    return total


def _add_to_leaf(leaf: Tensor, dx: Any, fresh: bool) -> None:
    """``leaf.grad += dx``; the gradient array never aliases another one."""
    from gpunn.ops.arithmetic import copy

    step = _capture.recording()
    if physical_shape(leaf.shape) != dx.shape:
        raise ShapeError(f"backward: gradient of shape {logical(dx).shape} for a leaf of shape {leaf.shape}.")
    if leaf.grad is None:
        leaf._set_grad_array(dx if fresh else copy(leaf.device, dx))
    else:
        if step is not None and not step.made(leaf):
            step.accumulated.append((leaf, leaf.grad._physical))
        _sum(leaf.device, leaf.grad._physical, True, dx)
    if step is not None and leaf.grad is not None:
        step.gradients[id(leaf)] = leaf, leaf.grad._physical
