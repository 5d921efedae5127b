"""Hooks: functions called before and after a module's forward, and when its gradients are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunn._capture_state import changes
from gpunn._function import Function
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError

Hook = Callable[..., Any]


class RemovableHandle:
    """Removes a hook; usable as a context manager."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook, prepend: bool = False, with_kwargs: bool = False) -> None:
        if not callable(hook):
            raise UsageError(f"expected a hook that can be called; got {type(hook).__name__}.")
        self._hooks = hooks
        self._key = max(hooks, default=-1) + 1
        others = dict(hooks) if prepend else {}
        if prepend:
            hooks.clear()
        hooks[self._key] = WithKeywords(hook) if with_kwargs else hook
        hooks.update(others)
        changes.layers += 1

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        self._hooks.pop(self._key, None)
        changes.layers += 1

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class WithKeywords:
    """A hook that is given the keyword arguments too."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def __call__(self, *args: Any) -> Any:
        return self._hook(*args)


_Given = tuple[tuple[Any, ...], dict[str, Any]]  # to a forward, by position and by keyword


def before_forward(module: Any, hooks: dict[int, Hook], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Given:
    """The arguments after ``hook(module, args)``; one value stands for a tuple of one."""
    for hook in tuple(hooks.values()):
        if isinstance(hook, WithKeywords):
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not isinstance(replaced, tuple) or len(replaced) != 2 or not isinstance(replaced[1], dict):
                    raise UsageError(
                        f"{type(module).__name__}: expected a hook with_kwargs to return None or (args, kwargs); got "
                        f"{type(replaced).__name__}."
                    )
                args, kwargs = replaced
            continue
        replaced = hook(module, args)
        if replaced is not None:
            args = replaced if isinstance(replaced, tuple) else (replaced,)
    return args, kwargs


def after_forward(hook: Hook, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    """What ``hook(module, args, result)`` returns in place of the result; None if nothing."""
    if isinstance(hook, WithKeywords):
        return hook(module, args, kwargs, result)
    return hook(module, args, result)


class _Watch:
    """One call of a module with backward hooks: collects gradients of the outputs first, then those of the inputs."""

    def __init__(self, module: Any, hooks: Sequence[Hook], inputs: tuple[Any, ...]) -> None:
        self.module, self.hooks = module, hooks
        self.asks = any(isinstance(a, Tensor) and a.requires_grad for a in inputs)
        self.nothing = (None,) * len(inputs)
        self.dy: tuple[Any, ...] = ()

    def outputs_known(self, dy: tuple[Any, ...]) -> None:
        self.dy = dy
        if not self.asks:  # the inputs' gradients will never be computed
            self.call(self.nothing)

    def call(self, dx: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            replaced = hook(self.module, dx, self.dy)
            if replaced is not None:
                new = replaced if isinstance(replaced, tuple) else (replaced,)
                if len(new) != len(dx):
                    raise ShapeError(
                        f"{type(self.module).__name__}: expected a backward hook to return {len(dx)} gradients, one "
                        f"for each positional input; got {len(new)}."
                    )
                dx = new
        return dx


class _Inputs(Function):
    """Returns the inputs unchanged; their gradients go through the hooks."""

    @staticmethod
    def forward(ctx: Any, watch: _Watch, *inputs: Any) -> Any:
        ctx.watch = watch
        return inputs

    @staticmethod
    def backward(ctx: Any, *dx: Any) -> Any:
        wanted = ctx.needs_input_grad[1:]
        seen = tuple(g if need else None for g, need in zip(dx, wanted, strict=True))
        return (None, *ctx.watch.call(seen))


class _Outputs(Function):
    """Returns the outputs unchanged; notes their gradients."""

    @staticmethod
    def forward(ctx: Any, watch: _Watch, *outputs: Any) -> Any:
        ctx.watch = watch
        return outputs

    @staticmethod
    def backward(ctx: Any, *dy: Any) -> Any:
        ctx.watch.outputs_known(dy)
        return (None, *dy)


def watched_forward(module: Any, hooks: dict[int, Hook], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward``, with backward hooks on the tensors that go in by position and come out."""
    watch = _Watch(module, tuple(hooks.values()), args)
    result = module.forward(*(_Inputs.apply(watch, *args) if args else ()), **kwargs)
    if isinstance(result, tuple):
        return _Outputs.apply(watch, *result)
    return _Outputs.apply(watch, result)[0]
