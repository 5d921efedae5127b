"""Where gpunn's arguments differ from PyTorch's: other names, what is accepted, what is refused.

These tables are what calls are looked up in, and what ``gpunn/DIFFERENCES.md`` is written from:
``python -m gpunn.differences`` writes it, ``--check`` only compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gpunn.errors import UsageError, here

# -- other names ----------------------------------------------------------------------------------

# PyTorch's name of a parameter, its documentation's, or NumPy's, which PyTorch takes too -> what we may call it.
NAMES: dict[str, tuple[str, ...]] = {
    "input": ("x", "a", "base"),
    "self": ("x", "a", "base"),
    "tensor": ("x", "other"),
    "x": ("a", "base", "input"),
    "a": ("x", "base"),
    "x1": ("x", "a", "base"),
    "other": ("b", "source"),
    "x2": ("b", "other"),
    "mat2": ("b", "other"),
    "tensor2": ("b", "other"),
    "value": ("other",),
    "src": ("source",),
    "y": ("other",),
    "axis": ("dim", "dims"),
    "dimension": ("dim",),
    "keepdims": ("keepdim",),
    "size": ("shape",),
    "from": ("low",),
    "to": ("high",),
}
_NAMES_OF = {
    ("max", "other"): "dim",  # one parameter for both, as by position
    ("min", "other"): "dim",
    ("where", "input"): "a",
}

# What a function takes as ``*shape``, ``*dims`` or the like may be given by any of these names.
LENGTHS = frozenset(("size", "sizes", "shape", "dims", "repeats"))

# Functions whose result can be written into ``out``.
_WITH_OUT = (
    "abs add all amax amin any argmax argmin bmm cat ceil clamp cos div erf exp expm1 floor floor_divide gather",
    "index_select log log1p log_softmax logical_not masked_select matmul max maximum mean min minimum mm mul neg",
    "nonzero norm pow prod reciprocal remainder round rsqrt sigmoid sign sin softmax sqrt square stack std sub sum",
    "take_along_dim tanh tril triu var where",
)
OUT = frozenset(name for line in _WITH_OUT for name in line.split())


def our_name(op: str, name: str, own: frozenset[str]) -> str | None:
    """What ``op``, whose parameters are ``own``, calls PyTorch's parameter ``name``."""
    known = _NAMES_OF.get((op, name))
    if known is not None and known in own:
        return known
    return next((ours for ours in NAMES.get(name, ()) if ours in own), None)


def given_twice(op: str, ours: str, name: str) -> UsageError:
    """The error for a parameter that is given by two of its names."""
    return UsageError(f"{here(op)}: {name}: this is another name of {ours}, which is given too. Give one of them.")


# -- accepted and refused -------------------------------------------------------------------------


class Accepted(NamedTuple):
    """A keyword that changes nothing here, whatever its value."""

    where: tuple[str, ...]
    keyword: str
    why: str


class Refused(NamedTuple):
    """A keyword of which only those values are accepted that change nothing."""

    where: tuple[str, ...]
    keyword: str
    values: tuple[Any, ...]
    why: str
    instead: str


_LIKE = ("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like")
_NEW = ("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor")
_DRAWN = ("rand", "randn", "randint", "randperm")
_FACTORIES = (
    *("zeros", "ones", "full", "empty", "eye", "arange", "linspace", "scalar_tensor", "tensor", "as_tensor", "asarray"),
    *(*_DRAWN, *_LIKE, *_NEW),
)

_OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")

ACCEPTED = (
    Accepted(
        ("bool", "clone", "contiguous", "cpu", "cuda", "double", "float", "half", "int", "is_contiguous", "long", "to"),
        "memory_format",
        "there is one layout: images are always stored channels last",
    ),
    Accepted(("empty", *_LIKE), "memory_format", "there is one layout: images are always stored channels last"),
    Accepted(_FACTORIES, "pin_memory", "copies to a GPU are synchronous, whatever memory they come from"),
    Accepted(("copy_", "cuda", "to", "type"), "non_blocking", "copies are synchronous"),
    Accepted(("log_softmax", "softmax"), "_stacklevel", "dim has to be given, so there is no warning to place"),
)
REFUSED = (
    Refused(
        _FACTORIES,
        "layout",
        (None, "torch.strided", "strided"),
        "tensors are dense arrays",
        "leave it out",
    ),
    Refused(_FACTORIES, "names", (None,), "axes have no names", "leave it out"),
    Refused(
        ("gather",),
        "sparse_grad",
        (False,),
        "gradients are dense arrays",
        "leave it out",
    ),
    Refused(
        ("bmm", "mm"),
        "out_dtype",
        (None,),
        "products are made and added up in the operands' dtype",
        "convert the operands with .to(dtype)",
    ),
)


def _rows(table: tuple[Any, ...]) -> dict[tuple[str, str], Any]:
    return {(where, row.keyword): row for row in table for where in row.where}


_ACCEPTED, _REFUSED = _rows(ACCEPTED), _rows(REFUSED)


def accepts(op: str, name: str, value: Any) -> bool:
    """Whether the tables know PyTorch's keyword ``name`` of ``op`` and accept the value.

    Raises
    ------
    UsageError
        If they refuse it.
    """
    if (op, name) in _ACCEPTED:
        return True
    if (op, name) not in _REFUSED:
        return False
    refuse(op, **{name: value})
    return True


def refuse(op: str, **given: Any) -> None:
    """Raise UsageError, as the table says, unless each keyword of ``op`` has a value that changes nothing."""
    for name, value in given.items():
        row = _REFUSED[op, name]
        # By type too: 0 == False, and a tensor's == is no truth. torch.strided is known by its name.
        known = any(value is v or (type(value) is type(v) and value == v) for v in row.values)
        if not known and not (type(value).__module__ == "torch" and str(value) in row.values):
            raise UsageError(f"{here(op)}: {name}={value!r} is not supported: {row.why}. {_sentence(row.instead)}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# -- the page -------------------------------------------------------------------------------------

PAGE = Path(__file__).with_name("DIFFERENCES.md")
BEGIN, END = "<!-- arguments:begin -->", "<!-- arguments:end -->"


def refusal(op: str, name: str) -> Refused | None:
    """The row of the table that may refuse PyTorch's keyword ``name`` of ``op``."""
    return _REFUSED.get((op, name))
