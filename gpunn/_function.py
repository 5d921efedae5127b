"""Function: an operation with its own forward and backward, as a user writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn import tape
from gpunn._device import Device, same_device
from gpunn._half import FLOATING
from gpunn._layout import physical_shape
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError, here


class Context:
    """What a :class:`Function`'s forward saves for its backward; other attributes may be set freely.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of forward, whether its gradient is wanted.
    saved_tensors : tuple of Tensor
        The tensors given to :meth:`save_for_backward`, off the tape.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor | None, ...] = ()
        self._constant: set[int] = set()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for backward, which raises if one has been changed in place by then.

        Parameters
        ----------
        tensors : Tensor or None
        """
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise UsageError(
                    f"save_for_backward: expected tensors; got {type(t).__name__}. Set an attribute of ctx."
                )
        # Off the tape, as backward is; a detached tensor shares storage and version.
        self._saved = tuple(None if t is None else t.detach() for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return self._saved

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Say which outputs carry no gradient; backward is given zeros for them.

        Parameters
        ----------
        outputs : Tensor
        """
        self._constant.update(map(id, outputs))

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward is given zeros or None where no gradient arrived.

        Parameters
        ----------
        value : bool
        """
        self._materialize = value

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Refuse: what a forward changes in place is not recorded.

        Parameters
        ----------
        tensors : Tensor
        """
        raise UsageError("mark_dirty: a Function may not change its arguments in place; return new tensors.")


class Function:
    """An operation with a gradient of its own. Subclass it, write two static methods, call :meth:`apply`.

    ``forward(ctx, *args)`` returns a Tensor or a tuple of them; nothing in it is recorded. ``backward(ctx, *grads)`` is
    given one gradient per output and returns one per argument of forward, None for one that is no Tensor or needs none.
    As in PyTorch, ``forward`` omits ``ctx`` if the class has ``setup_context(ctx, inputs, output)``.

    Notes
    -----
    With several outputs there is a node for each, all pointing at one common node, which runs once the gradients of all
    have arrived. An output that is an argument returned unchanged shares its memory.

    Examples
    --------
    >>> import gpunn
    >>> class Cube(gpunn.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, dy):
    ...         (x,) = ctx.saved_tensors
    ...         return dy * 3 * x * x
    >>> x = gpunn.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad.tolist()
    [12.0]
    """

    def __init__(self) -> None:
        raise UsageError(
            f"{type(self).__name__}: a Function is not instantiated; call {type(self).__name__}.apply(...)."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; the subclass overrides this."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the arguments' gradients; the subclass overrides this."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grad_outputs)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward and put it on the tape if an argument requires a gradient.

        Parameters
        ----------
        args : Tensor or anything
            Handed to forward.

        Raises
        ------
        UsageError
            If forward returns anything but tensors; a tuple may hold other things too.
        GraphError, ShapeError, DTypeError
            Later, if backward returns the wrong number of gradients, or gradients that do not fit.
        """
        recorded = tape.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx = Context(tuple(recorded and isinstance(a, Tensor) and a.requires_grad for a in args))
        setup = getattr(cls, "setup_context", None)
        with tape.no_grad():
            result = cls.forward(*args) if setup else cls.forward(ctx, *args)
            if setup:
                setup(ctx, args, result)
        several = isinstance(result, tuple)
        outputs = result if several else (result,)
        if not any(isinstance(o, Tensor) for o in outputs):
            raise UsageError(f"{here(cls.__name__)}: forward must return tensors; got {type(result).__name__}.")
        if not recorded:
            return result
        made = _on_the_tape(cls, ctx, args, outputs)
        return made if several else made[0]


def _on_the_tape(cls: type[Function], ctx: Context, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    inputs = [a for a in args if isinstance(a, Tensor)]
    device = same_device(cls.__name__, *(t.device for t in (*inputs, *outputs) if isinstance(t, Tensor)))
    place = here(cls.__name__)
    forms = tuple((o.shape, o.dtype) if isinstance(o, Tensor) else None for o in outputs)
    backward = _Backward(cls.backward, ctx, place, device, forms, [_form(a) for a in args])
    saved = tape.saved_of([t for t in ctx._saved if t is not None])
    node = tape.Node(cls.__name__, tape.parents_of(inputs), backward, passes_on=True, saved=saved)
    made = []
    for i, output in enumerate(outputs):
        if isinstance(output, Tensor):
            twin = output.detach()
            if output.dtype.kind in FLOATING and id(output) not in ctx._constant:
                twin.requires_grad = True
                twin._node, extent = node, twin._physical.shape
                if len(outputs) > 1:
                    slot = i, len(outputs)
                    twin._node = tape.Node(cls.__name__, (node,), _unchanged, True, (), slot=slot, extent=extent)
                else:
                    node.extent = extent
            output = twin
        made.append(output)
    return tuple(made)


def _form(value: Any) -> tuple[Any, Any] | None:
    return (value.shape, value.dtype) if isinstance(value, Tensor) else None


def _unchanged(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
    return (dy,)


class _Backward:
    """What a Function's node calls: wraps arrays as tensors, runs the user's backward and checks its result."""

    def __init__(
        self,
        backward: Callable[..., Any],
        ctx: Context,
        place: str,
        device: Device,
        outputs: tuple[Any, ...],
        inputs: Sequence[Any],
    ) -> None:
        self._backward = backward
        self._ctx = ctx
        self._place = place
        self._device = device
        self._outputs = outputs
        self._inputs = inputs

    def __call__(self, dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        arrived = dy if len(self._outputs) > 1 else [dy]
        given = [self._gradient(a, form) for a, form in zip(arrived, self._outputs, strict=True)]
        with tape.no_grad():
            answer = self._backward(self._ctx, *given)
        if any(g is not None and g._storage.count for g in given):
            raise GraphError(f"{self._place}: backward changed a gradient it was given, which others share; clone it.")
        answers = answer if isinstance(answer, tuple | list) else (answer,)
        if len(answers) != len(self._inputs):
            raise GraphError(
                f"{self._place}: expected backward to return {len(self._inputs)} gradient(s), one per argument of "
                f"forward (None for what is no tensor); got {len(answers)}."
            )
        asked = iter(needs)
        return tuple(
            self._checked(number, a, form) if next(asked) else None
            for number, (a, form) in enumerate(zip(answers, self._inputs, strict=True))
            if form is not None
        )

    def _gradient(self, array: Any, form: Any) -> Tensor | None:
        if array is None:
            if form is None or not self._ctx._materialize:
                return None
            array = self._device.zeros(physical_shape(form[0]), form[1])
        return Tensor._of_physical(array, self._device)

    def _checked(self, number: int, gradient: Any, form: Any) -> Any:
        if gradient is None:
            return None
        expected = f"{self._place}: backward: gradient {number}: expected"
        if not isinstance(gradient, Tensor):
            raise GraphError(f"{expected} a Tensor or None; got {type(gradient).__name__}.")
        if gradient.shape != form[0]:
            raise ShapeError(f"{expected} the argument's shape {form[0]}; got {gradient.shape}.")
        if gradient.dtype != form[1]:
            raise DTypeError(f"{expected} the argument's dtype {form[1]}; got {gradient.dtype}.")
        same_device(self._place, self._device, gradient.device)
        return gradient._physical
