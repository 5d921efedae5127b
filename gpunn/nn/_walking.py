"""A module's inner modules, parameters and buffers, by name and in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gpunn._tensor import Tensor
from gpunn.errors import UnknownNameError, nearest
from gpunn.nn.parameter import Parameter

if TYPE_CHECKING:
    from gpunn.nn.module import Module


class Walking:
    """Mixed into :class:`gpunn.nn.Module`."""

    def named_modules(
        self: Any, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module itself and all inner ones, with dotted names; its own name is the prefix.

        Each once, unless ``remove_duplicate`` is False. Those in ``memo`` are left out, and the others added to it.
        """
        seen = set() if memo is None else memo
        for name, module in self._walk(prefix):
            if not remove_duplicate or module not in seen:
                seen.add(module)
                yield name, module

    def _walk(self: Any, prefix: str) -> Iterator[tuple[str, Module]]:
        """Like :meth:`named_modules`, but a module in two places appears twice."""
        yield prefix, self
        for name, inner in self._modules.items():
            if inner is not None:
                yield from inner._walk(f"{prefix}.{name}" if prefix else name)

    def modules(self: Any, remove_duplicate: bool = True) -> Iterator[Module]:
        """The module itself and all inner ones, each once unless ``remove_duplicate`` is False."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self: Any) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, with their names."""
        seen: set[int] = set()
        for name, inner in self._modules.items():
            if inner is not None and id(inner) not in seen:
                seen.add(id(inner))
                yield name, inner

    def children(self: Any) -> Iterator[Module]:
        """The modules directly inside this one."""
        return (module for _, module in self.named_children())

    def _named(self: Any, registry: str, prefix: str, recurse: bool, once: bool = True) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        places = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else ((prefix, self),)
        for place, module in places:
            for name, tensor in getattr(module, registry).items():
                if tensor is not None and not (once and id(tensor) in seen):
                    seen.add(id(tensor))
                    yield f"{place}.{name}" if place else name, tensor

    def named_parameters(
        self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names; a shared one once, under its first name, if ``remove_duplicate``."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self: Any, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with dotted names; a shared one once, under its first name, if ``remove_duplicate``."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self: Any, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self: Any, target: str) -> Module:
        """The inner module with a dotted name; this one for "".

        Raises
        ------
        AttributeError
            If there is none, as in PyTorch.
        """
        return self._at(target, Walking)

    def get_parameter(self: Any, target: str) -> Parameter:
        """The parameter with a dotted name; AttributeError if there is none."""
        return self._at(target, Parameter)

    def get_buffer(self: Any, target: str) -> Tensor:
        """The buffer with a dotted name; AttributeError if there is none."""
        return self._at(target, Tensor)

    def _at(self: Any, target: str, kind: type) -> Any:
        found: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(found, name):
                raise UnknownNameError(
                    f"{type(self).__name__}: '{target}': {type(found).__name__} has no '{name}'"
                    f"{nearest(name, dir(found)) or '.'}"
                )
            found = getattr(found, name)
        if not isinstance(found, kind):
            wanted = "Module" if kind is Walking else kind.__name__
            raise UnknownNameError(f"{type(self).__name__}: '{target}' is a {type(found).__name__}, not a {wanted}.")
        return found
