"""einops learns what to do with tensors: the backend that it looks for, made when einops is imported.

einops asks the subclasses of its own AbstractBackend who takes an array. So ours cannot exist before einops does, and
einops tells nobody that it has been imported. ``_interop.py`` has the finder that notices.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from gpunn._creation_counted import arange
from gpunn._creation_shared import from_numpy
from gpunn._tensor import Tensor
from gpunn.ops.cat import cat, stack
from gpunn.ops.einsum import einsum


def register(backends: ModuleType) -> None:
    """Add a backend for tensors to the module ``einops._backends``."""
    base: Any = getattr(backends, "AbstractBackend", None)
    if base is None:  # an einops of the future; it may be used for other arrays, so its import goes on
        warnings.warn("gpunn: this version of einops is not known here, and cannot take gpunn's tensors.", stacklevel=2)
        return

    class GpunnBackend(base):  # type: ignore[misc]
        """What einops needs of a library; it makes one when it first meets an array that nobody else takes."""

        framework_name = "gpunn"

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Tensor)

        def from_numpy(self, x: Any) -> Tensor:
            made = from_numpy(x)
            return made.requires_grad_() if made.is_floating_point() else made

        def to_numpy(self, x: Tensor) -> Any:
            return x.detach().cpu().numpy()

        def arange(self, start: int, stop: int) -> Tensor:
            return arange(start, stop)

        def transpose(self, x: Tensor, axes: Sequence[int]) -> Tensor:
            return x.permute(*axes)

        def reduce(self, x: Tensor, operation: str, axes: Sequence[int]) -> Tensor:
            if operation in ("min", "max"):
                return getattr(x, f"a{operation}")(dim=axes)
            if operation in ("sum", "mean"):
                return getattr(x, operation)(dim=axes)
            for axis in sorted(axes, reverse=True):  # prod, any and all take one axis
                x = getattr(x, operation)(dim=axis)
            return x

        def stack_on_zeroth_dimension(self, tensors: list[Tensor]) -> Tensor:
            return stack(tensors)

        def add_axis(self, x: Tensor, new_position: int) -> Tensor:
            return x.unsqueeze(new_position)

        def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Tensor:
            for position in sorted(pos2len):
                x = x.unsqueeze(position)
            return x.expand(*(pos2len.get(axis, -1) for axis in range(n_axes)))

        def tile(self, x: Tensor, repeats: Sequence[int]) -> Tensor:
            return x.repeat(*repeats)

        def concat(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
            return cat(tensors, dim=axis)

        def is_float_type(self, x: Tensor) -> bool:
            return x.is_floating_point()

        def einsum(self, pattern: str, *x: Tensor) -> Tensor:
            return einsum(pattern, *x)

        def layers(self) -> ModuleType:
            from gpunn.nn import einops

            return einops

    # A class knows its subclasses, but does not keep them.
    backends.GpunnBackend = GpunnBackend  # type: ignore[attr-defined]


def spec_that_registers(finders: Sequence[Any], name: str, path: Any, target: Any) -> ModuleSpec | None:
    """The module's spec as the other finders have it, with a loader that registers once the module has run."""
    found = (finder.find_spec(name, path, target) for finder in finders if hasattr(finder, "find_spec"))
    spec: ModuleSpec | None = next((spec for spec in found if spec is not None), None)
    if spec is not None and spec.loader is not None:
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            register(module)

        # On the one object, which the module keeps: so it is still the loader that others ask for its source.
        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
    return spec
