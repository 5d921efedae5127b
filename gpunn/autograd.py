"""Gradients on request: ``grad``, and the other names PyTorch has here."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn import tape
from gpunn._calls import explains_all
from gpunn._capture_state import refuse_in_capture
from gpunn._creation import zeros_like
from gpunn._function import Function
from gpunn._grad_mode import grad_mode, inference_mode
from gpunn._gradcheck import gradcheck
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.errors import ArgumentError, GraphError, TrainingError, UsageError
from gpunn.tape import enable_grad, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "Variable",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]

_LAST = "grad"  # the key of our hook on a node: put there now, it runs after a tensor's own


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``, without touching anyone's ``.grad``.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        Their gradients are added up.
    inputs : Tensor or sequence of Tensor
        Leaves, or results of recorded ops.
    grad_outputs : Tensor or sequence, optional
        Gradients that enter at the outputs; 1 for a scalar.
    retain_graph : bool, optional
        Keep the graph for another backward pass.
    create_graph : bool
        Only False: gradients of gradients are not recorded.
    only_inputs : bool
        Changes nothing, as in PyTorch.
    allow_unused : bool, optional
        Return None for an input that no output depends on, instead of raising.
    is_grads_batched : bool
        Only False.
    materialize_grads : bool
        Return zeros for such an input.

    Returns
    -------
    tuple of Tensor
        One per input.

    Raises
    ------
    UsageError
        If ``create_graph`` or ``is_grads_batched`` is True, or an input does not require a gradient.
    GraphError
        If an input was not used.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor(3.0, requires_grad=True)
    >>> gpunn.autograd.grad(x * x, x)[0].item()
    6.0
    """
    refuse("grad", create_graph=create_graph, is_grads_batched=is_grads_batched)
    roots = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    targets = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    given = grad_outputs if isinstance(grad_outputs, Sequence) else (grad_outputs,) * len(roots)
    if len(given) != len(roots):
        raise UsageError(f"grad: expected a grad_outputs for each of {len(roots)} outputs; got {len(given)}.")
    for i, target in enumerate(targets):
        if not target.requires_grad:
            raise UsageError(f"grad: input {i} of shape {target.shape} does not require a gradient.")
    found: dict[int, Tensor] = {}  # by id of the leaf or node

    def note(key: int, gradient: Tensor) -> None:
        found[key] = found[key] + gradient if key in found else gradient.clone()

    leaves = {id(t) for t in targets if t._node is None}
    nodes = {id(t._node): t._node for t in targets if t._node is not None}

    def deliver(leaf: Tensor, dx: Any, fresh: bool) -> None:
        if id(leaf) in leaves:
            note(id(leaf), Tensor._of_physical(dx, leaf.device))

    for key, node in nodes.items():
        node.hooks[_LAST] = functools.partial(note, key)
    try:
        with no_grad():
            pairs = [(r, tape.seed(r, g)) for r, g in zip(roots, given, strict=True)]
            tape.walk(pairs, bool(retain_graph), deliver)
    finally:
        for node in nodes.values():
            node.hooks.pop(_LAST, None)
    result = tuple(found.get(id(t if t._node is None else t._node)) for t in targets)
    for i, gradient in enumerate(result):
        if gradient is None and not (allow_unused or materialize_grads):
            raise GraphError(
                f"grad: the outputs do not depend on input {i}; pass allow_unused=True to get None for it."
            )
    if materialize_grads:
        return tuple(zeros_like(t) if g is None else g for t, g in zip(targets, result, strict=True))
    return result


def backward_into(
    output: Tensor, gradient: Tensor | None, retain_graph: bool, inputs: Tensor | Sequence[Tensor]
) -> None:
    """``output.backward()`` that gives a gradient to ``inputs`` alone."""
    targets = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not targets:
        raise UsageError("backward: inputs: expected at least one tensor; got none.")
    found = grad(output, targets, gradient, retain_graph, allow_unused=True)
    for target, dx in zip(targets, found, strict=True):
        if dx is not None:
            target.grad = dx if target.grad is None else target.grad.add_(dx)


class _VariableType(type):
    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, Tensor)


class Variable(metaclass=_VariableType):
    """PyTorch's old name of a tensor with a gradient: ``Variable(x)`` is a tensor, and each tensor is a Variable.

    Parameters
    ----------
    data : Tensor
        Shares its storage with the result.
    requires_grad : bool
        Whether ``backward`` collects a gradient there.
    volatile : bool
        Changes nothing, as in PyTorch: use :class:`gpunn.no_grad`.

    Raises
    ------
    ArgumentError
        If ``data`` is not a tensor.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.autograd.Variable(gpunn.ones(2), requires_grad=True)
    >>> x.requires_grad, isinstance(x, gpunn.autograd.Variable)
    (True, True)
    """

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Any:
        """The tensor."""
        if not isinstance(data, Tensor):
            raise ArgumentError(f"Variable: data: expected a Tensor; got {type(data).__name__}.")
        return data.detach().requires_grad_(bool(requires_grad))


# -- looking for NaN ------------------------------------------------------------------------------


class set_detect_anomaly:
    """Have backward raise as soon as an op's gradient is NaN, from now on, or for a block when used with ``with``.

    Every gradient is looked at, which takes time, and on a GPU waits for it: use it to find an error, and not to train.

    Parameters
    ----------
    mode : bool
        Whether to look.
    check_nan : bool
        With False nothing is looked at, as in PyTorch.

    Raises
    ------
    UsageError
        If ``mode`` is not a bool.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        if not isinstance(mode, bool | np.bool_):
            raise UsageError(f"set_detect_anomaly: mode: expected True or False; got {mode!r}.")
        self._outer = grad_mode.observer
        inner = self._outer.inner if isinstance(self._outer, _NaNFinder) else self._outer
        grad_mode.observer = _NaNFinder(inner) if mode and check_nan else inner

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        grad_mode.observer = self._outer


class detect_anomaly:
    """Within this block backward raises as soon as an op's gradient is NaN, naming layer and op.

    Every gradient is looked at, which takes time, and on a GPU waits for it: use it to find an error, and not to train.

    Parameters
    ----------
    check_nan : bool
        With False nothing is looked at.

    Raises
    ------
    TrainingError
        In ``backward``, naming the layer or op whose gradient is NaN.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.zeros(1, requires_grad=True)
    >>> with gpunn.autograd.detect_anomaly():
    ...     (x.sqrt() * 0).sum().backward()
    Traceback (most recent call last):
        ...
    gpunn.errors.TrainingError: sqrt: backward gave NaN for input 0; ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = bool(check_nan)

    def __enter__(self) -> None:
        self._mode = set_detect_anomaly(True, self._check_nan)

    def __exit__(self, *exc: object) -> None:
        self._mode.__exit__(*exc)


class _NaNFinder:
    """Runs each node of a backward pass, by another observer if there is one, and looks for NaN in what it returns."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, node: tape.Node, run: Any) -> Any:
        """``run()``, looked through."""
        refuse_in_capture("looking for NaN in gradients")
        gradients = run() if self.inner is None else self.inner(node, run)
        for i, gradient in enumerate(gradients):
            # On the host: its GPU need not be the current one.
            host = gradient.get() if hasattr(gradient, "get") else gradient
            if host is not None and np.isnan(host).any():
                raise TrainingError(
                    f"{node.op}: backward gave NaN for input {i}; the forward computed something whose slope is not a "
                    "number, such as the square root or the logarithm of 0, or its input was not finite."
                )
        return gradients


explains_all(globals())


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
