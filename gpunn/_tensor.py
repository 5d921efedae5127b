"""Tensor: an array, the device it lives on, and its place on the tape."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gpunn import _rows, tape
from gpunn._calls import explains_methods
from gpunn._capture_state import changes
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import FLOATING, readable
from gpunn._hook_handle import HookHandle
from gpunn._keywords import take_keywords
from gpunn._layout import SIZES, Size, logical, physical, size_of
from gpunn._promotion import default_float
from gpunn._storage import KeptStorage, Storage
from gpunn._tensor_absent import AbsentMethods
from gpunn._tensor_convert import ConversionMethods
from gpunn._tensor_export import ExportMethods
from gpunn._tensor_inplace import InPlaceMethods
from gpunn._tensor_late import LateMethods
from gpunn._tensor_math import MathMethods
from gpunn._tensor_reduce import ReductionMethods
from gpunn._tensor_shape import ShapeMethods
from gpunn._views import Lacking, twin_of
from gpunn.errors import ArgumentError, DTypeError, RangeError, UsageError

if TYPE_CHECKING:
    from gpunn._views import View

_CHARS = frozenset("?bBhHiIlLqQfd")  # NumPy's characters of the dtypes that tensors have


class Tensor(
    MathMethods,
    ReductionMethods,
    ShapeMethods,
    InPlaceMethods,
    ConversionMethods,
    ExportMethods,
    LateMethods,
    AbsentMethods,
):
    """A multi-dimensional array with gradients.

    Parameters
    ----------
    array : numpy.ndarray or cupy.ndarray
        In logical order: images (N, C, H, W). Four-dimensional arrays are stored channels last;
        one that is not is copied, others are shared. As in PyTorch a list makes a tensor of the default dtype; a
        tensor is copied.
    device : Device or str
        Where the array lives. A NumPy array may belong to ``cpu`` or to ``emulator``.
    requires_grad : bool
        Whether :meth:`backward` should collect a gradient here. Floating dtypes only.
    *lengths : int
        Whole numbers in place of all arguments are lengths, as in PyTorch: ``Tensor(2, 3)`` has whatever was in memory.

    Attributes
    ----------
    device : Device
    requires_grad : bool
    grad : Tensor or None
        Sum of the gradients that ``backward()`` calls have delivered since it was None.
    """

    __slots__ = (
        "__weakref__",
        "_hooks",
        "_node",
        "_physical",
        "_shape",
        "_storage",
        "_view",
        "device",
        "grad",
        "requires_grad",
    )
    _complete: ClassVar[type | None] = None  # the class proper, where this one is for tensors that lack something
    _lacking = Lacking
    _print_options: ClassVar[dict[str, Any]] = {}  # of set_printoptions
    _counts_changes = False  # whether setting requires_grad or grad is noted in _capture_state.changes
    __array_ufunc__ = None  # so that numpy.float32(2) * t reaches __rmul__, not NumPy's loop

    def __init__(self, array: Any = (), device: Any = "cpu", requires_grad: Any = False, *lengths: Any) -> None:
        if isinstance(array, int | list | tuple | Tensor | np.integer):
            from gpunn._creation_legacy import legacy

            array, device, requires_grad = legacy(array, device, requires_grad, lengths)
        self.device = get_device(device)
        if not isinstance(array, self.device.xp.ndarray):
            raise DTypeError(
                f"Tensor: expected a {self.device.xp.__name__} array for device '{self.device}'; got "
                f"{type(array).__name__}. Use gpunn.tensor(data, device=...) to convert and copy."
            )
        if array.dtype.char not in _CHARS:
            from gpunn._interop import check_dtype

            check_dtype("Tensor", array.dtype)
        if requires_grad and array.dtype.kind not in FLOATING:
            raise DTypeError(f"Tensor: only floating dtypes can require a gradient; got {array.dtype}.")
        with self.device.active():  # CuPy copies to its current GPU, whatever the source's
            self._physical = physical(array)  # C-contiguous, in memory order
        self._shape: Size | None = None  # until somebody asks
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self._node: tape.Node | None = None
        self._hooks: dict[object, tape.Hook] | None = None
        self._storage: Storage = KeptStorage()
        self._view: View | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # deepcopy and pickle go through the constructor: the array libraries' own copies and pickles of a
        # channels-last view come out in another memory order, which in-place updates rely on.
        if self._node is not None:
            raise UsageError("only leaves can be copied or pickled; use detach().")
        grad = None if self.grad is None else self.grad._numpy_without_tape()
        return _rebuild, (
            type(self)._complete or type(self),
            self._numpy_without_tape(),
            self.device,
            self.requires_grad,
            grad,
        )

    @classmethod
    def _of_physical(cls, array: Any, device: Device) -> Tensor:
        """Wrap an op's C-contiguous physical array without checks."""
        self = Tensor.__new__(Tensor)
        self.device = device
        self._physical = array
        self._shape = None
        self.requires_grad = False
        self.grad = None
        self._node = None
        self._hooks = None
        self._storage = Storage()
        self._view = None
        return self

    @property
    def array(self) -> Any:
        """The data, a view in logical order."""
        return logical(self._physical)

    # -- what it is ------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """Logical shape."""
        shape = self._shape
        if shape is None:
            stored = self._physical.shape
            shape = self._shape = SIZES.get(stored) or size_of(stored)  # a call only for a new one, or for ()
        return shape

    @property
    def dtype(self) -> np.dtype:
        """NumPy dtype of the elements."""
        return self._physical.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return int(self._physical.ndim)

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed by a recorded op."""
        return self._node is None

    @property
    def data(self) -> Tensor:
        """The same storage, off the tape; setting it gives this tensor another tensor's storage.

        Its place on the tape, ``grad`` and ``requires_grad`` stay. Views made before keep the old storage.
        """
        return self.detach()

    @data.setter
    def data(self, values: Tensor) -> None:
        if not isinstance(values, Tensor):
            raise UsageError(f"data: expected a Tensor; got {type(values).__name__}. Use gpunn.as_tensor(values).")
        if self.requires_grad and values.dtype.kind not in FLOATING:
            raise DTypeError(f"data: this tensor requires a gradient, which {values.dtype} cannot have; use floats.")
        self.device, self._physical, self._shape = values.device, values._physical, None
        self._view = None
        twin_of(values, self)
        changes.count += 1

    def size(self, dim: int | None = None) -> Any:
        """Shape, or the length of one axis."""
        if dim is None:
            return self.shape
        if not -len(self.shape) <= dim < len(self.shape):
            raise RangeError(f"size: dim: expected an axis of shape {self.shape}; got {dim}.")
        return self.shape[dim]

    def dim(self) -> int:
        """Number of axes."""
        return self.ndim

    def numel(self) -> int:
        """Number of elements."""
        return int(self._physical.size)

    nelement = numel
    ndimension = dim

    def __len__(self) -> int:
        if not self.shape:
            raise UsageError("len() of a 0-d tensor")
        return self.shape[0]

    def __repr__(self) -> str:
        array, options = self._numpy_without_tape(), self._print_options
        if array.dtype.kind == "V":  # bfloat16, whose numbers NumPy shows without a point
            array, options = readable(array), {"precision": 4, **options}
        values = np.array2string(array, separator=", ", prefix="tensor(", **options)
        extra = "" if self.device.name == "cpu" else f", device='{self.device}'"
        if self._node is not None:
            extra += f", grad_fn=<{self._node.op}>"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        kind = "" if self.dtype in (default_float(), np.int64) else f", dtype={self.dtype}"
        return f"tensor({values}{kind}{extra})"

    # -- moving and converting -------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same storage as a new tensor that is not on the tape."""
        return twin_of(self, Tensor._of_physical(self._physical, self.device))

    def _leave_tape(self) -> None:
        self._node, self.requires_grad = None, False

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.numel() != 1:
            raise UsageError(f"item(): expected one element; got shape {self.shape}.")
        return readable(self._numpy_without_tape()).reshape(()).item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return readable(self._numpy_without_tape()).tolist()

    # -- gradients -------------------------------------------------------------------------

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Compute the gradient of this tensor with respect to every leaf it was computed from.

        Parameters
        ----------
        gradient : Tensor, optional
            d loss / d self; of this tensor's shape and dtype. May be left out for a scalar.
        retain_graph : bool, optional
            Keep the graph so that backward can run through it again; otherwise it is freed during
            the backward pass, and a second call raises GraphError.
        create_graph : bool
            Only False: gradients of gradients are not recorded.
        inputs : Tensor or sequence of Tensor, optional
            Who is to get a gradient; if not given, all leaves.
        """
        if create_graph:
            from gpunn.differences import refuse

            refuse("backward", create_graph=create_graph)
        if inputs is None:
            tape.backward(self, gradient, bool(retain_graph))
        else:
            from gpunn.autograd import backward_into

            backward_into(self, gradient, bool(retain_graph), inputs)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` of a leaf; returns itself."""
        if self._node is not None:
            raise UsageError("requires_grad_(): only leaves can be changed; use detach().")
        if requires_grad and self.dtype.kind not in FLOATING:
            raise DTypeError(f"requires_grad_(): only floating dtypes can require a gradient; got {self.dtype}.")
        if requires_grad != self.requires_grad:
            self.requires_grad = requires_grad
            changes.count += 1
            if requires_grad and self._view is not None:  # a leaf has a place of its own on the tape
                self._view.base = None
        return self

    @property
    def grad_fn(self) -> tape.Node | None:
        """The recorded op that this tensor came from; None for a leaf."""
        return self._node

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Have ``hook(gradient)`` called in backward; a tensor it returns replaces the gradient.

        It is called once per backward, with the sum of what all users of this tensor contribute.

        Returns
        -------
        handle
            ``handle.remove()`` removes the hook.
        """
        if not callable(hook):
            raise ArgumentError(f"register_hook: hook: expected a function; got {type(hook).__name__}.")
        if not self.requires_grad:
            raise UsageError("register_hook(): this tensor does not require a gradient, so none will arrive.")
        if self._node is not None:
            return HookHandle(self._node.hooks, hook)
        if self._hooks is None:
            self._hooks = {}
        return HookHandle(self._hooks, hook)

    def retain_grad(self) -> None:
        """Have backward store a gradient in ``.grad`` here too, though this is not a leaf."""
        if self._node is None:
            return
        me = weakref.ref(self)  # the node must not keep its own tensor alive

        def keep(gradient: Tensor) -> None:
            tensor = me()
            if tensor is not None:
                tensor.grad = gradient.clone() if tensor.grad is None else tensor.grad + gradient

        self._node.hooks[tape.RETAIN] = keep


tape.as_tensor = Tensor._of_physical
tape.tensor_in_rows, tape.in_form = _rows.tensor_in_rows, _rows.in_form
for _methods in Tensor.__bases__:
    take_keywords(_methods)
take_keywords(Tensor, only=("size",))
explains_methods(Tensor)  # those that take no keywords of PyTorch's


def _rebuild(kind: type[Tensor], values: Any, device: Device, requires_grad: bool, grad: Any) -> Tensor:
    made = kind.__new__(kind)
    Tensor.__init__(made, upload(values, device), device, requires_grad)
    if grad is not None:
        made.grad = Tensor(upload(grad, device), device)
    return made


def upload(values: np.ndarray, home: Device) -> Any:
    """Copy to the device in physical order, so that only the host rearranges."""
    return logical(home.array(physical(values)))
