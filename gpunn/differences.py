"""Where gpunn's arguments differ from PyTorch's: other names, what is accepted, what is refused.

These tables are what calls are looked up in, and what ``gpunn/DIFFERENCES.md`` is written from:
``python -m gpunn.differences`` writes it, ``--check`` only compares.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpunn._argument_names import LENGTHS as LENGTHS
from gpunn._argument_names import NAMES as NAMES
from gpunn._argument_names import NAMES_OF
from gpunn._argument_names import OUT as OUT
from gpunn._constants import strided
from gpunn.errors import UsageError, here

# -- other names ----------------------------------------------------------------------------------


def our_name(op: str, name: str, own: frozenset[str]) -> str | None:
    """What ``op``, whose parameters are ``own``, calls PyTorch's parameter ``name``."""
    known = NAMES_OF.get((op, name))
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
_NEW = ("new_zeros", "new_ones", "new_full", "new_empty")
_FILLED = (
    "zeros",
    "ones",
    "full",
    "empty",
    "eye",
    "arange",
    "linspace",
    "scalar_tensor",
    "tril_indices",
    "triu_indices",
)
_LAID_OUT = (*_FILLED, "normal", "rand", "randn", "randint", "randperm", *_LIKE, *_NEW)

_FUSED = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam")
_ONE_LAUNCH = "a step is one launch for all parameters of a group in any case"

ACCEPTED = (
    Accepted(
        ("bool", "clone", "contiguous", "cpu", "cuda", "double", "float", "int", "is_contiguous", "long", "to"),
        "memory_format",
        "there is one layout: images are always stored channels last",
    ),
    Accepted(("empty", *_LIKE), "memory_format", "there is one layout: images are always stored channels last"),
    Accepted(
        (*_LAID_OUT, "tensor", "new_tensor"),
        "pin_memory",
        "copies to a GPU are synchronous, whatever memory they come from",
    ),
    Accepted(("copy_", "cuda", "to", "type"), "non_blocking", "copies are synchronous"),
    Accepted(("embedding", "Embedding"), "norm_type", "it goes with max_norm"),
    Accepted(("gradcheck",), "nondet_tol", "the same bits come every time"),
    Accepted(("gradcheck",), "check_undefined_grad", "the tape leaves out gradients that do not arrive, for every op"),
    Accepted(("gradcheck",), "check_grad_dtypes", "a gradient's dtype is its tensor's"),
    Accepted(("gradcheck",), "fast_mode", "all elements are checked"),
    Accepted(("TransformerEncoder",), "enable_nested_tensor", "there are no nested tensors"),
    Accepted(("TransformerEncoder",), "mask_check", "it goes with nested tensors"),
    Accepted(("Generator",), "device", "a generator serves every device, with the same numbers"),
    Accepted(("grad",), "only_inputs", "PyTorch ignores it too"),
    Accepted(_FUSED, "foreach", _ONE_LAUNCH),
    Accepted(("SGD", "Adam", "AdamW", "Adagrad"), "fused", _ONE_LAUNCH),
    Accepted(
        ("Adam", "AdamW", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam"),
        "capturable",
        "its step can be captured in any case",
    ),
    Accepted(("clip_grad_norm_", "clip_grad_value_"), "foreach", "all gradients are read, and scaled, by one launch"),
    Accepted(("DataLoader",), "persistent_workers", "workers are threads, which start at once"),
    Accepted(("DataLoader",), "pin_memory", "the loader puts batches on the device itself"),
    Accepted(("DataLoader",), "pin_memory_device", "the loader puts batches on the device itself"),
    Accepted(("DataParallel",), "output_device", "it runs on one device, where its parameters are"),
    Accepted(("DataParallel",), "dim", "batches are not split"),
    Accepted(("save",), "pickle_protocol", "the same file is written for every protocol"),
    Accepted(("save",), "_use_new_zipfile_serialization", "files are zip archives"),
    Accepted(("save",), "_disable_byteorder_record", "files always say that their bytes are little-endian"),
    Accepted(("load",), "weights_only", "nothing that is in a file is run in any case"),
    Accepted(("load",), "mmap", "files are read into memory"),
    Accepted(("expand",), "implicit", "PyTorch's own use of it means nothing here"),
    Accepted(("log_softmax", "softmax"), "_stacklevel", "dim has to be given, so there is no warning to place"),
)
REFUSED = (
    Refused(
        _LAID_OUT,
        "layout",
        (None, strided, "torch.strided", "strided"),
        "tensors are dense arrays",
        "leave it out",
    ),
    Refused((*_LAID_OUT, "tensor", "new_tensor"), "names", (None,), "axes have no names", "leave it out"),
    Refused(
        ("gather",),
        "sparse_grad",
        (False,),
        "gradients are dense arrays",
        "leave it out",
    ),
    Refused(
        ("addmm", "baddbmm", "bmm", "mm"),
        "out_dtype",
        (None,),
        "products are made and added up in the operands' dtype",
        "convert the operands with .to(dtype)",
    ),
    Refused(
        ("view",),
        "dtype",
        (),
        "a tensor's memory is not read as another dtype's",
        "convert the values with .to(dtype), or use numpy()'s view",
    ),
    Refused(
        ("backward", "grad"),
        "create_graph",
        (False,),
        "gradients of gradients are not recorded",
        "write the derivative out",
    ),
    Refused(
        ("grad",),
        "is_grads_batched",
        (False,),
        "one gradient enters at each output",
        "call it once for each",
    ),
    *(
        Refused(("gradcheck",), keyword, values, "only the backward pass has gradients", "leave it out")
        for keyword, values in (
            ("check_batched_grad", (False,)),
            ("check_batched_forward_grad", (False,)),
            ("check_forward_ad", (False,)),
            ("check_backward_ad", (True,)),
        )
    ),
    Refused(("gradcheck",), "masked", (None, False), "there are no sparse tensors", "leave it out"),
    Refused(
        ("register_forward_hook",),
        "always_call",
        (False,),
        "a forward that has failed has no output",
        "put the call into try and finally",
    ),
    Refused(
        ("load_state_dict",),
        "assign",
        (False,),
        "a module's parameters stay the same objects, which optimisers and captured steps hold",
        "load without it, which copies the values",
    ),
    Refused(
        ("save", "load"),
        "pickle_module",
        (None,),
        "no module pickles or unpickles: that would run what is in a file",
        "leave it out",
    ),
    Refused(
        ("embedding", "Embedding"),
        "max_norm",
        (None,),
        "looking rows up does not change the table",
        "scale its rows after the optimiser's step, within gpunn.no_grad()",
    ),
    Refused(
        ("embedding", "Embedding"),
        "scale_grad_by_freq",
        (False,),
        "a row's gradient is the sum over its uses",
        "divide .grad by the counts before the optimiser's step",
    ),
    Refused(
        ("embedding", "Embedding"),
        "sparse",
        (False,),
        "gradients are dense arrays",
        "leave it out",
    ),
    Refused(
        ("DataLoader",),
        "batch_sampler",
        (None,),
        "gpunn.data's loader makes the batches",
        "pass a sampler, which gives the order, and batch_size, or take gpunn.utils.data.DataLoader",
    ),
    Refused(
        ("DataLoader",),
        "timeout",
        (0,),
        "gpunn.data's workers are threads, which are waited for",
        "leave it out, or take gpunn.utils.data.DataLoader",
    ),
    Refused(
        ("DataLoader",),
        "worker_init_fn",
        (None,),
        "gpunn.data's workers are threads, which have nothing of their own to set up",
        "set the dataset up before the loader is made, or take gpunn.utils.data.DataLoader",
    ),
    Refused(("DataLoader",), "multiprocessing_context", (None,), "workers are threads", "leave it out"),
    Refused(
        ("DataLoader",),
        "in_order",
        (True,),
        "gpunn.data's batches come in order, whoever is first",
        "leave it out, or take gpunn.utils.data.DataLoader, which gives them in order too",
    ),
    Refused(
        _FUSED,
        "differentiable",
        (False,),
        "steps are not recorded on the tape",
        "write the step out with tensors",
    ),
    Refused(
        ("SyncBatchNorm", "DistributedDataParallel"),
        "process_group",
        (None,),
        "there is one group, of all processes",
        "leave it out",
    ),
    Refused(
        (
            *("all_reduce", "reduce", "broadcast", "all_gather", "barrier", "all_gather_object"),
            *("broadcast_object_list", "get_rank", "get_world_size", "get_backend", "destroy_process_group"),
        ),
        "group",
        (None,),
        "there is one group, of all processes",
        "leave it out",
    ),
    Refused(("barrier",), "async_op", (False,), "a barrier is for waiting", "leave it out"),
    Refused(("Work.wait",), "timeout", (None,), "the group has one limit", "give it to init_process_group"),
    Refused(
        ("init_process_group",),
        "store",
        (None,),
        "MPI knows where the other processes are",
        "start the program with mpiexec or srun",
    ),
    Refused(("init_process_group",), "pg_options", (None,), "MPI and NCCL have options of their own", "leave it out"),
    Refused(
        ("step",),
        "epoch",
        (None,),
        "it is deprecated in PyTorch",
        "call step() once for each epoch, or make the schedule with last_epoch",
    ),
)


def _rows(table: tuple[Any, ...]) -> dict[tuple[str, str], Any]:
    return {(where, row.keyword): row for row in table for where in row.where}


_ACCEPTED, REFUSALS = _rows(ACCEPTED), _rows(REFUSED)


def accepts(op: str, name: str, value: Any) -> bool:
    """Whether the tables know PyTorch's keyword ``name`` of ``op`` and accept the value.

    Raises
    ------
    UsageError
        If they refuse it.
    """
    if (op, name) in _ACCEPTED:
        return True
    if (op, name) not in REFUSALS:
        return False
    refuse(op, **{name: value})
    return True


def refuse(op: str, **given: Any) -> None:
    """Raise UsageError, as the table says, unless each keyword of ``op`` has a value that changes nothing."""
    for name, value in given.items():
        row = REFUSALS[op, name]
        # By type too: 0 == False, and a tensor's == is no truth. torch.strided is known by its name.
        known = any(value is v or (type(value) is type(v) and value == v) for v in row.values)
        if not known and not (type(value).__module__ == "torch" and str(value) in row.values):
            raise UsageError(f"{here(op)}: {name}={value!r} is not supported: {row.why}. {_sentence(row.instead)}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def accepts_any(op: str, name: str) -> bool:
    """Whether PyTorch's keyword ``name`` of ``op`` changes nothing, whatever its value."""
    return (op, name) in _ACCEPTED


def refusal(op: str, name: str) -> Refused | None:
    """The row of the table that may refuse PyTorch's keyword ``name`` of ``op``."""
    return REFUSALS.get((op, name))


# -- the page -------------------------------------------------------------------------------------

PAGE = Path(__file__).with_name("DIFFERENCES.md")
BEGIN, END = "<!-- arguments:begin -->", "<!-- arguments:end -->"


def arguments() -> str:
    """The part of the page that the tables say, in Markdown."""
    names = sorted(
        (", ".join(f"`{n}`" for n, ours in NAMES.items() if target in ours), f"`{target}`")
        for target in {ours for several in NAMES.values() for ours in several}
    )
    return "\n".join(
        [
            BEGIN,
            "<!-- Written by python -m gpunn.differences; edits are lost. -->",
            "",
            "### Other names",
            "",
            "Functions and methods take PyTorch's names of arguments, and NumPy's where it does, beside their own:",
            "",
            *_table(("name", "is"), names),
            "",
            "Lengths and axes that are given one by one, `x.permute(1, 0)`, may be given as one sequence by name too: "
            + ", ".join(f"`{n}=`" for n in sorted(LENGTHS))
            + ".",
            "",
            "### Accepted, and changes nothing",
            "",
            *_table(("where", "keyword", "because"), [(_places(r.where), f"`{r.keyword}`", r.why) for r in ACCEPTED]),
            "",
            "### Refused",
            "",
            "With any value but these a `UsageError` says the same.",
            "",
            *_table(
                ("where", "keyword", "accepted", "because", "instead"),
                [
                    (
                        _places(r.where),
                        f"`{r.keyword}`",
                        ", ".join(f"`{v}`" for v in r.values) or "none",
                        r.why,
                        r.instead,
                    )
                    for r in REFUSED
                ],
            ),
            "",
            "### Results written into `out`",
            "",
            f"{_places(tuple(sorted(OUT)))} write their result into a tensor `out` and return that. It has to have the "
            "result's shape, as it is not resized, and its device; its dtype may be wider. A result that requires a "
            "gradient is refused, as in PyTorch. The result is made first and then copied: `out` saves no memory.",
            END,
        ]
    )


def _places(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]


def with_arguments(page: str) -> str:
    """The page with its part between the markers as the tables say it."""
    before, rest = page.split(BEGIN, 1)
    return before + arguments() + rest.split(END, 1)[1]


def main(argv: list[str]) -> int:
    """Write the page; with ``--check`` return 1 if that would change it."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = with_arguments(page)
    if argv == ["--check"]:
        if page != wanted:
            print(f"{PAGE.name} is not what the tables say: run python -m gpunn.differences")
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
