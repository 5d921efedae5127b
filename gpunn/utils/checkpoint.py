"""Less memory for more arithmetic: what a part of a network computes is thrown away, and computed again in backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn import tape
from gpunn._calls import explains_all
from gpunn._capture_state import watching
from gpunn._creation import zeros
from gpunn._function import Function
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn.containers import Sequential
from gpunn.random import go_back, places

__all__ = ["checkpoint", "checkpoint_sequential"]

COMPUTED_AGAIN = "_Recomputed"  # the name of nodes whose backward reaches leaves that the tape does not show before


class _Recomputed(Function):
    """The first argument asks for a gradient, as PyTorch's newer form does: parameters may be all that needs one."""

    @staticmethod
    def forward(ctx: Any, spark: Tensor, run: _Run, *args: Any) -> Any:
        ctx.run = run
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*[a if isinstance(a, Tensor) else None for a in args])
        return run(args)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        args: list[Any] = [
            other if saved is None else saved.detach()
            for saved, other in zip(ctx.saved_tensors, ctx.others, strict=True)
        ]
        for a, needed in zip(args, ctx.needs_input_grad[2:], strict=True):
            if needed:
                a.requires_grad = True
        outputs = ctx.run.again(args)
        made = outputs if isinstance(outputs, tuple) else (outputs,)
        tape.walk_within(
            [
                (y, dy._physical)
                for y, dy in zip(made, gradients, strict=True)
                if dy is not None and isinstance(y, Tensor) and y.requires_grad
            ]
        )
        return (None, None, *[a.grad if isinstance(a, Tensor) else None for a in args])


class _Run:
    """A call that can be made twice with the same random numbers."""

    def __init__(self, function: Callable[..., Any], kwargs: dict[str, Any], preserves: bool) -> None:
        self._function = function
        self._kwargs = kwargs
        self._places = places() if preserves else []

    def __call__(self, args: Sequence[Any]) -> Any:
        return self._function(*args, **self._kwargs)

    def again(self, args: Sequence[Any]) -> Any:
        now = [known for known in places() if self._places]
        go_back(self._places)
        try:
            with tape.enable_grad():
                return self(args)
        finally:
            go_back(now)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Any = None,
    determinism_check: str = "default",
    debug: bool = False,
    preserve_rng_state: bool = True,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which nothing is kept for backward but ``args``: backward calls it again.

    What it holds meanwhile is its arguments and results. Buffers that a call changes, such as the averages of batch
    norm, are changed twice, as in PyTorch. A captured step calls it once and keeps what backward needs.

    Parameters
    ----------
    function : callable
        Returns a tensor, or a tuple with tensors.
    *args : any
        Tensors among them get gradients.
    preserve_rng_state : bool
        Whether the second call draws the same random numbers.
    use_reentrant, determinism_check, debug, early_stop
        Change nothing.
    context_fn : None
        There are no other contexts.
    **kwargs : any
        Given to ``function`` too; tensors among them get no gradient, and are kept.

    Returns
    -------
    What ``function`` returns.

    Raises
    ------
    UsageError
        If ``function`` is not callable, or ``context_fn`` is given.
    GraphError
        In backward, if an argument has been changed in place meanwhile.

    References
    ----------
    Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.utils.checkpoint import checkpoint
    >>> x = gpunn.ones(2, requires_grad=True)
    >>> checkpoint(lambda v: (v * v).exp(), x, use_reentrant=False).sum().backward()
    >>> [round(v, 4) for v in x.grad.tolist()]
    [5.4366, 5.4366]
    """
    if context_fn is not None:
        raise UsageError("checkpoint: context_fn: there are no other contexts. Leave it out.")
    if not callable(function):
        raise UsageError(f"checkpoint: function: expected something to call; got {type(function).__name__}.")
    if not tape.is_grad_enabled() or watching() is not None:
        return function(*args, **kwargs)
    home = next((a.device for a in args if isinstance(a, Tensor)), "cpu")
    spark = zeros(1, device=home, requires_grad=True)
    return _Recomputed.apply(spark, _Run(function, kwargs, preserve_rng_state), *args)


def checkpoint_sequential(
    functions: Sequential | Sequence[Callable[[Any], Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """A chain of layers in ``segments`` parts of equal length, all but the last of which are called again in backward.

    Parameters
    ----------
    functions : Sequential or sequence of callable
    segments : int
        At least 1, and at most the number of layers.
    input : Tensor
        Of the first layer.
    use_reentrant : bool, optional
        Changes nothing.
    **kwargs : any
        Of :func:`checkpoint`.

    Returns
    -------
    What the last layer returns.

    Raises
    ------
    UsageError
        If there are fewer layers than segments.

    References
    ----------
    Chen, Xu, Zhang, Guestrin 2016, arXiv:1604.06174, section 3.
    """
    layers = list(functions.children()) if isinstance(functions, Sequential) else list(functions)
    if not 1 <= segments <= len(layers):
        raise UsageError(
            f"checkpoint_sequential: segments: expected 1 to {len(layers)}, the number of layers; got {segments}."
        )
    length = len(layers) // segments

    def part(begin: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for layer in layers[begin:end]:
                x = layer(x)
            return x

        return run

    last = length * (segments - 1)
    for begin in range(0, last, length):
        input = checkpoint(part(begin, begin + length), input, use_reentrant=use_reentrant, **kwargs)
    return part(last, len(layers))(input)


explains_all(globals())
