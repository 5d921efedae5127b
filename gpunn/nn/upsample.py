"""Upsample: images and sequences of another size."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn._tensor import Tensor
from gpunn.composed.interpolate import interpolate
from gpunn.nn.module import Module


class Upsample(Module):
    """Sequences, images or volumes resampled to another size, larger or smaller.

    Parameters
    ----------
    size : int or sequence of int, optional
        The new size along each axis behind the channels. Either this or ``scale_factor``.
    scale_factor : float or sequence of float, optional
        The new size is floor(size times this).
    mode : str
        "nearest", "linear" (sequences), "bilinear", "bicubic" (images) or "trilinear" (volumes).
    align_corners : bool, optional
        Whether the first and last elements keep their values; else pixels are areas.
    recompute_scale_factor : bool, optional
        Whether positions follow from the sizes instead of ``scale_factor``.

    Shape
    -----
    x : (N, C, L), (N, C, H, W) or (N, C, D, H, W), float32 or float64;  y : like x, of the new size

    Raises
    ------
    ShapeError, DTypeError, UsageError
        As :func:`gpunn.nn.functional.interpolate`.

    References
    ----------
    Odena, Dumoulin, Olah 2016, "Deconvolution and checkerboard artifacts".
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor: float | tuple[float, ...] | None
        if isinstance(scale_factor, Sequence):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = None if scale_factor is None else float(scale_factor)
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images resampled to another size by nearest neighbours.

    Parameters
    ----------
    size : int or (int, int), optional
        The new size. Either this or ``scale_factor``.
    scale_factor : float or (float, float), optional
        The new size is floor(size times this).

    Shape
    -----
    x : (N, C, H, W), float32 or float64;  y : like x, of the new size

    References
    ----------
    Odena, Dumoulin, Olah 2016, "Deconvolution and checkerboard artifacts".
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images resampled to another size bilinearly, with the corners in place.

    Parameters
    ----------
    size : int or (int, int), optional
        The new size. Either this or ``scale_factor``.
    scale_factor : float or (float, float), optional
        The new size is floor(size times this).

    Shape
    -----
    x : (N, C, H, W), float32 or float64;  y : like x, of the new size

    References
    ----------
    Odena, Dumoulin, Olah 2016, "Deconvolution and checkerboard artifacts".
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
