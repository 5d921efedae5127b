"""What PyTorch programs ask of a tensor beside its values: where and how it is stored, and what it is not.

Tensors here are dense arrays on a CPU or a CUDA GPU. So most answers are the same for every tensor; programs ask all
the same, before they go one way or another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunn import tape
from gpunn._constants import layout as layout_class
from gpunn._constants import strided
from gpunn._creation import empty, tensor
from gpunn._keywords import takes_keywords
from gpunn._layout import address_of
from gpunn.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

# -- properties -----------------------------------------------------------------------------------


def is_cpu(x: Tensor) -> bool:
    """Whether its memory is the host's; the emulator's is too."""
    return x.device.ordinal is None


def is_sparse(x: Tensor) -> bool:
    """False: tensors are dense arrays."""
    return False


def is_quantized(x: Tensor) -> bool:
    """False: there are no quantised tensors."""
    return False


def is_mps(x: Tensor) -> bool:
    """False: there are CPUs and CUDA GPUs."""
    return False


def is_xpu(x: Tensor) -> bool:
    """False: there are CPUs and CUDA GPUs."""
    return False


def is_meta(x: Tensor) -> bool:
    """False: every tensor has memory."""
    return False


def is_nested(x: Tensor) -> bool:
    """False: every tensor is one array."""
    return False


def layout(x: Tensor) -> layout_class:
    """``gpunn.strided``."""
    return strided


def nbytes(x: Tensor) -> int:
    """The bytes of all elements."""
    return int(x._physical.nbytes)


def itemsize(x: Tensor) -> int:
    """The bytes of one element."""
    return int(x.dtype.itemsize)


def retains_grad(x: Tensor) -> bool:
    """Whether backward stores a gradient in ``.grad`` though this is no leaf; see ``retain_grad``."""
    return x._node is not None and tape.RETAIN in x._node.hooks


def real(x: Tensor) -> Tensor:
    """Itself: no tensor is complex."""
    return x


def H(x: Tensor) -> Tensor:
    """The transpose of a matrix: no tensor is complex."""
    if x.ndim != 2:
        raise ShapeError(f"H: expected a matrix; got shape {x.shape}. Use .mT for the last two axes.")
    return x.t()


# -- methods --------------------------------------------------------------------------------------


@takes_keywords
def is_complex(x: Tensor) -> bool:
    """False: no tensor is complex.

    Parameters
    ----------
    x : Tensor
    """
    x.dtype  # noqa: B018 - what has none is no tensor
    return False


@takes_keywords
def is_nonzero(x: Tensor) -> bool:
    """Whether the only element is not 0.

    Parameters
    ----------
    x : Tensor
        Of one element.

    Raises
    ------
    UsageError
        If there are more elements, or none.
    """
    return bool(x)


def is_signed(x: Tensor) -> bool:
    """Whether numbers of its dtype can be negative."""
    return x.dtype.kind in "fi"


def is_same_size(x: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    return x.shape == other.shape


def is_inference(x: Tensor) -> bool:
    """False: a tensor made in ``gpunn.inference_mode`` can be used like any other."""
    return False


def is_pinned(x: Tensor, device: Any = None) -> bool:
    """False: no memory is page-locked, for whichever ``device``."""
    return False


def pin_memory(x: Tensor, device: Any = None) -> Tensor:
    """Itself: copies to a GPU, whichever ``device``, are synchronous, whatever memory they come from."""
    return x


def is_shared(x: Tensor) -> bool:
    """False: no memory is shared with other processes."""
    return False


def share_memory_(x: Tensor) -> Tensor:
    """Itself: workers of loaders are threads, which see the same memory in any case."""
    return x


def get_device(x: Tensor) -> int:
    """The number of its GPU; -1 on a CPU."""
    return -1 if x.device.ordinal is None else x.device.ordinal


def data_ptr(x: Tensor) -> int:
    """The address of its first element. Images lie there channels last, and a view with gaps has memory of its own."""
    return address_of(x._physical)


def new(x: Tensor, *data: Any) -> Tensor:
    """A tensor of this dtype on this device: of ``data``, or of lengths with whatever was in memory."""
    if len(data) == 1 and not isinstance(data[0], int):
        return tensor(data[0], dtype=x.dtype, device=x.device)
    if not all(isinstance(length, int) for length in data):
        raise UsageError(f"new: expected data, or lengths one by one; got {len(data)} arguments.")
    return empty(*(data or (0,)), dtype=x.dtype, device=x.device)
