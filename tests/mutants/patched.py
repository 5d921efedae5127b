"""Puts a changed module in the place of one that is imported. For forked processes: there is no way back."""

from __future__ import annotations

import functools
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path


def forget_launches() -> None:
    """Nothing that launch code has worked out before is remembered: it runs as if for the first time."""
    from gpunn.primitive import REGISTRY

    for cached in _caches():
        cached.cache_clear()
    for primitive in REGISTRY.values():
        if primitive._plans is not None:
            primitive._plans._plans.clear()


@functools.cache
def _caches() -> list[functools._lru_cache_wrapper]:
    """Of launch code; those that are made later are of functions within functions."""
    # By type(): some objects answer isinstance() with a warning.
    found = [o for o in gc.get_objects() if type(o) is functools._lru_cache_wrapper]
    return [o for o in found if getattr(o, "__module__", "").startswith(("gpunn.gpu", "gpunn.ops", "gpunn._window"))]


def change_functions(path: Path, text: str) -> bool:
    """Give the module's functions the code of a changed text; False where that cannot be done.

    Whoever has one of them, a table, a cache or a decorator, has the changed one from now on.
    """
    before, after = (list(_codes(compile(t, str(path), "exec"))) for t in (path.read_text(encoding="utf-8"), text))
    same_places = [(c.co_name, c.co_firstlineno, c.co_freevars) for c in before] == [
        (c.co_name, c.co_firstlineno, c.co_freevars) for c in after
    ]
    if not same_places:
        return False
    changed = {c: a for c, a in zip(before[1:], after[1:], strict=True) if c != a}  # not the module's own
    for function in [o for o in gc.get_objects() if type(o) is types.FunctionType]:
        if function.__code__.co_filename == str(path) and function.__code__ in changed:
            function.__code__ = changed[function.__code__]
    return True


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def import_again(path: Path, text: str, roots: Sequence[str] = ("gpunn", "tests")) -> None:
    """Forget these packages; whoever imports the module at ``path`` from now on gets the changed text."""
    for name in [name for name in sys.modules if name.split(".")[0] in roots]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Changed(path, text))


class _Changed(importlib.abc.MetaPathFinder):
    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or Path(spec.origin) != self._path:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=_Loader(name, self._path, self._text))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: Path, text: str) -> None:
        super().__init__(name, str(path))
        self._text = text

    def get_code(self, fullname: str) -> types.CodeType:  # without the cache of compiled files
        return compile(self._text, self.path, "exec", dont_inherit=True)
