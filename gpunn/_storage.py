"""Who sees a tensor's memory: the storage that a tensor shares with its views and twins, and how often it changed."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

References = dict[int, "weakref.ref[Tensor]"]  # by the tensor's id

# Copied views of all storages. A captured graph does not say which memory it writes to, so that after a replay all of
# them have to be read again.
_copied: References = {}


def _remember(references: References, tensor: Tensor) -> None:
    """Keep a weak reference, which removes itself. All steps are single calls, so that threads need no lock."""
    key = id(tensor)
    if key not in references:
        references[key] = weakref.ref(tensor, lambda _: references.pop(key, None))


class Sharing:
    """What a storage knows once somebody shares it.

    Attributes
    ----------
    root : array or None
        All of the memory, physical, as the first tensor has it. None until there is a second tensor.
    exported : bool
        Whether an array library sees the memory too, so that it may change at any time.
    lent : bool
        Whether it is a view's copy, which others read: it has to be copied before it is written to.
    tensors : dict
        Weak references to all that share it.
    fragile : dict
        To those of them that a change concerns: views that are copies, or were made under ``no_grad()``.
    """

    __slots__ = ("exported", "fragile", "lent", "root", "tensors")

    def __init__(self) -> None:
        self.root: Any = None
        self.exported = False
        self.lent = False
        self.tensors: References = {}
        self.fragile: References = {}


class Storage:
    """The memory that a tensor, its views and its twins have in common.

    Attributes
    ----------
    count : int
        In-place changes so far. A node that saved an array compares it.
    sharing : Sharing or None
        None while one tensor alone has it.
    """

    __slots__ = ("count", "sharing")
    kept = False  # whether graphs or users may have noted its address: it was made from an array, not by an op

    def __init__(self) -> None:
        self.count = 0
        self.sharing: Sharing | None = None

    def shared(self) -> Sharing:
        """What it knows about sharing, from now on."""
        if self.sharing is None:
            self.sharing = Sharing()
        return self.sharing

    def is_lent(self) -> bool:
        """Whether the memory has to be copied before it is written to."""
        return self.sharing is not None and self.sharing.lent

    def is_exported(self) -> bool:
        """Whether an array library sees the memory too."""
        return self.sharing is not None and self.sharing.exported

    def export(self) -> None:
        """Note that an array library sees the memory from now on: nothing that was copied from it stays valid."""
        self.shared().exported = True
        for tensor in self._alive(self.shared().fragile):
            forget_copy(tensor)

    def add(self, owner: Tensor, other: Tensor) -> None:
        """Let ``other`` share the storage of ``owner``, and both be known to it."""
        sharing = self.shared()
        if sharing.root is None:
            sharing.root = owner._physical
        _remember(sharing.tensors, owner)
        _remember(sharing.tensors, other)
        other._storage = self

    def others(self, tensor: Tensor) -> list[Tensor]:
        """The living tensors that share it with ``tensor``."""
        return [] if self.sharing is None else [t for t in self._alive(self.sharing.tensors) if t is not tensor]

    def _alive(self, references: References) -> list[Tensor]:
        # list() allocates nothing once it has begun; behind an allocation the collector may take entries out.
        known = [ref() for ref in list(references.values())]
        return [t for t in known if t is not None and t._storage is self]

    def belongs_to(self, tensor: Tensor) -> bool:
        """Whether nobody but ``tensor`` sees the memory, so that it may be exchanged for other memory."""
        return self.sharing is None or not (self.sharing.exported or self.sharing.lent or self.others(tensor))

    def changed(self, writer: Tensor | None = None) -> None:
        """Note an in-place change; copies of the memory are made anew when next read, but for the writer's own."""
        self.count += 1
        if self.sharing is not None and self.sharing.fragile:
            fragile = self.sharing.fragile
            for tensor in self._alive(fragile):
                fragile.pop(id(tensor), None)  # it is noted again when it has read what has changed
                if tensor is writer:
                    note_view(tensor)
                else:
                    forget_copy(tensor)
                view = tensor._view
                if view is not None and not view.recorded and view.base is not None and view.base.requires_grad:
                    forget_place(tensor)


class KeptStorage(Storage):
    """The memory of a tensor that was made from an array."""

    __slots__ = ()
    kept = True


def note_view(tensor: Tensor) -> None:
    """Note a view that is new, or has been read anew, as far as changes of its storage concern it."""
    view = tensor._view
    if view is None or not (view.copied or not view.recorded):
        return
    _remember(tensor._storage.shared().fragile, tensor)
    if view.copied:
        _remember(_copied, tensor)


def forget_copies() -> None:
    """Have all copied views read their storage again: memory has been written to by a captured graph."""
    if _copied:
        for key in list(_copied):
            ref = _copied.get(key)
            tensor = None if ref is None else ref()
            if tensor is not None:
                _copied.pop(key, None)  # it is noted again when it has been read
                forget_copy(tensor)


def forget_place(tensor: Tensor) -> None:
    """Have a view find its place on the tape again when it is next asked for: its base has another one."""
    _forget(tensor, "_node", "requires_grad")


def forget_copy(tensor: Tensor) -> None:
    """Have a copied view read its storage again when its array is next asked for."""
    view = tensor._view
    if view is not None and view.copied:
        view.rows = None
        _forget(tensor, "_physical")


# By a class of tensors: the one that its tensors have while something is missing from them. Python calls __getattr__
# for an empty slot, but classes that have it are slower in every look at an attribute, so only such tensors are of one.
_incomplete: dict[type, type] = {}


def _forget(tensor: Tensor, *slots: str) -> None:
    for name in slots:
        with contextlib.suppress(AttributeError):  # it is empty already
            delattr(tensor, name)
    kind = type(tensor)
    if kind._complete is None:
        tensor.__class__ = incomplete(kind)


def incomplete(kind: Any) -> Any:
    """The class of such tensors as ``kind`` while something is missing from them."""
    if kind not in _incomplete:
        members = {"__slots__": (), "__doc__": kind.__doc__, "__module__": kind.__module__, "_complete": kind}
        _incomplete[kind] = type(kind.__name__, (kind._lacking, kind), members)
    return _incomplete[kind]


def complete(tensor: Tensor) -> None:
    """Give a tensor its own class again if nothing is missing from it any more."""
    kind = type(tensor)._complete
    if kind is not None:
        with contextlib.suppress(AttributeError):
            for name in ("_physical", "_node", "requires_grad"):
                object.__getattribute__(tensor, name)
            tensor.__class__ = kind
