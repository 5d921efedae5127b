"""What lazy layers share: how their first batch makes them plain layers."""

from __future__ import annotations

from typing import Any, ClassVar

from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, ShapeError, UsageError, here
from gpunn.nn._hooks import RemovableHandle
from gpunn.nn._uninitialized import UninitializedBuffer, UninitializedParameter, is_uninitialized
from gpunn.nn.batchnorm import BatchNorm1d, _BatchNorm
from gpunn.nn.instancenorm import _InstanceNorm
from gpunn.nn.module import Module
from gpunn.tape import no_grad


def _at_first_batch(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The hook before a lazy layer's first forward."""
    x = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(x, Tensor):
        raise ArgumentError(f"{here(type(module).__name__)}: x: expected a Tensor; got {type(x).__name__}.")
    module.initialize_parameters(x)
    module._initialize_hook.remove()
    del module._initialize_hook
    module.__class__ = module.cls_to_become


class Lazy(Module):
    """What lazy layers share. They are made with a number of inputs that stands for the unknown one."""

    cls_to_become: ClassVar[type[Module]]
    _count: ClassVar[str]  # the attribute with the number of inputs; 0 while that is unknown
    _made = False  # whether the plain layer's constructor is through
    _initialize_hook: RemovableHandle

    def _forget(self, *names: str) -> None:
        """Put uninitialised parameters and buffers in the place of those of these names that there are."""
        for name in names:
            old = getattr(self, name)
            if old is not None:
                kind = UninitializedParameter if name in self._parameters else UninitializedBuffer
                setattr(self, name, kind(device=old.device, dtype=old.dtype))
        setattr(self, self._count, 0)
        self._made = True
        self._initialize_hook = self.register_forward_pre_hook(_at_first_batch, with_kwargs=True)

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer has no shape yet."""
        return any(map(is_uninitialized, (*self._parameters.values(), *self._buffers.values())))

    def reset_parameters(self) -> None:
        """Draw new initial values, if there are any yet."""
        if self._made and getattr(self, self._count):
            super().reset_parameters()  # type: ignore[misc]  # the plain layer's

    def initialize_parameters(self, x: Tensor) -> None:
        """Make parameters and buffers for inputs like x, and draw their values, unless they have been loaded."""
        count = self._inputs_of(x)
        wanted = {
            name: tensor
            for name, tensor in (*self._parameters.items(), *self._buffers.items())
            if tensor is not None and name != "num_batches_tracked"
        }
        waiting = {name: tensor for name, tensor in wanted.items() if is_uninitialized(tensor)}
        if waiting and len(waiting) < len(wanted):
            raise UsageError(
                f"{here(type(self).__name__)}: only a part of its parameters has been loaded: {', '.join(waiting)} "
                f"{'is' if len(waiting) == 1 else 'are'} missing. Load a whole state_dict, or none."
            )
        if not waiting:  # they have been loaded, and the forward compares them with x
            setattr(self, self._count, self._loaded(count))
            return
        shapes = self._shapes(count)
        setattr(self, self._count, count)
        with no_grad():
            for name, tensor in waiting.items():
                tensor.materialize(shapes[name])
            self.reset_parameters()

    def _inputs_of(self, x: Tensor) -> int:
        """How many inputs x has."""
        axes: tuple[int, ...]
        if isinstance(self, _BatchNorm):
            axes = (self._ndims[0] - 1, *self._ndims) if isinstance(self, _InstanceNorm) else self._ndims
        else:
            axes = (len(self.kernel_size) + 1, len(self.kernel_size) + 2)
        if x.ndim not in axes:
            raise ShapeError(
                f"{here(type(self).__name__)}: expected x with {' or '.join(map(str, axes))} axes; got {x.shape}."
            )
        return x.shape[1] if x.ndim == max(axes) or isinstance(self, BatchNorm1d) else x.shape[0]

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        """Of all parameters and buffers, for ``count`` inputs."""
        raise NotImplementedError

    def _loaded(self, count: int) -> int:
        """How many inputs the loaded parameters are for; ``count`` if they do not say."""
        raise NotImplementedError
