"""What PyTorch programs name without calling it: the class of shapes, and that of layouts with its one member."""

from __future__ import annotations

from gpunn._layout import Size

__all__ = ["Size", "layout", "strided"]


class layout:
    """The class of ``strided``: tensors are dense arrays.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"gpunn.{self._name}"

    def __reduce__(self) -> str:
        return self._name  # pickle and deepcopy return the one object


strided = layout("strided")
