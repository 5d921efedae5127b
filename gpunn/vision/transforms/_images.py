"""What an image is: one of Pillow's, or a tensor (..., C, H, W), whose numbers NumPy changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._creation_shared import as_tensor
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.data.image import pillow
from gpunn.errors import ShapeError, UsageError
from gpunn.utils.data._workers import random_stream


def is_pillow(image: Any) -> bool:
    """Whether it is Pillow's image; nothing is imported to find that out."""
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(image).__mro__)


def check_image(op: str, image: Any) -> None:
    """Raise UsageError unless ``image`` is Pillow's or a tensor, ShapeError for a tensor without height and width."""
    if isinstance(image, Tensor):
        if image.ndim < 2:
            raise ShapeError(f"{op}: expected an image (..., C, H, W); got a tensor of shape {tuple(image.shape)}.")
    elif not is_pillow(image):
        raise UsageError(
            f"{op}: expected an image of Pillow or a tensor (..., C, H, W); got {type(image).__name__}. "
            "Make an array one by transforms.ToPILImage() or gpunn.from_numpy."
        )


def check_pillow(op: str, image: Any) -> None:
    """Raise UsageError unless ``image`` is Pillow's."""
    check_image(op, image)
    if isinstance(image, Tensor):
        raise UsageError(f"{op}: expected an image of Pillow; got a tensor. Put {op} before ToTensor().")


def height_and_width(image: Any) -> tuple[int, int]:
    """Of an image that was checked."""
    if isinstance(image, Tensor):
        return int(image.shape[-2]), int(image.shape[-1])
    return int(image.height), int(image.width)


def channels(image: Any) -> int:
    """How many numbers a pixel has."""
    if isinstance(image, Tensor):
        return int(image.shape[-3]) if image.ndim > 2 else 1
    return len(image.getbands())


def changed(image: Tensor, change: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """What NumPy makes of a tensor's numbers, on the tensor's device; no gradients are recorded."""
    return as_tensor(np.ascontiguousarray(change(image.detach().cpu().numpy()))).to(image.device)


def from_array(array: np.ndarray) -> Any:
    """Pillow's image of (H, W) or (H, W, C) bytes."""
    return pillow().fromarray(np.ascontiguousarray(array))


def uniform(low: float, high: float) -> float:
    """A random number from low to high."""
    return float(random_stream().uniform(low, high, (1,), np.float64)[0])


def integer(count: int) -> int:
    """A random whole number, 0 to count - 1."""
    return int(random_stream().integers(count, (1,))[0])


def order(count: int) -> list[int]:
    """A random order of 0 ... count - 1."""
    found: list[int] = random_stream().permutation(count).tolist()
    return found


def pair(op: str, name: str, value: Any) -> tuple[int, int]:
    """(height, width) of one length, of a sequence of one or of two."""
    several = list(value) if isinstance(value, tuple | list) else [value]
    if len(several) not in (1, 2):
        raise UsageError(f"{op}: {name}: expected one length or (height, width); got {value!r}.")
    lengths = [whole_number(op, name, n, 1) for n in several]
    return lengths[0], lengths[-1]
