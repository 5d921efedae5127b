"""What an optimiser keeps for each parameter: a mapping whose keys are the parameters themselves."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from gpunn._capture_state import changes
from gpunn._tensor import Tensor
from gpunn.errors import UsageError


class Buffers(dict[str, Any]):
    """One parameter's buffers by name; counts changes, which a captured step has to follow."""

    def __setitem__(self, name: str, buffer: Any) -> None:
        super().__setitem__(name, buffer)
        changes.count += 1

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        changes.count += 1

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As of a dict."""
        super().update(*args, **kwargs)
        changes.count += 1

    def __ior__(self, other: Any) -> Buffers:  # type: ignore[override, misc]
        self.update(other)
        return self

    def setdefault(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        changes.count += 1
        return super().setdefault(name, default)

    def pop(self, *args: Any) -> Any:
        """As of a dict."""
        changes.count += 1
        return super().pop(*args)

    def popitem(self) -> tuple[str, Any]:
        """As of a dict."""
        changes.count += 1
        return super().popitem()

    def clear(self) -> None:
        """As of a dict."""
        changes.count += 1
        super().clear()


class ParameterState(MutableMapping[Tensor, dict[str, Any]]):
    """A mapping from tensors, compared by identity, to dicts of buffers.

    A dict would find a tensor by its hash, which is its identity, but then compare with ``==``, which for tensors
    is elementwise. So entries are looked up by ``id``, and hold their tensor: no id is used twice.
    As in PyTorch, indexing with a parameter that has no entry makes an empty one; ``in`` and ``get`` do not.

    Examples
    --------
    >>> import gpunn
    >>> p = gpunn.ones(2, requires_grad=True)
    >>> optimizer = gpunn.optim.Adam([p])
    >>> p.sum().backward()
    >>> optimizer.step()
    >>> sorted(optimizer.state[p])
    ['exp_avg', 'exp_avg_sq', 'step']
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Tensor, dict[str, Any]]] = {}
        changes.count += 1  # it takes the place of another

    def __getitem__(self, parameter: Tensor) -> dict[str, Any]:
        found = self._entries.get(id(parameter))
        if found is None:
            self[parameter] = {}
            found = self._entries[id(parameter)]
        return found[1]

    def __setitem__(self, parameter: Tensor, buffers: dict[str, Any]) -> None:
        if not isinstance(parameter, Tensor):
            raise UsageError(f"optimiser state: expected a parameter as the key; got {type(parameter).__name__}.")
        self._entries[id(parameter)] = parameter, Buffers(buffers)
        changes.count += 1

    def __delitem__(self, parameter: Tensor) -> None:
        del self._entries[id(parameter)]
        changes.count += 1

    def __contains__(self, parameter: object) -> bool:
        return id(parameter) in self._entries

    def get(self, parameter: Tensor, default: Any = None) -> Any:
        """The parameter's buffers, or ``default``."""
        found = self._entries.get(id(parameter))
        return default if found is None else found[1]

    def __iter__(self) -> Iterator[Tensor]:
        return (parameter for parameter, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"ParameterState({list(self.items())!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Entry by entry: a copy's parameters have other ids.
        return ParameterState, (), None, None, iter(list(self.items()))
