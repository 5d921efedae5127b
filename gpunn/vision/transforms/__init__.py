"""Transforms of one image, under torchvision's names; each is called with an image and returns one.

Images are Pillow's, or tensors (..., C, H, W), as torchvision takes them. What is random is drawn from the default
generator, which ``gpunn.manual_seed`` seeds; in a loader's worker from a stream of the batch. For whole batches on
their device see :mod:`gpunn.data.transforms`.
"""

from gpunn._calls import explains_all
from gpunn.vision.transforms import functional
from gpunn.vision.transforms._chosen import Compose, Lambda, RandomApply, RandomChoice, RandomOrder
from gpunn.vision.transforms._colour import ColorJitter, Grayscale, RandomErasing, RandomGrayscale
from gpunn.vision.transforms._converted import ConvertImageDtype, Normalize, PILToTensor, ToPILImage, ToTensor
from gpunn.vision.transforms._placed import (
    CenterCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
)
from gpunn.vision.transforms._varied import (
    FiveCrop,
    GaussianBlur,
    RandomAdjustSharpness,
    RandomAffine,
    RandomAutocontrast,
    RandomEqualize,
    RandomInvert,
    RandomPerspective,
    RandomPosterize,
    RandomSolarize,
    TenCrop,
)
from gpunn.vision.transforms.functional import InterpolationMode

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ConvertImageDtype",
    "FiveCrop",
    "GaussianBlur",
    "Grayscale",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "PILToTensor",
    "Pad",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomChoice",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomOrder",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToPILImage",
    "ToTensor",
    "functional",
]

explains_all(globals(), frozenset(("__init__", "__call__")))
