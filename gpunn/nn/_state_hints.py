"""What is probably wrong with a state_dict that does not fit, where its names and shapes show it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gpunn._tensor import Tensor
from gpunn.errors import shortened
from gpunn.nn._uninitialized import is_uninitialized

Other = tuple[str, tuple[int, ...], str]  # a name, its shape in another network, and what to say if it has that


def likely_fix(
    own: Mapping[str, Tensor],
    given: Mapping[str, Any],
    missing: Sequence[str],
    unexpected: Sequence[str],
    mismatched: Collection[str],
    others: Sequence[Other],
) -> str:
    """One or two sentences, or nothing.

    Parameters
    ----------
    own, given : mappings from names
        What the module has and what the state_dict has.
    missing, unexpected, mismatched : collections of str
        Names as in :class:`gpunn.errors.StateDictError`.
    others : sequence of Other
        Of networks whose weights are mistaken for this one's.
    """
    for key, shape, sentence in others:
        if key in mismatched and _shape(given[key]) == shape:
            return sentence
    return _nested(given, unexpected) or _prefixed(own, given, missing) or _other_head(own, given, mismatched)


def _shape(value: Any) -> tuple[int, ...] | None:
    shape = None if is_uninitialized(value) else getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def _nested(given: Mapping[str, Any], unexpected: Sequence[str]) -> str:
    """A checkpoint with the weights beside other things."""
    for key in unexpected:
        if isinstance(given[key], Mapping) and any(_shape(value) is not None for value in given[key].values()):
            return f"This is a checkpoint whose weights are inside: give its entry '{shortened(key, 60)}'."
    return ""


def _prefixed(own: Mapping[str, Tensor], given: Mapping[str, Any], missing: Sequence[str]) -> str:
    """All names with something in front, such as the "module." of PyTorch's DataParallel."""
    if not missing:
        return ""
    first = missing[0]
    for key in given:
        if not isinstance(key, str):
            continue
        if key.endswith(first) and len(key) > len(first):
            prefix = key[: -len(first)]
            if all(name.startswith(prefix) for name in given) and _most(own, [k[len(prefix) :] for k in given]):
                shown = shortened(prefix, 40)
                return (
                    f"All its names begin with '{shown}': load {{k.removeprefix('{shown}'): v for k, v in "
                    "state_dict.items()}."
                )
        elif first.endswith(key) and len(key) < len(first):
            prefix = first[: -len(key)]
            if _most(own, [prefix + k for k in given]):
                shown = shortened(prefix, 40)
                return (
                    f"Its names lack '{shown}' in front: load it into that part of the model, or "
                    f"{{'{shown}' + k: v for k, v in state_dict.items()}}."
                )
    return ""


def _most(own: Mapping[str, Tensor], names: Sequence[str]) -> bool:
    """Whether most of the module's names are among these: not by accident, and one may be wrong beside."""
    return 2 * sum(name in own for name in names) > max(len(own), 1)


def _other_head(own: Mapping[str, Tensor], given: Mapping[str, Any], mismatched: Collection[str]) -> str:
    """One layer with another number of outputs: that of the classes."""
    layers = {key.rpartition(".")[0] for key in mismatched}
    if len(layers) != 1 or len(own) <= len(mismatched):
        return ""
    pairs = [(_shape(own[key]) or (), _shape(given[key])) for key in mismatched]
    counts = {(mine[:1], theirs[:1] if theirs else ()) for mine, theirs in pairs}
    if len(counts) != 1 or any(not mine or not theirs or mine[1:] != theirs[1:] for mine, theirs in pairs):
        return ""
    ((mine, theirs),) = counts
    layer = shortened(next(iter(layers)), 40)
    return (
        f"It has {theirs[0]:,} outputs in '{layer}', where the model has {mine[0]:,}: build the model with that many, "
        "or remove that layer's entries and load with strict=False."
    )
