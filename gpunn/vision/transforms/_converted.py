"""From Pillow's images to tensors and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._creation_shared import as_tensor
from gpunn._interop import dtype_of
from gpunn._tensor import Tensor
from gpunn.data.image import pillow
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.vision.transforms._images import check_pillow, from_array, is_pillow


def pil_to_tensor(pic: Any) -> Tensor:
    """Pillow's image ``pic`` as a tensor (C, H, W) of its own numbers: uint8 of most images."""
    check_pillow("pil_to_tensor", pic)
    return as_tensor(_pixels(pic))


def _pixels(image: Any) -> np.ndarray:
    """(C, H, W), a copy."""
    array = np.array(image)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype.kind == "u" and array.dtype.itemsize > 1:  # tensors have no unsigned integers but bytes
        array = array.astype(np.int32)
    array = array.reshape(*array.shape[:2], -1)
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def to_tensor(pic: Any) -> Tensor:
    """An image as a tensor (C, H, W): y = pixel / 255 in float32 for bytes; other numbers stay as they are.

    Parameters
    ----------
    pic : image of Pillow, or numpy.ndarray (H, W) or (H, W, C)

    Returns
    -------
    Tensor

    Raises
    ------
    UsageError, ShapeError
        If it is no image.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ShapeError(f"to_tensor: expected an array (H, W) or (H, W, C); got shape {pic.shape}.")
        pixels = pic.reshape(*pic.shape[:2], -1).transpose(2, 0, 1)
        if pixels.dtype != np.uint8:
            return as_tensor(np.array(pixels, order="C"))
    elif is_pillow(pic):
        pixels = _pixels(pic)
        if pic.mode == "1":
            pixels = pixels * np.uint8(255)
        if pixels.dtype != np.uint8:
            return as_tensor(pixels)
    else:
        raise UsageError(f"to_tensor: pic: expected an image of Pillow or an array; got {type(pic).__name__}.")
    return as_tensor(np.divide(pixels, np.float32(255), dtype=np.float32, order="C"))


def convert_image_dtype(image: Tensor, dtype: Any = None) -> Tensor:
    """A tensor's numbers in another dtype, and in its range: 0 to 1 for floats, else 0 to the largest number.

    Parameters
    ----------
    image : Tensor
    dtype : dtype, optional
        float32 if None.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If float32 is to become int32 or int64, or float64 int64, whose numbers it does not have.
    """
    op = "convert_image_dtype"
    if not isinstance(image, Tensor):
        raise UsageError(f"{op}: image: expected a tensor; got {type(image).__name__}. Put ToTensor() before it.")
    goal, kind = dtype_of(op, np.float32 if dtype is None else dtype), image.dtype
    if "b" in (goal.kind, kind.kind):
        raise DTypeError(f"{op}: expected floats or integers; got {kind} to become {goal}.")
    if goal == kind:
        return image
    if goal.kind == "f":
        return image.to(goal) if kind.kind == "f" else image.to(goal) / np.iinfo(kind).max
    most = int(np.iinfo(goal).max)
    if kind.kind == "f":
        if goal.itemsize >= kind.itemsize:
            raise DTypeError(f"{op}: {kind} does not have all numbers of {goal}; convert to a smaller dtype.")
        return (image * (most + 1 - 1e-3)).to(goal)
    ratio = (int(np.iinfo(kind).max) + 1) / (most + 1)
    return (image // int(ratio)).to(goal) if ratio > 1 else image.to(goal) * int(1 / ratio)


_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C), as Pillow's image.

    Parameters
    ----------
    pic : Tensor or numpy.ndarray
        A tensor's floats are from 0 to 1 and rounded down to bytes.
    mode : str, optional
        Pillow's name of how colours are stored. Default by channels: L, LA, RGB, RGBA; float32 arrays of one: F.

    Returns
    -------
    image of Pillow

    Raises
    ------
    ShapeError, DTypeError, UsageError
        If there is no such image.
    """
    if isinstance(pic, Tensor):
        array = pic.detach().cpu().numpy()
        if array.ndim not in (2, 3):
            raise ShapeError(f"to_pil_image: expected a tensor (C, H, W) or (H, W); got shape {array.shape}.")
        array = np.atleast_3d(array) if array.ndim == 2 else array.transpose(1, 2, 0)
        if array.dtype.kind == "f" and mode != "F":
            array = (array * array.dtype.type(255)).astype(np.uint8)
    elif isinstance(pic, np.ndarray):
        array = np.atleast_3d(pic)
        if array.ndim != 3:
            raise ShapeError(f"to_pil_image: expected an array (H, W) or (H, W, C); got shape {pic.shape}.")
    else:
        raise UsageError(f"to_pil_image: pic: expected a tensor or an array; got {type(pic).__name__}.")
    number = array.shape[2]
    if number not in _MODES:
        raise ShapeError(f"to_pil_image: expected 1 to 4 channels; got {number}.")
    if array.dtype == np.uint8:
        found = _MODES[number]
    else:
        found = {"float32": "F", "int32": "I", "int16": "I;16"}.get(array.dtype.name, "") if number == 1 else ""
    if not found:
        raise DTypeError(f"to_pil_image: Pillow has no images of {number} channels of {array.dtype}; convert to uint8.")
    image = from_array(array[:, :, 0] if number == 1 else array)
    if mode in (None, found):
        return image
    same = {1: ("L", "I", "F", "I;16", "1", "P"), 2: ("LA",), 3: ("RGB", "YCbCr", "HSV"), 4: ("RGBA", "CMYK", "RGBX")}
    if mode not in same[number]:
        raise UsageError(f"to_pil_image: mode: expected one of {same[number]} for {number} channels; got {mode!r}.")
    return image.convert(mode) if number == 1 else pillow().merge(mode, image.split())


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """y = (x - mean) / std for each channel.

    Parameters
    ----------
    tensor : Tensor (..., C, H, W), floating
    mean, std : sequence of C floats, or of one
    inplace : bool
        Write the result into ``tensor``, which is returned then.

    Raises
    ------
    DTypeError, ShapeError
        If it is no floating image, or there are more or fewer numbers than channels.
    UsageError
        If a deviation is 0.
    """
    if not isinstance(tensor, Tensor):
        raise UsageError(f"normalize: expected a tensor; got {type(tensor).__name__}. Put ToTensor() before it.")
    if tensor.dtype.kind != "f":
        raise DTypeError(f"normalize: expected a floating tensor; got {tensor.dtype}. Convert it with .float().")
    if tensor.ndim < 3:
        raise ShapeError(f"normalize: expected an image (..., C, H, W); got shape {tuple(tensor.shape)}.")
    values = []
    for name, given in (("mean", mean), ("std", std)):
        array = np.asarray(given.numpy() if isinstance(given, Tensor) else given, tensor.dtype).reshape(-1)
        if len(array) not in (1, tensor.shape[-3]):
            raise ShapeError(
                f"normalize: {name}: expected a number for each of {tensor.shape[-3]} channels; got {len(array)}."
            )
        values.append(array.reshape(-1, 1, 1))
    if not values[1].all():
        raise UsageError(f"normalize: std: expected numbers other than 0; got {std!r}.")
    if (
        tensor.device.name == "cpu" and not tensor.requires_grad
    ):  # an image at a time: most of the time is spent around ops
        y = as_tensor((tensor.numpy() - values[0]) / values[1])
    else:
        y = (tensor - as_tensor(values[0]).to(tensor.device)) / as_tensor(values[1]).to(tensor.device)
    return tensor.copy_(y) if inplace else y


class ToTensor:
    """Pillow's image or an array (H, W, C) as a tensor (C, H, W): bytes from 0 to 255 become float32 from 0 to 1.

    References
    ----------
    torchvision's ToTensor, whose bits it gives.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.vision import transforms
    >>> transforms.ToTensor()(np.full((1, 2, 3), 51, np.uint8)).shape
    (3, 1, 2)
    """

    def __call__(self, pic: Any) -> Tensor:
        """Convert ``pic``."""
        return to_tensor(pic)

    def __repr__(self) -> str:
        return "ToTensor()"


class PILToTensor:
    """Pillow's image as a tensor (C, H, W) of its own numbers, bytes of most images."""

    def __call__(self, pic: Any) -> Tensor:
        """Convert ``pic``."""
        return pil_to_tensor(pic)

    def __repr__(self) -> str:
        return "PILToTensor()"


class ToPILImage:
    """A tensor (C, H, W) or an array (H, W, C) as Pillow's image; a tensor's floats are from 0 to 1.

    Parameters
    ----------
    mode : str, optional
        Pillow's name of how colours are stored. Default: by channels and dtype.
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        """Convert ``pic``."""
        return to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return "ToPILImage()" if self.mode is None else f"ToPILImage(mode={self.mode})"


class Normalize:
    """y = (x - mean) / std for each channel of a tensor (..., C, H, W).

    Parameters
    ----------
    mean, std : sequence of C floats
        Of the training images.
    inplace : bool
        Change the tensor itself.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean, self.std, self.inplace = mean, std, inplace

    def __call__(self, tensor: Tensor) -> Tensor:
        """Standardise ``tensor``."""
        return normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class ConvertImageDtype:
    """A tensor's numbers in another dtype, and in its range: 0 to 1 for floats, else 0 to the largest number.

    Parameters
    ----------
    dtype : dtype
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype_of("ConvertImageDtype", dtype)

    def __call__(self, image: Tensor) -> Tensor:
        """Convert ``image``."""
        return convert_image_dtype(image, self.dtype)

    def __repr__(self) -> str:
        return "ConvertImageDtype()"
