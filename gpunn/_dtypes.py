"""What PyTorch programs ask of dtypes: their limits, the default one, tensor types such as ``FloatTensor``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._creation import empty, tensor
from gpunn._half import FLOAT16, FLOATING, NO_BFLOAT16, bfloat16_dtype, is_half, limits
from gpunn._interop import dtype_of
from gpunn._keywords import takes_keywords
from gpunn._promotion import default_float, use_as_default
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError

float16 = half = FLOAT16


def __getattr__(name: str) -> Any:
    if name == "bfloat16":  # ml_dtypes is imported when somebody asks for it
        try:
            return bfloat16_dtype()
        except DTypeError:
            return NO_BFLOAT16  # tells so where a tensor should get it
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def set_default_dtype(d: Any) -> None:
    """From now on Python's floats become tensors of this dtype, and new parameters have it.

    Parameters
    ----------
    d : dtype
        float32, which it is at first, or float64.

    Raises
    ------
    DTypeError
        If it is none of them.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.set_default_dtype(gpunn.float64)
    >>> gpunn.tensor([0.5]).dtype, gpunn.nn.Linear(2, 1).weight.dtype
    (dtype('float64'), dtype('float64'))
    >>> gpunn.set_default_dtype(gpunn.float32)
    """
    kind = dtype_of("set_default_dtype", d)
    if kind.kind not in FLOATING or is_half(kind):
        raise DTypeError(f"set_default_dtype: d: expected gpunn.float32 or gpunn.float64; got {kind}.")
    use_as_default(kind)


def get_default_dtype() -> np.dtype:
    """The dtype of new floating tensors; see :func:`set_default_dtype`.

    Returns
    -------
    numpy.dtype
    """
    return default_float()


@takes_keywords
def is_floating_point(x: Tensor) -> bool:
    """Whether a tensor's dtype is floating.

    Parameters
    ----------
    x : Tensor
    """
    return bool(x.is_floating_point())


@takes_keywords
def numel(x: Tensor) -> int:
    """The number of a tensor's elements.

    Parameters
    ----------
    x : Tensor
    """
    return x.numel()


class finfo:
    """The limits of a floating dtype, as Python's numbers.

    Parameters
    ----------
    type : dtype, optional
        The default one if not given.

    Attributes
    ----------
    bits : int
    dtype : str
    eps : float
        The distance from 1 to the next number.
    max, min : float
    resolution : float
        10 to the minus number of decimal digits that are exact.
    smallest_normal, tiny : float
        The least positive number of full precision.

    Raises
    ------
    DTypeError
        If the dtype is not floating.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.finfo(gpunn.float32).eps == 2**-23
    True
    """

    def __init__(self, type: Any = None) -> None:
        kind = default_float() if type is None else dtype_of("finfo", type)
        if kind.kind not in FLOATING:
            raise DTypeError(f"finfo: type: expected a floating dtype; got {kind}. Use iinfo for integers.")
        found = limits(kind)
        self.dtype, self.bits = kind.name, int(found.bits)
        self.max, self.min, self.eps = float(found.max), float(found.min), float(found.eps)
        self.tiny = self.smallest_normal = float(found.smallest_normal)
        self.resolution = float(f"1e-{found.precision}")

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        values = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({values}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype.

    Parameters
    ----------
    type : dtype

    Attributes
    ----------
    bits, max, min : int
    dtype : str

    Raises
    ------
    DTypeError
        If the dtype is not an integer one.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.iinfo(gpunn.uint8).max
    255
    """

    def __init__(self, type: Any) -> None:
        kind = dtype_of("iinfo", type)
        if kind.kind not in "iu":
            raise DTypeError(f"iinfo: type: expected an integer dtype; got {kind}. Use finfo for floating ones.")
        limits = np.iinfo(kind)
        self.dtype, self.bits, self.max, self.min = kind.name, int(limits.bits), int(limits.max), int(limits.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


class _TensorType(type):
    """The class of ``FloatTensor`` and its like, which are names for tensors of a dtype on the host."""

    dtype: np.dtype

    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, Tensor) and thing.dtype == cls.dtype and thing.device.type == "cpu"

    def __call__(cls, *data: Any) -> Tensor:
        """A tensor of data, or with whatever was in memory of lengths that are given one by one."""
        if len(data) == 1 and not isinstance(data[0], int | np.integer):
            return tensor(data[0], dtype=cls.dtype)
        if not all(isinstance(length, int | np.integer) for length in data):
            raise UsageError(f"{cls.__name__}: expected data, or lengths one by one; got {len(data)} arguments.")
        return empty(*(data or (0,)), dtype=cls.dtype)


FloatTensor = _TensorType(
    "FloatTensor", (), {"dtype": np.dtype("float32"), "__doc__": "float32 tensors: made of ``data``, or of lengths."}
)
DoubleTensor = _TensorType(
    "DoubleTensor", (), {"dtype": np.dtype("float64"), "__doc__": "float64 tensors: made of ``data``, or of lengths."}
)
HalfTensor = _TensorType(
    "HalfTensor", (), {"dtype": FLOAT16, "__doc__": "float16 tensors: made of ``data``, or of lengths."}
)
ByteTensor = _TensorType(
    "ByteTensor", (), {"dtype": np.dtype("uint8"), "__doc__": "uint8 tensors: made of ``data``, or of lengths."}
)
ShortTensor = _TensorType(
    "ShortTensor", (), {"dtype": np.dtype("int16"), "__doc__": "int16 tensors: made of ``data``, or of lengths."}
)
IntTensor = _TensorType(
    "IntTensor", (), {"dtype": np.dtype("int32"), "__doc__": "int32 tensors: made of ``data``, or of lengths."}
)
LongTensor = _TensorType(
    "LongTensor", (), {"dtype": np.dtype("int64"), "__doc__": "int64 tensors: made of ``data``, or of lengths."}
)
BoolTensor = _TensorType(
    "BoolTensor", (), {"dtype": np.dtype("bool"), "__doc__": "bool tensors: made of ``data``, or of lengths."}
)
CharTensor = _TensorType(
    "CharTensor", (), {"dtype": np.dtype("int8"), "__doc__": "int8 tensors: made of ``data``, or of lengths."}
)


def named_type(name: str) -> tuple[str, np.dtype]:
    """The device and the dtype of a tensor type by its name, such as ``torch.cuda.FloatTensor``."""
    *places, kind = name.split(".")
    found = globals().get(kind)
    if not isinstance(found, _TensorType) or places not in ([], ["torch"], ["torch", "cuda"], ["gpunn"]):
        raise DTypeError(f"type: dtype: expected one such as gpunn.float32, or 'torch.FloatTensor'; got {name!r}.")
    return "cuda" if "cuda" in places else "cpu", found.dtype


# What tensors' repr is given beside NumPy's own options.
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors are printed; what is never set is as for NumPy's arrays (``numpy.set_printoptions``).

    Parameters
    ----------
    precision : int, optional
        Decimals.
    threshold : int, optional
        From how many elements on the middle is left out.
    edgeitems : int, optional
        How many are then shown at each end.
    linewidth : int, optional
        Characters in a line.
    profile : str, optional
        ``"default"``, ``"short"`` or ``"full"``: PyTorch's values of the four before.
    sci_mode : bool, optional
        Whether floating numbers are written with exponents.

    Raises
    ------
    UsageError
        If there is no such profile, or a number is negative.
    """
    if profile is not None and profile not in _PROFILES:
        raise UsageError(f"set_printoptions: profile: expected one of {sorted(_PROFILES)}; got {profile!r}.")
    chosen: dict[str, Any] = dict(_PROFILES[profile]) if profile is not None else {}
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not value >= 0:
                raise UsageError(f"set_printoptions: {name}: expected a number of at least 0; got {value!r}.")
            chosen[name] = value if name == "threshold" else int(value)
    options = {**Tensor._print_options, **chosen}
    if "linewidth" in options:
        options["max_line_width"] = options.pop("linewidth")
    if options.get("threshold") == math.inf:
        options["threshold"] = np.iinfo(np.int64).max
    if sci_mode is not None:
        options["suppress_small"] = not sci_mode
        decimals = options.get("precision", np.get_printoptions()["precision"])
        options.pop("formatter", None)
        if sci_mode:
            options["formatter"] = {"float_kind": f"{{:.{decimals}e}}".format}
    Tensor._print_options = options


def typename(obj: Any) -> str:
    """The full name of an object's type, or of a type, such as "gpunn.nn.linear.Linear".

    Parameters
    ----------
    obj : any

    Returns
    -------
    str
    """
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None) or ""
    return named.__qualname__ if module in ("", "builtins") else f"{module}.{named.__qualname__}"
