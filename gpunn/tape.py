"""The tape: what was computed from what, and the backward pass through it.

An op that has an input requiring a gradient makes a :class:`Node`, which holds the nodes (or
leaves) its inputs came from and a closure that turns the gradient of its output into those of
its inputs. Tensors point at nodes and nodes at earlier nodes, never the other way: there are
no reference cycles, so memory is freed the moment it is no longer needed.

Gradients travel as *physical* arrays (see ``_layout``).
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gpunn._capture_state import StepWatch, refuse_in_capture, watching
from gpunn._device import Device
from gpunn._grad_mode import enable_grad as enable_grad
from gpunn._grad_mode import grad_mode
from gpunn._grad_mode import is_grad_enabled as is_grad_enabled
from gpunn._grad_mode import no_grad as no_grad
from gpunn._grad_mode import set_grad_enabled as set_grad_enabled
from gpunn._layout import address_of, logical, physical, physical_shape
from gpunn.cpu.blas import single_threaded_blas
from gpunn.errors import DeviceError, DTypeError, GraphError, ShapeError, module_stack, place

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

Backward = Callable[..., Sequence[Any]]
Hook = Callable[["Tensor"], Any]
Observer = Callable[["Node", Callable[[], Sequence[Any]]], Sequence[Any]]

_order = itertools.count()

RETAIN = "retain_grad"  # the key of its hook on a node: added once, however often it is requested


def tensor_in_rows(rows: Any, device: Device) -> Tensor:
    """Wrap rows. ``_tensor`` puts the function of ``_rows`` here."""
    raise NotImplementedError


def in_form(device: Device, dx: Any, rows: bool, extent: Any) -> Any:
    """A gradient as rows or as a physical array; as :func:`tensor_in_rows`."""
    raise NotImplementedError


def as_tensor(array: Any, device: Device) -> Tensor:
    """Wrap a physical array. ``_tensor``, which imports this module, puts its own function here."""
    raise NotImplementedError


@contextlib.contextmanager
def observe_backward(observer: Observer) -> Iterator[None]:
    """Within this block, in this thread, each node is run by ``observer(node, run)``.

    For profilers. The observer has to call ``run()`` and return its result.
    """
    outer, grad_mode.observer = grad_mode.observer, observer
    try:
        yield
    finally:
        grad_mode.observer = outer


class Node:
    """One recorded op.

    Attributes
    ----------
    op : str
        Where it was recorded: the layer's name in the model, or the op. Looked up on access.
    order : int
        Rises with every node, so that inputs always have smaller numbers than their users.
    parents : tuple
        For each input: the Node it came from, the leaf Tensor itself, or None if it needs no gradient.
    backward : callable or None
        ``backward(dy, needs)`` returns the inputs' gradients, None where ``needs`` is False. None once used.
    adds : bool
        Whether it is called as ``backward(dy, needs, waiting)``, with the gradient that reached the first input by
        another path, or None. It returns their sum as that input's gradient, and does not write to ``waiting``.
    into : tuple of int or None
        The same, but if ``waiting`` is of this shape and nothing else holds it, backward writes to it and returns it.
    passes_on : bool
        Whether a returned gradient may be dy itself, a view of it, or an array that the closure will need again.
    saved : tuple
        (storage, count at recording, shape) of each tensor whose array the closure uses.
    slot : (int, int) or None
        For one of several outputs: which of how many. Its one parent, their common node, gets a list of gradients
        (None where none arrived) as its ``dy``.
    hooks : dict
        Called with the output's gradient as a Tensor; may return a replacement.
    extent : tuple of int or None
        The physical shape of its output; None of the common node of several outputs.
    rows : bool
        Whether its output is in rows (``_rows``): then so are the gradients that its backward gets.
    """

    __slots__ = (
        "adds", "backward", "extent", "hooks", "inside", "into", "name", "order", "parents", "passes_on", "rows",
        "saved", "slot",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        parents: tuple[Any, ...],
        backward: Backward,
        passes_on: bool,
        saved: tuple[Any, ...],
        slot: tuple[int, int] | None = None,
        adds: bool = False,
        extent: tuple[int, ...] | None = None,
        rows: bool = False,
        into: tuple[int, ...] | None = None,
    ) -> None:
        self.name = name
        self.inside = tuple(module_stack.modules)
        self.order = next(_order)
        self.parents = parents
        self.backward: Backward | None = backward
        self.passes_on = passes_on
        self.saved = saved
        self.slot = slot
        self.adds = adds
        self.hooks: dict[object, Hook] = {}
        self.extent = extent
        self.rows = rows
        self.into = into

    @property
    def op(self) -> str:
        """The op and the layer that it ran in, for messages."""
        return place(self.name, self.inside)

    def __repr__(self) -> str:
        return f"<{self.op}>"


def record(
    op: str,
    output: Any,
    device: Device,
    inputs: Sequence[Tensor],
    backward: Backward,
    *,
    saves: Sequence[Tensor] = (),
    keeps: bool = False,
    passes_on: bool = False,
    adds: bool = False,
    rows: bool = False,
    into: tuple[int, ...] | None = None,
) -> Tensor:
    """Wrap an op's physical ``output`` as a Tensor, on the tape if any input requires a gradient.

    Parameters
    ----------
    saves : sequence of Tensor
        Inputs whose arrays ``backward`` will read: changing one in place before that raises.
    keeps : bool
        Whether it will read the output's array: the same.
    passes_on : bool
        Whether ``backward`` may return dy itself, a view of it, or an array that it needs when called again.
    adds : bool
        Whether ``backward`` adds to the gradient that reached the first input by another path; see :class:`Node`.
        Where two paths meet this makes one pass over memory instead of two.
    into : tuple of int or None
        Whether it does so in place; see :class:`Node`.
    rows : bool
        Whether ``output`` is in rows (``_rows``) and a tensor of four axes. The gradient is then, too.
    """
    result = tensor_in_rows(output, device) if rows else as_tensor(output, device)
    if not grad_mode.enabled:
        return result
    for t in inputs:
        if t.requires_grad:
            saved = saved_of((*saves, result) if keeps else saves)
            extent = physical_shape(output.shape[1:]) if rows else output.shape
            result._node = Node(op, parents_of(inputs), backward, passes_on, saved, None, adds, extent, rows, into)
            result.requires_grad = True
            break
    return result


def parents_of(inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    """What a node points at for each input: its node, the leaf itself, or None."""
    return tuple([(t._node or t) if t.requires_grad else None for t in inputs])


def saved_of(saves: Sequence[Tensor]) -> tuple[Any, ...]:
    """What a node notes about each tensor whose array its closure uses."""
    return tuple([(t._storage, t._storage.count, t.shape) for t in saves])


def backward(root: Tensor, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
    """Add d root / d leaf to ``leaf.grad`` of every leaf; see :meth:`gpunn.Tensor.backward`."""
    roots = [(root, seed(root, gradient))]
    if not grad_mode.reducers:
        walk(roots, retain_graph, _add_to_leaf)
        return
    from gpunn.distributed._reducer import walk_and_reduce

    walk_and_reduce(roots, retain_graph, _add_to_leaf)


def walk(roots: Sequence[tuple[Tensor, Any]], retain_graph: bool, deliver: Callable[[Tensor, Any, bool], None]) -> None:
    """Go from ``roots``, each with its physical gradient, back to the leaves.

    ``deliver(leaf, dx, fresh)`` is called for each gradient that reaches a leaf; ``fresh``: nothing else holds it.
    """
    if roots:
        with single_threaded_blas:  # once for all nodes
            _Walk(roots[0][0].device, retain_graph, deliver).run(roots)


def walk_within(roots: Sequence[tuple[Tensor, Any]]) -> None:
    """For a node's ``backward``: go from ``roots`` back to leaves, on behalf of the pass that runs the node."""
    outer = grad_mode.walk
    if roots:
        _Walk(outer._device, False, outer._deliver).run(roots)


_NOTHING = (None, False)  # no gradient has arrived


class _Walk:
    """One backward pass: the gradients in flight, and the nodes waiting for their turn."""

    def __init__(self, device: Device, retain_graph: bool, deliver: Callable[[Tensor, Any, bool], None]) -> None:
        self._device = device
        self._retain_graph = retain_graph
        self._deliver = deliver
        self._pending: dict[Node, tuple[Any, bool]] = {}  # gradient, and whether it is ours alone
        self._queue: list[tuple[int, Node]] = []
        self._hooked: dict[int, tuple[Tensor, Any, bool]] = {}  # leaves whose hooks must see all of the gradient

    def run(self, roots: Sequence[tuple[Tensor, Any]]) -> None:
        """Do all of it."""
        outer, grad_mode.walk = grad_mode.walk, self
        try:
            self._run(roots)
        finally:
            grad_mode.walk = outer

    def _run(self, roots: Sequence[tuple[Tensor, Any]]) -> None:
        for root, dy in roots:
            self._arrive(root._node or root, dy, False, None)
        while self._queue:
            # The last node made is always the next whose gradient is complete: all its users came later.
            node = heapq.heappop(self._queue)[1]
            dy, _ = self._pending.pop(node)
            if node.hooks:
                dy = in_form(self._device, dy, False, node.extent)
                dy = in_form(self._device, _call_hooks(node.hooks, dy, self._device, node.op), node.rows, node.extent)
            slot, parents, waiting = node.slot, node.parents, None
            if (node.adds or node.into) and parents:  # no parents: freed, reported by _gradients_of
                waiting, owned = self._pending.get(parents[0], _NOTHING)
                if node.into:
                    waiting = waiting if owned and waiting.shape == node.into else None
                elif waiting is not None and waiting.ndim == 5:  # it may be in rows, which such ops do not know
                    waiting = None
            fresh = not node.passes_on
            gradients = _gradients_of(node, dy, waiting, self._retain_graph)
            for number, (parent, dx) in enumerate(zip(parents, gradients, strict=True)):
                if parent is None or dx is None:
                    continue
                if number == 0 and waiting is not None:
                    self._pending[parent] = dx, fresh  # the sum
                else:
                    self._arrive(parent, dx, fresh, slot)
        for leaf, dx, _ in self._hooked.values():
            self._deliver(leaf, _call_hooks(leaf._hooks or {}, dx, self._device, "leaf"), False)

    def _arrive(self, target: Any, dx: Any, fresh: bool, slot: tuple[int, int] | None) -> None:
        if not isinstance(target, Node):
            if dx.ndim == 5 and target.ndim == 4:
                dx = in_form(self._device, dx, False, target.shape)
            if target._hooks:
                known = self._hooked.get(id(target))
                self._hooked[id(target)] = target, *(self._add(known[1:], dx) if known else (dx, fresh))
            else:
                self._deliver(target, dx, fresh)
            return
        if target.rows or (slot is None and dx.ndim == 5):
            dx = in_form(self._device, dx, target.rows, target.extent)
        arrived = self._pending.get(target)
        if arrived is None:
            heapq.heappush(self._queue, (-target.order, target))
        if slot is not None:
            parts = [None] * slot[1] if arrived is None else arrived[0]
            parts[slot[0]] = dx
            self._pending[target] = parts, False
        else:
            self._pending[target] = (dx, fresh) if arrived is None else self._add(arrived, dx)

    def _add(self, known: tuple[Any, bool], dx: Any) -> tuple[Any, bool]:
        return _sum(self._device, *known, dx), True


def _call_hooks(hooks: dict[object, Hook], dy: Any, device: Device, op: str) -> Any:
    """The gradient after all hooks."""
    from gpunn._tensor import Tensor
    from gpunn.ops.accumulate import copy

    refuse_in_capture("a gradient hook (Python code that no replay would run)")
    dy = copy(device, dy)  # others may hold it, and a hook may change or keep it
    for hook in tuple(hooks.values()):
        given = Tensor._of_physical(dy, device)
        with no_grad():
            answer = hook(given)
        if answer is not None:
            if not isinstance(answer, Tensor) or (answer.shape, answer.dtype) != (given.shape, given.dtype):
                raise GraphError(
                    f"{op}: a gradient hook must return None or a Tensor of shape {given.shape}, dtype {given.dtype}."
                )
            dy = answer._physical
    return dy


def _gradients_of(node: Node, dy: Any, waiting: Any, retain_graph: bool) -> Sequence[Any]:
    """Run one node's backward: a gradient, or None, for each input."""
    if node.backward is None:
        raise GraphError(
            f"{node.op}: backward ran through this graph before and freed it; "
            "call the first one with retain_graph=True, or compute the loss again."
        )
    for storage, count, shape in node.saved:
        if storage.count != count:
            raise GraphError(
                f"{node.op}: a tensor of shape {shape} that backward needs was changed in place "
                f"{storage.count - count} time(s) since the forward; change it after backward(), or clone it."
            )
    needs = tuple([parent is not None for parent in node.parents])
    more = (waiting,) if node.adds or node.into else ()
    if grad_mode.observer is None:
        gradients = node.backward(dy, needs, *more)
    else:
        gradients = grad_mode.observer(node, functools.partial(node.backward, dy, needs, *more))
    if not retain_graph:
        node.backward, node.parents, node.saved = None, (), ()
    return gradients


def seed(root: Tensor, gradient: Tensor | None) -> Any:
    """The physical array that backward starts from: the given one, or 1 for a scalar."""
    if not root.requires_grad:
        raise GraphError(
            "backward: this tensor does not require a gradient: no input of its computation had "
            "requires_grad=True, or it was computed under no_grad()."
        )
    if gradient is None:
        if root.numel() != 1:
            raise GraphError(
                f"backward: only a scalar has a default gradient; this tensor has shape {root.shape}. "
                "Reduce it (.sum(), .mean()) or pass gradient=."
            )
        return _unit_seed(root.device, root.dtype, root.ndim)
    if gradient.shape != root.shape:
        raise ShapeError(f"backward: expected a gradient of shape {root.shape}; got {gradient.shape}.")
    if gradient.dtype != root.dtype:
        raise DTypeError(f"backward: expected a gradient of dtype {root.dtype}; got {gradient.dtype}.")
    if gradient.device is not root.device:
        raise DeviceError(f"backward: the tensor is on {root.device}, its gradient on {gradient.device}.")
    return physical(gradient.array)


def is_unit_seed(device: Device, dy: Any) -> bool:
    """Whether a gradient is the very array that a scalar's backward starts from: 1, known without reading it."""
    return dy.size == 1 and dy is _unit_seed(device, dy.dtype, dy.ndim)


def _unit_seed(device: Device, dtype: Any, ndim: int) -> Any:
    """A scalar's gradient with respect to itself. One array serves every backward on its device; never written to."""

    def ones() -> Any:
        made = device.zeros((1,) * ndim, dtype)
        device.fill(made, 1)
        return made

    return device.cached(f"one {dtype.char} {ndim}", ones)


def _sum(device: Device, total: Any, owned: bool, extra: Any) -> Any:
    """Add into ``total`` where nothing else holds it; otherwise allocate."""
    from gpunn.ops.accumulate import accumulate, add_same_shape

    if not owned:
        return add_same_shape(device, total, extra)
    accumulate(device, total, extra)
    return total


def _copied(device: Device, array: Any) -> Any:
    from gpunn.ops.accumulate import copy

    return copy(device, array)


def _made_in(step: StepWatch, leaf: Tensor) -> bool:
    """Whether the gradient that ``leaf`` has now was made within the captured step."""
    known = step.gradients.get(id(leaf))
    return known is not None and leaf.grad is not None and address_of(leaf.grad._physical) == address_of(known[1])


def _add_in_place(grad: Tensor, dx: Any) -> None:
    from gpunn._views import memory, written

    if grad._storage.sharing is None:
        _sum(grad.device, grad._physical, True, dx)
        grad._storage.count += 1
    else:  # views of it see the sum too
        array = memory("backward", grad)
        _sum(grad.device, array, True, dx)
        written(grad, array)


def _add_to_leaf(leaf: Tensor, dx: Any, fresh: bool) -> None:
    """``leaf.grad += dx``; the gradient array never aliases another one."""
    step = watching()
    if step is not None:
        step.note_leaf(leaf)
        step = step if step.frozen else None
    if leaf._physical.shape != dx.shape:
        raise ShapeError(f"backward: gradient of shape {logical(dx).shape} for a leaf of shape {leaf.shape}.")
    if leaf.grad is None:
        leaf.grad = as_tensor(dx if fresh else _copied(leaf.device, dx), leaf.device)
    else:
        if step is not None and not _made_in(step, leaf):
            step.accumulated.append((leaf, leaf.grad._physical))
        _add_in_place(leaf.grad, dx)
    if step is not None and leaf.grad is not None:
        step.gradients[id(leaf)] = leaf, leaf.grad._physical
