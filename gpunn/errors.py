"""The exceptions gpunn raises, and how an error learns the name of the layer it came from.

Every message has the same four parts: where (the layer by its name in the model, or the op),
what was expected, what came, and the likely fix.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any


class GpunnError(Exception):
    """Base class of everything gpunn raises on purpose."""


class ShapeError(GpunnError, ValueError):
    """An array has the wrong shape for the operation."""


class DTypeError(GpunnError, TypeError):
    """An array has a dtype that the operation cannot use."""


class LabelError(GpunnError, IndexError):
    """A class label is not an index into the scores."""


class RangeError(GpunnError, IndexError):
    """An index lies outside its axis, or there are more indices than axes."""


class DeviceError(GpunnError, RuntimeError):
    """A device is unknown or not available on this machine, or two devices were mixed."""


class OutOfMemoryError(GpunnError, MemoryError):
    """A GPU's memory does not suffice."""


class GraphError(GpunnError, RuntimeError):
    """The tape was asked for something it cannot do, such as a second backward."""


class CaptureError(GpunnError, RuntimeError):
    """A step did something that a captured graph could not repeat."""


class DistributedError(GpunnError, RuntimeError):
    """Processes that train together do not fit together, or one of them has ended or does not answer."""


class KernelError(GpunnError, RuntimeError):
    """A kernel could not be compiled or launched, or the emulator found a fault in it."""


class DataError(GpunnError, ValueError):
    """A data file is missing, truncated or not what its name says, or a dataset is unusable.

    Its message may hold names and values out of that file, so it is one line of less than 500 characters, whatever
    they are.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(shortened(message, 499))


class StateDictError(GpunnError, RuntimeError):
    """A state_dict does not fit the module it was to be loaded into.

    Attributes
    ----------
    missing_keys, unexpected_keys : list of str
        Names that only the module has, and that only the state_dict has.
    mismatched_keys : list of str
        Names that both have, with another shape or kind of dtype.
    differences : list of str
        All of them, one line each with the shapes. The message names the first few.
    """

    def __init__(
        self,
        message: str = "",
        missing_keys: Sequence[str] = (),
        unexpected_keys: Sequence[str] = (),
        mismatched_keys: Sequence[str] = (),
        differences: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.missing_keys, self.unexpected_keys = list(missing_keys), list(unexpected_keys)
        self.mismatched_keys, self.differences = list(mismatched_keys), list(differences)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            str(self),
            self.missing_keys,
            self.unexpected_keys,
            self.mismatched_keys,
            self.differences,
        )


class TrainingError(GpunnError, ArithmeticError):
    """Training cannot continue: a loss, a gradient or a parameter is not a finite number."""


class NotFiniteError(TrainingError):
    """A batch's loss is ``value``, which is not finite; ``batch`` batches were counted before it."""

    def __init__(self, place: str, value: float, batch: int) -> None:
        super().__init__(
            f"{place} became {value} after {batch} batches; parameters were not changed since. Lower the learning "
            "rate, and see that the images are finite and standardised."
        )
        self.place, self.value, self.batch = place, value, batch

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self.value, self.batch)


class UsageError(GpunnError, ValueError):
    """An argument is invalid: an unknown name, a number out of range."""


class ZeroDivisorError(UsageError, ZeroDivisionError):
    """An integer was to be divided by 0, which has no integer result."""


class ArgumentError(UsageError, TypeError):
    """An argument is not of the kind that is expected: a list in place of a tensor, a class in place of a layer."""


class UnknownNameError(UsageError, KeyError, AttributeError):
    """There is nothing of this name, where names are looked up as in a dict or with dots."""

    __str__ = Exception.__str__  # KeyError's shows the message as it would a key


class ExportError(UsageError, BufferError):
    """A tensor's memory cannot be handed to another library as it asks for it."""


class BadData:
    """A place in the error buffer that has words of its own for what was wrong there: ``message(place, index)``."""

    __slots__ = ("error", "message", "place")

    def __init__(self, place: str, error: type[GpunnError], message: Callable[[str, int], str]) -> None:
        self.place, self.error, self.message = place, error, message

    def _key(self) -> tuple[Any, ...]:
        return self.place, self.error, self.message

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BadData) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


# What was no probability, by the index in the error buffer, and what to do.
NO_PROBABILITY = (
    ("input", "Apply a sigmoid first, or use binary_cross_entropy_with_logits on the scores."),
    ("target", "It says how likely a yes is: 0, 1, or anything in between."),
)


def reported(place: Any, kind: int, index: int, value: int) -> GpunnError:
    """The error for what a kernel wrote to the error buffer (``report_bad_data`` in ``common.cuh``).

    Parameters
    ----------
    place : str or BadData
        Where it was found.
    kind : int
        1: a class label; 2: a probability; 3: an index; 4: a loss that is not finite, ``index`` batches being counted.
    index, value : int
        Which element, and what it holds. Of a probability: 0 for the input's and 1 for the target's, and its bits.
        Of a loss its bits.
    """
    if kind == 4:
        return NotFiniteError(place, struct.unpack("f", struct.pack("i", value))[0], index)
    kept = "parameters were not changed from that step on, running statistics not since then"
    if kind == 2:
        number = struct.unpack("f", struct.pack("i", value))[0]
        name, fix = NO_PROBABILITY[index]
        return UsageError(f"{place}: {name}: expected probabilities from 0 to 1; got {number:g}; {kept}. {fix}")
    if isinstance(place, BadData):
        return place.error(f"{place.message(place.place, index)} {kept.capitalize()}.")
    if kind == 3:
        return RangeError(f"{place}: index {value} at position {index} is out of range; {kept}.")
    return LabelError(
        f"{place}: label {value} at position {index} is not a class index; {kept}. "
        "Labels run from 0 to classes - 1: check the dataset, or the width of the last layer."
    )


class _ModuleStack(threading.local):
    """The modules whose forward is running in this thread, outermost first."""

    def __init__(self) -> None:
        self.modules: list[Any] = []


module_stack = _ModuleStack()


class standing_in_for:
    """Within the block, errors and recorded ops name ``module``, whose work the running module does."""

    __slots__ = ("_module", "_modules", "_running")

    def __init__(self, module: Any) -> None:
        self._module = module

    def __enter__(self) -> None:
        self._modules = module_stack.modules
        self._running = self._modules[-1:]
        self._modules[-1:] = [self._module]

    def __exit__(self, *exc: object) -> None:
        self._modules[-1:] = self._running


def here(op: str) -> str:
    """Name the place an error belongs to: ``features.0 (Conv2d)`` inside a model, else ``op``.

    The dotted path is looked up in the parents' registries only here, when something has
    already gone wrong, so that calling a module costs no string work.
    """
    return place(op, module_stack.modules)


def place(op: str, modules: Sequence[Any]) -> str:
    """The same for an op that ran inside these modules, outermost first."""
    if not modules:
        return op
    path: list[str] = []
    for parent, child in itertools.pairwise(modules):
        # A module may be called by code that does not own it (a user's helper); it then has no
        # name below that parent and the path simply skips the level.
        owned = itertools.chain(parent.named_children(), parent.named_modules())
        path += itertools.islice((name for name, module in owned if module is child), 1)
    layer = type(modules[-1]).__name__
    return f"{'.'.join(path)} ({layer})" if path else layer


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the known word nearest to ``word``, or nothing if none is near."""
    import difflib  # here, because only errors need it

    spelt = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(spelt), n=1, cutoff=0.5)
    return f"; did you mean '{spelt[near[0]]}'?" if near else ""


def shortened(text: object, most: int = 120) -> str:
    """A text that came from a file, fit to be shown: one line of at most ``most`` characters that change no terminal.

    Control characters, those that turn the direction of writing and halves of surrogate pairs are written as Python
    escapes. What is too long keeps its beginning and its end.
    """
    text = str(text)
    if len(text) > 2 * most:  # before any work on a text of gigabytes
        text = f"{text[:most]}{text[-most:]}"
        cut = True
    else:
        cut = False
    plain = (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    )
    if not cut and len(plain) <= most:
        return plain
    tail = (most - 3) // 3
    return f"{plain[: most - 3 - tail]}...{plain[-tail:]}"


def quoted(value: object, most: int = 120) -> str:
    """The ``repr`` of a string out of a file, of bytes or of a number, fit to be shown as in :func:`shortened`."""
    if isinstance(value, str | bytes) and len(value) > 4 * most:
        return shortened(repr(value[: 2 * most]) + repr(value[-2 * most :]), most)
    return shortened(repr(value), most)
