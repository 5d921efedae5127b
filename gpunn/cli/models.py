"""Which network the command line names: one of the model zoo, or a class in the user's file."""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gpunn.errors import UsageError, nearest, quoted

if TYPE_CHECKING:
    from gpunn.models import ModelEntry
    from gpunn.nn.module import Module

MODEL_HELP = "a network's name, such as lenet5, or file.py:Net for a class or function of your own"


def resolve(text: str) -> ModelEntry:
    """The network that ``text`` names.

    ``file.py:Net`` is a Module class, or a function that returns one, in a Python file. It is called
    with ``input_shape=(C, H, W)`` and ``classes=`` if it has parameters of these names, else without. Its
    attribute ``input_shape``, if any, is the customary shape of an image.

    Raises
    ------
    UsageError
        If there is no such network or file, or the file cannot be run; the message says why.
    """
    from gpunn.models import ModelEntry, find

    path, _, name = text.rpartition(":")
    if not is_file(text):
        if text.endswith(".py"):
            raise UsageError(f"model {text!r}: expected file.py:Net, with the name of the class behind a colon.")
        return find(text)
    make = _attribute(_run_file(Path(path)), path, name)
    return ModelEntry(_builder(make, text), _stated_shape(make, text), f"from {path}")


def _stated_shape(make: Any, text: str) -> tuple[int, int, int]:
    """The attribute ``input_shape`` of a class or function; zeros if it has none, or computes one for each network."""
    shape = getattr(make, "input_shape", None)
    if shape is None or isinstance(shape, property):
        return 0, 0, 0
    if not isinstance(shape, tuple | list) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
        raise UsageError(
            f"model {quoted(text, 200)}: input_shape: expected the (C, H, W) of an image, whole numbers; got "
            f"{quoted(shape)}."
        )
    return shape[0], shape[1], shape[2]


def resolve_saved(name: str, given: str | None, trust: bool) -> ModelEntry:
    """The network of a saved run, without running a file that only the run's ``config.json`` names.

    A run folder is data, and may come from anybody. A file of Python in it, or one elsewhere on this machine whose
    name it holds, is run only at the user's own word.

    Parameters
    ----------
    name : str
        What ``config.json`` names.
    given : str or None
        What the user named on the command line (``--model``). It is used in place of ``name``.
    trust : bool
        Whether the user said that files named by the run may be run (``--trust``).

    Raises
    ------
    UsageError
        If ``name`` is a file of Python, which the user has neither named nor allowed; or as in :func:`resolve`.
    """
    if given is not None:
        return resolve(given)
    if is_file(name) and not trust:
        raise UsageError(
            f"the run's network is {quoted(name, 200)}, a file of Python, which is not run only because a run "
            "names it. If you know the file, name it yourself with --model FILE.py:NAME, or give --trust, which "
            "runs whatever file the run names."
        )
    return resolve(name)


def is_file(text: str) -> bool:
    """Whether a model's name is that of something in a Python file, ``net.py:Net``."""
    return text.rpartition(":")[0].endswith(".py")


def known_shape(entry: ModelEntry) -> tuple[int, int, int] | None:
    """The customary (C, H, W) of an entry, None where a user's class does not define it."""
    return entry.input_shape if all(entry.input_shape) else None


def absolute(text: str) -> str:
    """The name of a model, with a file's absolute path: it must work from any folder."""
    path, colon, name = text.rpartition(":")
    return f"{Path(path).resolve()}:{name}" if colon else text


def _run_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):
        raise UsageError(f"model: there is no file {path}; expected file.py:Net.")
    spec = importlib.util.spec_from_file_location(f"gpunn_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises, reported in one line
        raise UsageError(f"model: {path} could not be run: {type(error).__name__}: {error}") from error
    return module


def _attribute(module: ModuleType, path: str, name: str) -> Callable[..., Any]:
    from gpunn.nn.module import Module

    make = getattr(module, name, None)
    if make is None:
        classes = [n for n, v in vars(module).items() if inspect.isclass(v) and issubclass(v, Module)]
        raise UsageError(f"model: {path} has no {name!r}{nearest(name, classes) or '; it has ' + ', '.join(classes)}")
    if not callable(make):
        raise UsageError(f"model: {name!r} in {path} is {type(make).__name__}; expected a Module class or a function.")
    return make  # its type is checked after the call


def _builder(make: Callable[..., Any], text: str) -> Callable[[tuple[int, int, int], int], Module]:
    def build(input_shape: tuple[int, int, int], classes: int) -> Module:
        from gpunn.nn.module import Module

        offered = {"input_shape": input_shape, "classes": classes}
        taken = set(inspect.signature(make).parameters)
        try:
            made = make(**{name: value for name, value in offered.items() if name in taken})
        except TypeError as error:
            raise UsageError(
                f"model {text!r} could not be built: {error}. It is called with input_shape= and classes= if it "
                "has such parameters, and nothing else; give the others defaults."
            ) from error
        if not isinstance(made, Module):
            raise UsageError(f"model {text!r}: expected a gpunn.nn.Module; got {type(made).__name__}.")
        return made

    return build
