"""Sequential, ModuleList, ModuleDict and ParameterList."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from gpunn._capture_state import changes
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.errors import RangeError, UnknownNameError, UsageError, nearest
from gpunn.nn.fusion import plan
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter


class _Container(Module):
    """Modules in order, by number."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def _name_at(self, index: int) -> str:
        """The name at an index, which may count from the end."""
        place = as_int(index)
        if place is None or not -len(self) <= place < len(self):
            # An IndexError ends a loop, and is what PyTorch raises.
            raise RangeError(f"{type(self).__name__}: no module {index!r}; there are {len(self)}.")
        return list(self._modules)[place]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name_at(index), module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns itself."""
        number = len(self)
        while str(number) in self._modules:  # a slice keeps its names, which may go beyond its length
            number += 1
        self.add_module(str(number), _checked(type(self).__name__, number, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end; returns itself."""
        for module in tuple(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before the one at ``index``, which may be the length; all are numbered anew. Returns itself."""
        place = as_int(index)
        if place is None or not -len(self) <= place <= len(self):
            raise RangeError(f"{type(self).__name__}: no place {index!r} to insert at; there are {len(self)} modules.")
        members = list(self)
        members.insert(place % len(self) if place < 0 else place, _checked(type(self).__name__, index, module))
        self._renumber(members)
        return self

    def pop(self, index: int) -> Module:
        """Take out the module at ``index`` and return it; the others are numbered anew."""
        module: Any = self._modules[self._name_at(index)]
        del self[index]
        return module

    def __delitem__(self, index: int | slice) -> None:
        """Take out a module, or several; the others are numbered anew."""
        members = list(self)
        if isinstance(index, slice):
            del members[index]
        else:
            del members[list(self._modules).index(self._name_at(index))]
        self._renumber(members)

    def _renumber(self, members: list[Module]) -> None:
        self._modules.clear()
        self._modules.update({str(number): module for number, module in enumerate(members)})
        changes.count += 1
        changes.layers += 1

    def __iadd__(self, modules: Iterable[Module]) -> Any:
        return self.extend(modules)


class Sequential(_Container):
    """Modules called one after the other, each with what the one before returned.

    Parameters
    ----------
    *modules : Module, or one mapping of str to Module
        Named 0, 1, ...; with a mapping (``OrderedDict``) by its keys.

    Notes
    -----
    A ReLU directly after a Conv2d, Linear or batch normalisation, or a Flatten after a MaxPool2d, runs inside
    it: see ``nn.fusion``.
    A slice is a Sequential that shares its modules and their names.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        # The calls that a forward makes, and the count of changes for which they are right.
        self.__dict__["_calls"] = (-1, ())
        named: Iterable[tuple[str, Any]] = ((str(number), module) for number, module in enumerate(modules))
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = modules[0].items()
        for name, module in named:
            self.add_module(name, _checked(type(self).__name__, name, module))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_calls": (-1, ())}  # another process counts for itself

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._name_at(index)]

    def __add__(self, other: Sequential) -> Sequential:
        """The modules of both, which it shares, numbered anew."""
        if not isinstance(other, Sequential):
            raise UsageError(f"Sequential: +: expected another Sequential; got {type(other).__name__}.")
        return Sequential(*self, *other)

    def forward(self, x: Any) -> Any:
        count, calls = self._calls
        if count != changes.layers:
            calls = tuple(plan(list(self)))
            self.__dict__["_calls"] = changes.layers, calls  # setting an attribute would be a change
        for module, keywords in calls:
            x = module(x, **keywords)
        return x


class ModuleList(_Container):
    """A list of modules whose parameters belong to the module it is an attribute of.

    Parameters
    ----------
    modules : iterable of Module, optional
        None among them is kept as it is: no module at that place.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return ModuleList(list(self)[index])
        return self._modules[self._name_at(index)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        """The modules of both, which it shares."""
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Neighbours that are alike are written once, with their number, as PyTorch does."""
        lines, first = [], 0
        for text, alike in itertools.groupby(map(repr, self._modules.values())):
            count = len(list(alike))
            place = f"({first})" if count == 1 else f"({first}-{first + count - 1})"
            lines.append(f"{place}: {'' if count == 1 else f'{count} x '}{text}".replace("\n", "\n  "))
            first += count
        body = "\n  ".join(lines)
        return f"{type(self).__name__}(\n  {body}\n)" if lines else f"{type(self).__name__}()"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError("ModuleList: a list cannot be called; loop over its modules, or use Sequential.")


class ModuleDict(Module):
    """Modules by name, whose parameters belong to the module it is an attribute of.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional
        None among them is kept as it is: no module of that name.

    Examples
    --------
    >>> from gpunn import nn
    >>> heads = nn.ModuleDict({"class": nn.Linear(8, 3), "box": nn.Linear(8, 4)})
    >>> sorted(heads), heads["box"].out_features, "age" in heads
    (['box', 'class'], 4, False)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(() if modules is None else modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, replacing those of the same name."""
        for pair in modules.items() if isinstance(modules, Mapping) else modules:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UsageError(f"ModuleDict: expected a dict or pairs of name and module; got {type(pair).__name__}.")
            self[pair[0]] = pair[1]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, _checked(type(self).__name__, name, module))

    def __getitem__(self, name: str) -> Module:
        if name not in self._modules:
            raise self._unknown(name)
        module: Any = self._modules[name]
        return module

    def _unknown(self, name: Any) -> UnknownNameError:
        return UnknownNameError(f"ModuleDict: no module {name!r}{nearest(str(name), self._modules) or '.'}")

    def __delitem__(self, name: str) -> None:
        if name not in self._modules:
            raise self._unknown(name)
        del self._modules[name]
        changes.count += 1
        changes.layers += 1

    def pop(self, name: str) -> Module:
        """Take out a module and return it."""
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        """Take out all modules."""
        for name in tuple(self):
            del self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Iterable[str]:
        """The names, in order."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules, in order."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and module, in order."""
        return self._modules.items()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError("ModuleDict: it cannot be called; call one of its modules.")


class ParameterList(Module):
    """Parameters in order, which belong to the module it is an attribute of.

    Parameters
    ----------
    values : iterable of Parameter or Tensor, optional
        Tensors become parameters.
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        for value in () if values is None else values:
            self.append(value)

    def append(self, value: Tensor) -> ParameterList:
        """Add a parameter at the end; returns itself."""
        if not isinstance(value, Tensor):
            raise UsageError(f"ParameterList: expected parameters or tensors; got {type(value).__name__}.")
        parameter = value if isinstance(value, Parameter) else Parameter(value)
        self.register_parameter(str(len(self)), parameter)
        return self

    def extend(self, values: Iterable[Tensor]) -> ParameterList:
        """Add parameters at the end; returns itself."""
        for value in tuple(values):
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Tensor]) -> ParameterList:
        return self.extend(values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters(recurse=False))

    def __getitem__(self, index: int) -> Parameter:
        if not -len(self) <= index < len(self):
            raise RangeError(f"ParameterList: no parameter {index}; there are {len(self)}.")
        found = self._parameters[str(index % len(self))]
        assert found is not None
        return found

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError("ParameterList: a list cannot be called; use its parameters.")

    def extra_repr(self) -> str:
        return "\n".join(f"({name}): Parameter {tuple(p.shape)}" for name, p in self.named_parameters())


def _checked(container: str, name: Any, module: Any) -> Any:
    # What is called in order needs all of them; a list or dict may say that there is none at a place.
    if not (isinstance(module, Module) or (module is None and container != "Sequential")):
        hint = " Give an instance, with parentheses." if isinstance(module, type) else ""
        raise UsageError(f"{container}: expected modules; got {type(module).__name__} at {name!r}.{hint}")
    return module
