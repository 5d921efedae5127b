"""What ``gpunn.amp.autocast`` changes: the dtypes in which ops compute within it, and the one thing that ops ask.

An op of the tables below begins with two lines, ``if casting.on`` and ``casting.inputs(its name, its tensors)``. Which
ops they are is PyTorch's choice, made for CUDA and for CPU separately (``ATen/autocast_mode``, version 2.13). What is
not in the tables computes in the dtype of its inputs, as ever; so does backward, whose dtypes are those of forward.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._half import FLOAT32, FLOATING

if TYPE_CHECKING:
    from gpunn._device import Device
    from gpunn._tensor import Tensor

# Products and convolutions: to the 16-bit dtype. Tensor cores are fast there, and sums are kept in float32.
_LOWER = (
    "linear conv1d conv2d conv3d conv2d_max_pool2d conv_transpose1d conv_transpose2d conv_transpose3d prelu matmul "
    "addmm baddbmm addbmm scaled_dot_product_attention"
)
# Where 16 bits have too few digits, or too small a range: to float32.
_FLOAT = (
    "binary_cross_entropy binary_cross_entropy_with_logits cdist cosine_embedding_loss cross_entropy "
    "hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss nll_loss "
    "poisson_nll_loss prod smooth_l1_loss soft_margin_loss triplet_margin_loss"
)
# Operands of several dtypes: to float32.
_WIDEST = "addcdiv addcmul atan2 index_copy"

_OF_CUDA = {
    "lower": f"{_LOWER} addmv addr einsum gru_gates lstm_gates mv recurrent",
    "float32": f"{_FLOAT} acos asin cosh cosine_similarity cumprod cumsum dist erfinv exp expm1 group_norm interpolate "
    "layer_norm log log10 log1p log2 log_softmax logsumexp norm pdist pow_ reciprocal rms_norm rsqrt sinh softmax "
    "softplus sum_ tan",
    "widest": f"{_WIDEST} bilinear cross dot grid_sample scatter_add tensordot vdot",
}
_OF_CPU = {
    "lower": f"{_LOWER} recurrent",
    "float32": f"{_FLOAT} adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d grid_sample gru_gates "
    "local_response_norm lstm_gates max_pool3d quantile trace",
    "widest": _WIDEST,
}
_POLICIES = tuple(
    {name: policy for policy, names in table.items() for name in names.split()} for table in (_OF_CUDA, _OF_CPU)
)
CUDA, CPU = 0, 1  # places in ``_POLICIES`` and ``_Casting.dtypes``


def place_of(device: Device) -> int:
    """CPU, or CUDA for all that run kernels."""
    return CPU if device.name == "cpu" else CUDA


class _Casting(threading.local):
    """What ops ask, in each thread for itself.

    Attributes
    ----------
    on : bool
        Whether the block is within an ``autocast`` that is enabled.
    dtypes : tuple of two dtypes or None
        The 16-bit dtype of products on GPUs and on CPUs; None where nothing is cast.
    keeps : bool
        Whether parameters' copies in 16 bits are kept until the outermost block ends.
    depth : int
        Blocks around, enabled or not.
    """

    on = False
    dtypes: tuple[np.dtype | None, np.dtype | None] = (None, None)
    keeps = True
    depth = 0

    def __init__(self) -> None:
        # By the id of a leaf and the dtype: the leaf, how often it had changed, and the copy.
        self._kept: dict[tuple[int, np.dtype], tuple[Tensor, int, Tensor]] = {}

    def set(self, dtypes: tuple[np.dtype | None, np.dtype | None]) -> None:
        """From now on cast to these."""
        self.dtypes = dtypes
        self.on = dtypes != (None, None)

    @property
    def key(self) -> Any:
        """What a captured step depends on."""
        return self.dtypes if self.on else None

    def forget(self) -> None:
        """Keep no copy of a parameter any more."""
        self._kept.clear()

    @contextlib.contextmanager
    def own_copies(self) -> Iterator[None]:
        """A block that neither sees copies of parameters from outside nor leaves any: a captured step makes its own."""
        outer, self._kept = self._kept, {}
        try:
            yield
        finally:
            self._kept = outer

    def applies(self, op: str, x: Any) -> bool:
        """Whether the op called ``op`` is cast now, if ``x`` is one of its inputs."""
        if not self.on or not hasattr(x, "device"):
            return False
        place = place_of(x.device)
        return self.dtypes[place] is not None and op in _POLICIES[place]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A block in which nothing is cast: the inside of an op that is made of others, once its inputs are."""
        outer = self.dtypes
        self.set((None, None))
        try:
            yield
        finally:
            self.set(outer)

    def as_parameter(self, x: Tensor, parameter: Tensor) -> Tensor:
        """An input in its parameter's dtype, where a block converts between them anyway."""
        place = place_of(x.device)
        if not self.on or self.dtypes[place] is None or not (_is_eligible(x, place) and _is_eligible(parameter, place)):
            return x
        return self._cast(x, parameter.dtype)

    def inputs(self, op: str, *values: Any) -> tuple[Any, ...]:
        """The inputs of the op called ``op`` in the dtype it computes in now; what is no tensor, as it is."""
        from gpunn._tensor import Tensor

        tensors = [v for v in values if isinstance(v, Tensor)]
        if not tensors:
            return values
        place = place_of(tensors[0].device)
        lower, policy = self.dtypes[place], _POLICIES[place].get(op)
        if lower is None or policy is None:
            return values
        able = [t for t in tensors if _is_eligible(t, place)]
        if policy == "lower":
            goal = lower
        elif policy == "float32" or len({t.dtype for t in able}) > 1:
            goal = FLOAT32
        else:
            return values
        return self.to(goal, place, values)

    def to(self, goal: np.dtype, place: int, values: Any) -> tuple[Any, ...]:
        """The values with all tensors that autocast may convert in one dtype."""
        from gpunn._tensor import Tensor

        return tuple([self._cast(v, goal) if isinstance(v, Tensor) and _is_eligible(v, place) else v for v in values])

    def _cast(self, x: Tensor, goal: np.dtype) -> Tensor:
        from gpunn.ops.cast import to_dtype
        from gpunn.tape import is_grad_enabled

        if x.dtype == goal:
            return x
        if not (self.keeps and self.depth and goal != FLOAT32 and _is_kept_leaf(x) and is_grad_enabled()):
            return to_dtype(x, goal)
        key, changed = (id(x), goal), x._storage.count
        known = self._kept.get(key)
        # A pass backward frees the copy's node; a copy of other values is of no use.
        if known is not None and known[0] is x and known[1] == changed and known[2]._node.backward is not None:  # type: ignore[union-attr]
            return known[2]
        copy = to_dtype(x, goal)
        self._kept[key] = x, changed, copy
        return copy


def _is_eligible(x: Tensor, place: int) -> bool:
    """Whether PyTorch casts such a tensor: floating, not float64, and on a device of this kind."""
    return x.dtype.kind in FLOATING and x.dtype.itemsize < 8 and place_of(x.device) == place


def _is_kept_leaf(x: Tensor) -> bool:
    return x.requires_grad and x._node is None and x._view is None


casting = _Casting()
