"""ParameterDict."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpunn._tensor import Tensor
from gpunn.errors import UnknownNameError, UsageError, nearest
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter


class ParameterDict(Module):
    """Parameters by name, which belong to the module it is an attribute of.

    Parameters
    ----------
    parameters : mapping of str to Tensor, or iterable of pairs, optional
        Tensors become parameters.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> scales = nn.ParameterDict({"in": gpunn.ones(2), "out": gpunn.ones(3)})
    >>> list(scales), scales["out"].shape, "age" in scales
    (['in', 'out'], (3,), False)
    """

    def __init__(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None) -> None:
        super().__init__()
        self.update(() if parameters is None else parameters)

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add parameters, replacing those of the same name; those of a plain dict sorted by name, as in PyTorch."""
        pairs: Iterable[Any] = parameters
        if isinstance(parameters, OrderedDict | ParameterDict):
            pairs = parameters.items()
        elif isinstance(parameters, Mapping):
            pairs = sorted(parameters.items(), key=lambda pair: str(pair[0]))
        for pair in pairs:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UsageError(
                    f"ParameterDict: expected a dict or pairs of name and parameter; got {type(pair).__name__}."
                )
            self[pair[0]] = pair[1]

    def __setitem__(self, name: str, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise UsageError(f"ParameterDict: expected a parameter or tensor for {name!r}; got {type(value).__name__}.")
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def __getitem__(self, name: str) -> Parameter:
        found = self._parameters.get(name) if isinstance(name, str) else None
        if found is None:
            raise UnknownNameError(f"ParameterDict: no parameter {name!r}{nearest(str(name), self._parameters) or '.'}")
        return found

    def __delitem__(self, name: str) -> None:
        _ = self[name]
        delattr(self, name)

    def pop(self, name: str) -> Parameter:
        """Take out a parameter and return it."""
        found = self[name]
        del self[name]
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter of this name, or ``default``."""
        found = self._parameters.get(name)
        return default if found is None else found

    def clear(self) -> None:
        """Take out all parameters."""
        for name in tuple(self):
            del self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def keys(self) -> Iterable[str]:
        """The names, in order."""
        return self._parameters.keys()

    def values(self) -> Iterable[Any]:
        """The parameters, in order."""
        return self._parameters.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and parameter, in order."""
        return self._parameters.items()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError("ParameterDict: it cannot be called; use its parameters.")

    def extra_repr(self) -> str:
        return "\n".join(f"({name}): Parameter {tuple(p.shape)}" for name, p in self.items())
