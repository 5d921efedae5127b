"""Embedding: a vector for each index."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.errors import ShapeError, UsageError
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.embedding import embedding
from gpunn.tape import no_grad


class Embedding(Module):
    """A table of V vectors of length D, looked up by index.

    Parameters
    ----------
    num_embeddings : int
        V.
    embedding_dim : int
        D.
    padding_idx : int, optional
        A row that is initially zero and gets no gradient. Negative counts from the end.
    max_norm, norm_type, scale_grad_by_freq, sparse
        Only PyTorch's defaults.
    _weight : Tensor, optional
        The table's values, (V, D); drawn if not given.
    _freeze : bool
        Whether to exclude the table from training.
    device : Device or str, optional
        Where the table is made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (V, D)
        Initially standard normal, PyTorch's default.

    Shape
    -----
    x : (...) integers from 0 to V - 1;  y : (..., D)

    Raises
    ------
    RangeError, DTypeError, DeviceError
        If x does not hold row indices; the message names the layer. Where kernels run, an index out of range is
        reported at the next read from the device.

    References
    ----------
    Bengio, Ducharme, Vincent, Jauvin 2003, "A neural probabilistic language model"; lecture topic L17.

    Examples
    --------
    >>> import gpunn
    >>> layer = gpunn.nn.Embedding(10, 3, padding_idx=0)
    >>> layer(gpunn.tensor([[1, 2], [4, 0]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        refuse("Embedding", max_norm=max_norm, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)
        self.num_embeddings = whole("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = whole("Embedding", "embedding_dim", embedding_dim)
        if padding_idx is not None:
            padding_idx = whole("Embedding", "padding_idx", padding_idx, -self.num_embeddings)
            if padding_idx >= self.num_embeddings:
                raise UsageError(f"Embedding: padding_idx: expected a row of {self.num_embeddings}; got {padding_idx}.")
            padding_idx %= self.num_embeddings
        self.padding_idx = padding_idx
        shape = self.num_embeddings, self.embedding_dim
        if _weight is None:
            self.weight = new_parameter(shape, device, dtype)
            self.reset_parameters()
        elif _weight.shape != shape:
            raise ShapeError(f"Embedding: _weight: expected a table of shape {shape}; got {_weight.shape}.")
        else:
            self.weight = Parameter(_weight)
        self.weight.requires_grad_(not _freeze)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer with a given table.

        Parameters
        ----------
        embeddings : Tensor, (V, D)
            Copied.
        freeze : bool
            Whether to exclude the table from training.
        padding_idx : int, optional
            A row that gets no gradient; it keeps its values here.
        max_norm, norm_type, scale_grad_by_freq, sparse
            Only PyTorch's defaults.

        Raises
        ------
        ShapeError
            If it is not a table.
        """
        if embeddings.ndim != 2:
            raise ShapeError(f"Embedding.from_pretrained: expected a table (V, D); got shape {embeddings.shape}.")
        rows, columns = embeddings.shape
        how = {"max_norm": max_norm, "norm_type": norm_type, "scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse}
        table = embeddings.detach().clone()
        return cls(rows, columns, padding_idx, **how, _weight=table, _freeze=freeze)  # type: ignore[arg-type]

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def forward(self, x: Tensor) -> Tensor:
        return embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
