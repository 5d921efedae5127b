"""A call that works of everything public that takes arguments: ``CALLS`` by name, for tests that spoil one argument.

``Call.arguments()`` makes its arguments anew: a spoilt call may have changed the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpunn
from gpunn import autograd, data, models, nn, optim, train
from gpunn.data import transforms
from gpunn.nn import functional as F
from gpunn.nn import init, utils
from gpunn.optim import lr_scheduler, swa_utils
from gpunn.utils import data as utils_data
from gpunn.vision import ops as vision_ops
from gpunn.vision import transforms as vision
from gpunn.vision import utils as vision_utils


@dataclass(frozen=True)
class Call:
    """``function(*arguments())`` works."""

    function: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]


def x(*shape: int) -> gpunn.Tensor:
    """A leaf with numbers between 0 and 1, of shape (2, 3) if none is given."""
    numbers = np.random.Generator(np.random.Philox(0)).random(shape or (2, 3))
    return gpunn.tensor(numbers.astype(np.float32), requires_grad=True)


def constant(*shape: int) -> gpunn.Tensor:
    """The same without a gradient."""
    return x(*shape).detach()


def images() -> gpunn.Tensor:
    return x(2, 4, 6, 6)


def volumes() -> gpunn.Tensor:
    return x(2, 4, 3, 4, 4)


def sequences() -> gpunn.Tensor:
    return x(2, 4, 6)


def whole(*numbers: int) -> gpunn.Tensor:
    return gpunn.tensor(numbers)


def mask() -> gpunn.Tensor:
    return constant() > 0.5


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def parameters() -> list[Any]:
    return list(nn.Linear(3, 2).parameters())


def optimizer() -> optim.SGD:
    return optim.SGD(parameters(), lr=0.1, momentum=0.9)


def dataset() -> data.TensorDataset:
    return data.TensorDataset(np.zeros((6, 3), np.float32), np.zeros(6, np.int64))


def loader() -> data.DataLoader:
    return data.DataLoader(dataset(), 2)


def with_gradients() -> list[Any]:
    found = parameters()
    for parameter in found:
        parameter.grad = gpunn.ones_like(parameter)
    return found


CALLS: dict[str, Call] = {}


def add(name: str, function: Callable[..., Any], arguments: Callable[[], tuple[Any, ...]]) -> None:
    CALLS[name] = Call(function, arguments)


def method(name: str, make: Callable[[], Any], arguments: Callable[[], tuple[Any, ...]]) -> None:
    """A method ``Class.name`` of what ``make`` returns."""

    def called(*args: Any) -> Any:
        return getattr(make(), name.split(".", 1)[1])(*args)

    add(name, called, arguments)


def _with_keepdim(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda given, dim, keepdim: function(given, dim=dim, keepdim=keepdim)


def _with_reduction(kind: Callable[..., Any]) -> Callable[..., Any]:
    return lambda reduction: kind(reduction=reduction)


def _fixed(options: tuple[Any, ...]) -> Callable[[], tuple[Any, ...]]:
    return lambda: options


def _against(target: Callable[[], Any]) -> Callable[[], tuple[Any, ...]]:
    return lambda: (x(), target())


def _with_optimizer(options: tuple[Any, ...]) -> Callable[[], tuple[Any, ...]]:
    return lambda: (optimizer(), *options)


def _one(make: Callable[[], Any]) -> Callable[[], tuple[Any, ...]]:
    return lambda: (make(),)


# -- functions of gpunn ---------------------------------------------------------------------------

_OF_ONE = (
    "abs ceil clone cos erf exp expm1 floor isfinite isinf isnan log log1p logical_not neg nonzero ravel reciprocal"
)
_OF_ONE += " relu round rsqrt sigmoid sign sin sqrt square t tanh zeros_like ones_like empty_like rand_like randn_like"
for _name in _OF_ONE.split():
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(),))
_ALONG = (
    "all amax amin any argmax argmin flatten log_softmax max mean min prod softmax squeeze std sum unbind unsqueeze var"
)
for _name in _ALONG.split():
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), 1))
for _name in ("sum", "mean", "std", "var", "amax", "amin", "prod"):
    add(f"gpunn.{_name}(keepdim)", _with_keepdim(getattr(gpunn, _name)), lambda: (x(), 1, True))
for _name in ["add", "allclose", "div", "equal", "floor_divide", "maximum", "minimum", "mul", "pow", "sub"]:
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), x()))
add("gpunn.remainder", gpunn.remainder, lambda: (x(), constant()))
for _name in ["cat", "concat", "concatenate", "stack"]:
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: ([x(), x()], 1))
add("gpunn.bmm", gpunn.bmm, lambda: (x(2, 3, 4), x(2, 4, 5)))
for _name in ("matmul", "mm"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(3, 4), x(4, 5)))
add("gpunn.broadcast_to", gpunn.broadcast_to, lambda: (x(), (4, 2, 3)))
add("gpunn.capture", gpunn.capture, lambda: (model().zero_grad,))
add("gpunn.chunk", gpunn.chunk, lambda: (x(), 2, 0))
for _name in ("clamp", "clip"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), 0, 1))
add("gpunn.device", gpunn.device, lambda: ("cpu",))
add("gpunn.flip", gpunn.flip, lambda: (x(), (0, 1)))
add("gpunn.full_like", gpunn.full_like, lambda: (x(), 2.0))
add("gpunn.gather", gpunn.gather, lambda: (x(), 1, gpunn.tensor([[0], [1]])))
add("gpunn.lockstep", gpunn.lockstep, lambda: (nn.Linear(3, 2), constant(), ("cpu", "cpu")))
add("gpunn.gradcheck", gpunn.gradcheck, lambda: (gpunn.exp, gpunn.ones(2, dtype="float64", requires_grad=True)))
add("gpunn.index_select", gpunn.index_select, lambda: (x(), 1, whole(0, 1)))
add("gpunn.manual_seed", gpunn.Generator().manual_seed, lambda: (2,))
add("gpunn.masked_fill", gpunn.masked_fill, lambda: (x(), mask(), 1.0))
add("gpunn.masked_select", gpunn.masked_select, lambda: (x(), mask()))
add("gpunn.movedim", gpunn.movedim, lambda: (x(), 0, 1))
add("gpunn.narrow", gpunn.narrow, lambda: (x(), 1, 0, 2))
add("gpunn.norm", gpunn.norm, lambda: (x(), 2, 1))
add("gpunn.permute", gpunn.permute, lambda: (x(), (1, 0)))
add("gpunn.reshape", gpunn.reshape, lambda: (x(), (3, 2)))
add("gpunn.select", gpunn.select, lambda: (x(), 1, 0))
add("gpunn.split", gpunn.split, lambda: (x(), 1, 0))
add("gpunn.take_along_dim", gpunn.take_along_dim, lambda: (x(), gpunn.tensor([[0], [1]]), 1))
add("gpunn.transpose", gpunn.transpose, lambda: (x(), 0, 1))
for _name in ("tril", "triu"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), 1))
add("gpunn.unflatten", gpunn.unflatten, lambda: (x(), 1, (3, 1)))
add("gpunn.where", gpunn.where, lambda: (mask(), x(), x()))
add("autograd.grad", autograd.grad, lambda: (lambda leaf: (leaf * 2, leaf))(x(1)))

for _name in ("addmm", "addmv", "baddbmm"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), {
        "addmm": lambda: (x(2, 2), x(2, 3), x(3, 2)),
        "addmv": lambda: (x(2), x(2, 3), x(3)),
        "baddbmm": lambda: (x(4, 2, 2), x(4, 2, 3), x(4, 3, 2)),
    }[_name])  # fmt: skip
for _name in ("diag", "diagonal", "trace"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(),))
add("gpunn.diagonal(offset)", gpunn.diagonal, lambda: (x(), 1, 0, 1))
add("gpunn.diag(offset)", gpunn.diag, lambda: (x(), 1))
for _name in ("dot", "ger", "outer"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(3), x(3)))
add("gpunn.mv", gpunn.mv, lambda: (x(), x(3)))
add("gpunn.einsum", gpunn.einsum, lambda: ("ij,kj->ik", x(), x()))
add("gpunn.isclose", gpunn.isclose, lambda: (x(), x(), 1e-5, 1e-8, True))
add("gpunn.lerp", gpunn.lerp, lambda: (x(), x(), 0.5))
add("gpunn.logsumexp", gpunn.logsumexp, lambda: (x(), 1, True))
add("gpunn.meshgrid", gpunn.meshgrid, lambda: (x(3), x(2)))
add("gpunn.nan_to_num", gpunn.nan_to_num, lambda: (x(), 0.0, 1.0, -1.0))
add("gpunn.repeat_interleave", gpunn.repeat_interleave, lambda: (x(), 2, 1))
add("gpunn.roll", gpunn.roll, lambda: (x(), 1, 1))

for _name in ("cosh", "log10", "log2", "sinh", "tan", "unique"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(),))
for _name in ("argsort", "clamp_max", "clamp_min", "count_nonzero", "cumsum", "fmod", "sort", "topk"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), 1))
add("gpunn.bernoulli", gpunn.bernoulli, lambda: (x(),))
add("gpunn.bincount", gpunn.bincount, lambda: (whole(0, 1), constant(2), 3))
add("gpunn.cross", gpunn.cross, lambda: (x(), x(), 1))
add("gpunn.index_add", gpunn.index_add, lambda: (x(), 1, whole(0, 1), x(2, 2)))
add("gpunn.multinomial", gpunn.multinomial, lambda: (x(), 2, True))
add("gpunn.normal", gpunn.normal, lambda: (x(), 1.0))
for _name in ("scatter", "scatter_add"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), 1, gpunn.tensor([[0], [1]]), x()))

_OF_ONE = "acos acosh asin asinh atan atanh deg2rad erfinv exp2 fix frac logit rad2deg sgn signbit sinc trunc"
for _name in _OF_ONE.split():
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(),))
_OF_TWO = "atan2 copysign dist eq float_power ge gt heaviside hypot le logaddexp logaddexp2 lt ne rsub xlogy"
for _name in _OF_TWO.split():
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (constant(), constant()))
for _name in ("addcdiv", "addcmul"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(), x(), x()))
_OF_ONE = (
    "aminmax argwhere atleast_1d atleast_2d atleast_3d diagflat fliplr flipud histc median nanmean nansum std_mean"
)
for _name in _OF_ONE.split():
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(),))
for _name, _more in {
    **dict.fromkeys(("cummax", "cummin", "cumprod", "mode"), (1,)),
    "diag_embed": (1, 0, 1),
    "diff": (1, 1),
    "hsplit": (3,),
    "index_fill": (1, whole(0), 2.0),
    "kthvalue": (2, 1, True),
    "quantile": (0.5, 1, True),
    "rot90": (1, (0, 1)),
    "take": (whole(3, 0),),
    "tensor_split": (2, 1),
    "tile": ((2, 1),),
    "vsplit": (2,),
}.items():
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda more=_more: (x(), *more))  # type: ignore[misc]
for _name in ("trapezoid", "trapz", "cdist", "inner", "kron", "searchsorted"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (constant(), constant()))
for _name in ("column_stack", "dstack", "hstack", "vstack"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: ([x(), x()],))
for _name in ("block_diag", "chain_matmul"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (x(3, 3), x(3, 3)))
for _name in ("tril_indices", "triu_indices"):
    add(f"gpunn.{_name}", getattr(gpunn, _name), lambda: (3, 4, 1))
add("gpunn.addbmm", gpunn.addbmm, lambda: (x(3, 3), x(2, 3, 3), x(2, 3, 3)))
add("gpunn.addr", gpunn.addr, lambda: (x(), x(2), x(3)))
add("gpunn.bucketize", gpunn.bucketize, lambda: (constant(), constant(3)))
add("gpunn.cartesian_prod", gpunn.cartesian_prod, lambda: (x(2), x(3)))
add("gpunn.combinations", gpunn.combinations, lambda: (x(3), 2, True))
add("gpunn.dsplit", gpunn.dsplit, lambda: (images(), 2))
add("gpunn.index_copy", gpunn.index_copy, lambda: (x(), 1, whole(0, 1), x(2, 2)))
add("gpunn.masked_scatter", gpunn.masked_scatter, lambda: (x(), mask(), x()))
add("gpunn.matrix_power", gpunn.matrix_power, lambda: (x(3, 3), 2))
add("gpunn.tensordot", gpunn.tensordot, lambda: (x(), x(3, 2), 1))
add("gpunn.vander", gpunn.vander, lambda: (x(3), 2, True))
add("gpunn.vdot", gpunn.vdot, lambda: (x(3), x(3)))
add("F.pdist", F.pdist, lambda: (x(3, 2), 2.0))
add("gpunn.broadcast_shapes", gpunn.broadcast_shapes, lambda: ((2, 3), (3,)))
add("gpunn.broadcast_tensors", gpunn.broadcast_tensors, lambda: (x(), x()))
add("gpunn.device(index)", gpunn.device, lambda: ("cpu", 0))

# -- nn.functional --------------------------------------------------------------------------------

_OF_ONE = (
    "absolute_relu dropout elu flatten gelu hardtanh leaky_relu logsigmoid relu relu6 sigmoid silu softplus step tanh"
)
_OF_ONE += " celu dropout1d dropout2d hardsigmoid hardswish mish selu softsign tanhshrink"
for _name in _OF_ONE.split():
    add(f"F.{_name}", getattr(F, _name), lambda: (x(),))
for _name in ("softmax", "log_softmax"):
    add(f"F.{_name}", getattr(F, _name), lambda: (x(), 1))
add("F.maxout", F.maxout, lambda: (x(), 3, 1))
add("F.affine_grid", F.affine_grid, lambda: (x(2, 2, 3), (2, 1, 3, 3), True))
add("F.grid_sample", F.grid_sample, lambda: (images(), constant(2, 3, 3, 2), "bilinear", "border", True))
add("F.gumbel_softmax", F.gumbel_softmax, lambda: (x(), 0.5, True, 1e-10, 0))
add("F.glu", F.glu, lambda: (images(), 1))
add("F.channel_shuffle", F.channel_shuffle, lambda: (images(), 2))
add("F.conv3d", F.conv3d, lambda: (volumes(), x(2, 4, 3, 3, 3), x(2), 1, 0, 1, 1))
add("F.conv_transpose3d", F.conv_transpose3d, lambda: (volumes(), x(4, 2, 3, 3, 3), x(2), 2, 1, 1, 1, 1))
add("F.lp_pool3d", F.lp_pool3d, lambda: (volumes(), 2.0, 2, 1))
for _name in ("avg_pool3d", "max_pool3d"):
    add(f"F.{_name}", getattr(F, _name), lambda: (volumes(), 2, 2, 0))
for _name in ("adaptive_avg_pool3d", "adaptive_max_pool3d"):
    add(f"F.{_name}", getattr(F, _name), lambda: (volumes(), 2))


def _unpooled(axes: int, *options: Any) -> Callable[[], tuple[Any, ...]]:
    shape = (1, 2, *(2,) * axes)
    return lambda: (x(*shape), gpunn.zeros(*shape, dtype="int64"), *options)


for _axes in (1, 2, 3):
    add(f"F.max_unpool{_axes}d", getattr(F, f"max_unpool{_axes}d"), _unpooled(_axes, 2, 2, 0))
add("F.fold", F.fold, lambda: (x(1, 4, 4), 3, 2, 1, 0, 1))
add("F.unfold", F.unfold, lambda: (images(), 2, 1, 0, 1))
for _name in ("alpha_dropout", "feature_alpha_dropout"):
    add(f"F.{_name}", getattr(F, _name), lambda: (images(), 0.5, True))
for _name in ("hardshrink", "softshrink"):
    add(f"F.{_name}", getattr(F, _name), lambda: (x(), 0.25))
add("F.rrelu", F.rrelu, lambda: (x(), 0.1, 0.2, True))
add("F.threshold", F.threshold, lambda: (x(), 0.1, 2.0))
add("F.local_response_norm", F.local_response_norm, lambda: (images(), 3, 1e-4, 0.75, 1.0))
add("F.bilinear", F.bilinear, lambda: (x(), x(2, 4), x(5, 3, 4), x(5)))
add("F.lp_pool1d", F.lp_pool1d, lambda: (sequences(), 2.0, 2, 1))
add("F.lp_pool2d", F.lp_pool2d, lambda: (images(), 2.0, 2, 1))
add("F.adaptive_max_pool1d", F.adaptive_max_pool1d, lambda: (sequences(), 2))
method("Tensor.unfold", x, lambda: (1, 2, 1))
add("F.dropout3d", F.dropout3d, lambda: (images(),))
add("F.interpolate", F.interpolate, lambda: (images(), 4, None, "bilinear", True))
add("F.pixel_shuffle", F.pixel_shuffle, lambda: (images(), 2))
add("F.pixel_unshuffle", F.pixel_unshuffle, lambda: (images(), 2))
add("F.conv_transpose1d", F.conv_transpose1d, lambda: (sequences(), x(4, 2, 3), x(2), 2, 1, 1, 1, 1))
add("F.conv_transpose2d", F.conv_transpose2d, lambda: (images(), x(4, 2, 3, 3), x(2), 2, 1, 1, 1, 1))
add("F.prelu", F.prelu, lambda: (x(), x(1)))
add("F.pad", F.pad, lambda: (images(), (1, 1, 1, 1)))
add("F.adaptive_avg_pool1d", F.adaptive_avg_pool1d, lambda: (sequences(), 2))
for _name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
    add(f"F.{_name}", getattr(F, _name), lambda: (images(), 2))
for _name in ("avg_pool1d", "max_pool1d"):
    add(f"F.{_name}", getattr(F, _name), lambda: (sequences(), 2, 2, 0))
for _name in ("avg_pool2d", "max_pool2d"):
    add(f"F.{_name}", getattr(F, _name), lambda: (images(), 2, 2, 0))
add("F.batch_norm", F.batch_norm, lambda: (images(), gpunn.zeros(4), gpunn.ones(4), x(4), x(4), True))
add("F.scaled_dot_product_attention", F.scaled_dot_product_attention, lambda: (x(2, 3), x(4, 3), x(4, 5)))
add("F.group_norm", F.group_norm, lambda: (images(), 2, x(4), x(4)))
add("F.layer_norm", F.layer_norm, lambda: (x(), (3,), x(3), x(3)))
add("F.linear", F.linear, lambda: (x(), x(4, 3), x(4)))
add("F.conv1d", F.conv1d, lambda: (sequences(), x(2, 4, 3), x(2), 1, 0, 1, 1))
add("F.conv2d", F.conv2d, lambda: (images(), x(2, 4, 3, 3), x(2), 1, 0, 1, 1))
add("F.one_hot", F.one_hot, lambda: (whole(0, 1), 3))
add("F.embedding", F.embedding, lambda: (whole(0, 1), x(5, 3)))
add("F.cosine_similarity", F.cosine_similarity, lambda: (x(), x(), 1))
add("F.instance_norm", F.instance_norm, lambda: (images(), None, None, x(4), x(4)))
add("F.normalize", F.normalize, lambda: (x(), 2.0, 1))
add("F.pairwise_distance", F.pairwise_distance, lambda: (x(), x(), 2.0))
add("F.rms_norm", F.rms_norm, lambda: (x(), (3,), x(3)))
add("F.triplet_margin_loss", F.triplet_margin_loss, lambda: (x(), x(), x(), 1.0))
add("F.margin_ranking_loss", F.margin_ranking_loss, lambda: (x(), x(), constant(), 0.5))
add("F.cosine_embedding_loss", F.cosine_embedding_loss, lambda: (x(), x(), constant(2), 0.5))
for _name in ("hinge_embedding_loss", "kl_div", "soft_margin_loss"):
    add(f"F.{_name}", getattr(F, _name), lambda: (x(), constant()))
_PAIRS = "binary_cross_entropy binary_cross_entropy_with_logits huber_loss l1_loss mse_loss smooth_l1_loss"
for _name in _PAIRS.split():
    add(f"F.{_name}", getattr(F, _name), lambda: (x(), constant()))
for _name in ("cross_entropy", "nll_loss", "probability_cross_entropy"):
    add(f"F.{_name}", getattr(F, _name), lambda: (x(), whole(0, 1)))


add("F.gaussian_nll_loss", F.gaussian_nll_loss, lambda: (x(), constant(), constant(), True, 1e-3))
add("F.poisson_nll_loss", F.poisson_nll_loss, lambda: (x(), constant(), True, False))
add("F.multilabel_soft_margin_loss", F.multilabel_soft_margin_loss, lambda: (x(), constant(), constant(3)))
add("F.multi_margin_loss", F.multi_margin_loss, lambda: (x(), whole(0, 1), 2, 0.5, constant(3)))
add("F.triplet_margin_with_distance_loss", F.triplet_margin_with_distance_loss, lambda: (x(), x(), x()))


def _local(layer: nn.Module, given: gpunn.Tensor) -> tuple[Any, ...]:
    return given, layer.weight, layer.bias


add("F.locally_connected1d", F.locally_connected1d, lambda: _local(nn.LocallyConnected1d(4, 2, 3, 6), sequences()))
add("F.locally_connected2d", F.locally_connected2d, lambda: _local(nn.LocallyConnected2d(4, 2, 3, (6, 6)), images()))

# -- layers: their options, and their input --------------------------------------------------------

LAYERS: dict[str, tuple[tuple[Any, ...], Callable[[], gpunn.Tensor]]] = {
    "AbsoluteReLU": ((), x),
    "AdaptiveAvgPool1d": ((2,), sequences),
    "AdaptiveAvgPool2d": ((2,), images),
    "AdaptiveAvgPool3d": ((2,), volumes),
    "AdaptiveMaxPool1d": ((2,), sequences),
    "AdaptiveMaxPool3d": ((2,), volumes),
    "AdaptiveMaxPool2d": ((2,), images),
    "AlphaDropout": ((0.5,), x),
    "AvgPool1d": ((2, 2, 0), sequences),
    "AvgPool2d": ((2, 2, 0), images),
    "AvgPool3d": ((2, 2, 0), volumes),
    "BatchNorm3d": ((4, 1e-5, 0.1, True, True), volumes),
    "SyncBatchNorm": ((3, 1e-5, 0.1, True, True), x),
    "BatchNorm1d": ((3, 1e-5, 0.1, True, True), x),
    "BatchNorm2d": ((4, 1e-5, 0.1, True, True), images),
    "CELU": ((1.0,), x),
    "ChannelShuffle": ((2,), images),
    "CircularPad1d": ((1,), sequences),
    "CircularPad2d": ((1,), images),
    "CircularPad3d": ((1,), volumes),
    "ConstantPad1d": ((1, 1.0), sequences),
    "ConstantPad2d": ((1, 1.0), images),
    "ConstantPad3d": ((1, 1.0), volumes),
    "Conv1d": ((4, 2, 3, 1, 0, 1, 1, True), sequences),
    "Conv2d": ((4, 2, 3, 1, 0, 1, 1, True), images),
    "Conv3d": ((4, 2, 3, 1, 0, 1, 1, True), volumes),
    "ConvTranspose3d": ((4, 2, 3, 1, 0, 0, 1, True), volumes),
    "ConvTranspose1d": ((4, 2, 3, 1, 0, 0, 1, True), sequences),
    "ConvTranspose2d": ((4, 2, 3, 1, 0, 0, 1, True), images),
    "Dropout": ((0.5,), x),
    "Dropout1d": ((0.5,), x),
    "Dropout2d": ((0.5,), images),
    "Dropout3d": ((0.5,), images),
    "ELU": ((1.0,), x),
    "Embedding": ((5, 3), lambda: whole(0, 1)),
    "FeatureAlphaDropout": ((0.5,), images),
    "Flatten": ((1, -1), images),
    "Fold": ((3, 2, 1, 0, 1), lambda: x(1, 4, 4)),
    "GELU": (("none",), x),
    "GLU": ((1,), images),
    "GroupNorm": ((2, 4, 1e-5, True), images),
    "Hardshrink": ((0.25,), x),
    "Hardsigmoid": ((), x),
    "Hardswish": ((), x),
    "Hardtanh": ((-1.0, 1.0), x),
    "InstanceNorm3d": ((4, 1e-5, 0.1, True, True), volumes),
    "InstanceNorm1d": ((4, 1e-5, 0.1, True, True), sequences),
    "InstanceNorm2d": ((4, 1e-5, 0.1, True, True), images),
    "LPPool1d": ((2.0, 2, 1), sequences),
    "LPPool2d": ((2.0, 2, 1), images),
    "LPPool3d": ((2.0, 2, 1), volumes),
    "LayerNorm": ((3, 1e-5, True), x),
    "LazyBatchNorm1d": ((1e-5, 0.1, True, True), x),
    "LazyBatchNorm2d": ((1e-5, 0.1, True, True), images),
    "LazyConv1d": ((2, 3, 1, 0, 1, 1, True), sequences),
    "LazyConv2d": ((2, 3, 1, 0, 1, 1, True), images),
    "LazyConvTranspose1d": ((2, 3, 1, 0, 0, 1, True), sequences),
    "LazyConvTranspose2d": ((2, 3, 1, 0, 0, 1, True), images),
    "LazyInstanceNorm1d": ((1e-5, 0.1, True, True), sequences),
    "LazyInstanceNorm2d": ((1e-5, 0.1, True, True), images),
    "LazyBatchNorm3d": ((1e-5, 0.1, True, True), volumes),
    "LazyConv3d": ((2, 3, 1, 0, 1, 1, True), volumes),
    "LazyConvTranspose3d": ((2, 3, 1, 0, 0, 1, True), volumes),
    "LazyInstanceNorm3d": ((1e-5, 0.1, True, True), volumes),
    "LazyLinear": ((2, True), x),
    "LeakyReLU": ((0.1,), x),
    "Linear": ((3, 2, True), x),
    "LocalResponseNorm": ((3, 1e-4, 0.75, 1.0), images),
    "LocallyConnected1d": ((4, 2, 3, 6), sequences),
    "LocallyConnected2d": ((4, 2, 3, (6, 6)), images),
    "LogSigmoid": ((), x),
    "LogSoftmax": ((1,), x),
    "MaxPool3d": ((2, 2, 0), volumes),
    "MaxPool1d": ((2, 2, 0), sequences),
    "MaxPool2d": ((2, 2, 0), images),
    "Maxout": ((3, 1), x),
    "Mish": ((), x),
    "PReLU": ((1, 0.25), x),
    "PixelShuffle": ((2,), images),
    "PixelUnshuffle": ((2,), images),
    "RMSNorm": ((3, 1e-5, True), x),
    "RReLU": ((0.1, 0.2), x),
    "ReLU": ((), x),
    "ReLU6": ((), x),
    "ReflectionPad1d": ((1,), sequences),
    "ReflectionPad2d": ((1,), images),
    "ReflectionPad3d": ((1,), volumes),
    "ReplicationPad1d": ((1,), sequences),
    "ReplicationPad2d": ((1,), images),
    "ReplicationPad3d": ((1,), volumes),
    "SELU": ((), x),
    "SiLU": ((), x),
    "Sigmoid": ((), x),
    "Softmax": ((1,), x),
    "Softmax2d": ((), images),
    "Softplus": ((1.0, 20.0), x),
    "Softshrink": ((0.25,), x),
    "Softsign": ((), x),
    "Standardize": ((0.0, 1.0), x),
    "Step": ((), x),
    "Tanh": ((), x),
    "Tanhshrink": ((), x),
    "Threshold": ((0.1, 2.0), x),
    "Unflatten": ((1, (3, 1)), x),
    "Unfold": ((2, 1, 0, 1), images),
    "Upsample": ((4, None, "bilinear", True), images),
    "UpsamplingBilinear2d": ((4,), images),
    "UpsamplingNearest2d": ((4,), images),
    "ZeroPad1d": ((1,), sequences),
    "ZeroPad2d": ((1,), images),
    "ZeroPad3d": ((1,), volumes),
}
LOSSES: dict[str, Callable[[], gpunn.Tensor]] = {
    "BCELoss": constant,
    "BCEWithLogitsLoss": constant,
    "CrossEntropyLoss": lambda: whole(0, 1),
    "HuberLoss": constant,
    "HingeEmbeddingLoss": constant,
    "KLDivLoss": constant,
    "L1Loss": constant,
    "MSELoss": constant,
    "MultiLabelSoftMarginLoss": constant,
    "MultiMarginLoss": lambda: whole(0, 1),
    "NLLLoss": lambda: whole(0, 1),
    "PoissonNLLLoss": constant,
    "ProbabilityCrossEntropyLoss": lambda: whole(0, 1),
    "SmoothL1Loss": constant,
    "SoftMarginLoss": constant,
}


def _add_layer(name: str, options: tuple[Any, ...], inputs: Callable[[], tuple[Any, ...]]) -> None:
    kind = getattr(nn, name)
    if options:
        add(f"nn.{name}", kind, lambda: options)
    add(f"nn.{name}()()", lambda *args: kind(*options)(*args), inputs)


for _name, (_options, _input) in LAYERS.items():
    _add_layer(_name, _options, _one(_input))
for _name, _target in LOSSES.items():
    _add_layer(_name, (), _against(_target))
    add(f"nn.{_name}(reduction)", _with_reduction(getattr(nn, _name)), lambda: ("mean",))

for _axes in (1, 2, 3):
    _add_layer(f"MaxUnpool{_axes}d", (2, 2, 0), _unpooled(_axes))
_add_layer("Bilinear", (3, 4, 2, True), lambda: (x(), x(2, 4)))
_add_layer("CosineSimilarity", (1,), lambda: (x(), x()))
_add_layer("PairwiseDistance", (2.0, 1e-6, True), lambda: (x(), x()))
_add_layer("CosineEmbeddingLoss", (0.5,), lambda: (x(), x(), constant(2)))
_add_layer("MarginRankingLoss", (0.5,), lambda: (x(), x(), constant()))
_add_layer("GaussianNLLLoss", (), lambda: (x(), constant(), constant()))
_add_layer("TripletMarginWithDistanceLoss", (), lambda: (x(), x(), x()))
_add_layer("TripletMarginLoss", (1.0, 2.0), lambda: (x(), x(), x()))
_add_layer("TransformerEncoderLayer", (4, 2, 8, 0.0, "gelu", 1e-5, True), lambda: (x(2, 3, 4),))
_add_layer("TransformerEncoder", (nn.TransformerEncoderLayer(4, 2, 8), 2), lambda: (x(2, 3, 4),))
_add_layer("TransformerDecoderLayer", (4, 2, 8, 0.0, "gelu", 1e-5, True), lambda: (x(2, 3, 4), x(2, 3, 4)))
_add_layer("TransformerDecoder", (nn.TransformerDecoderLayer(4, 2, 8), 2), lambda: (x(2, 3, 4), x(2, 3, 4)))
_add_layer("Transformer", (4, 2, 1, 1, 8), lambda: (x(2, 3, 4), x(2, 3, 4)))
_add_layer("RNN", (3, 4, 1, "tanh", True, True), lambda: (x(2, 5, 3), x(1, 2, 4)))
_add_layer("LSTM", (3, 4, 1, True, True), lambda: (x(2, 5, 3), (x(1, 2, 4), x(1, 2, 4))))
_add_layer("GRU", (3, 4, 1, True, True), lambda: (x(2, 5, 3), x(1, 2, 4)))
_add_layer("RNNCell", (3, 4, True, "relu"), lambda: (x(2, 3), x(2, 4)))
_add_layer("LSTMCell", (3, 4, True), lambda: (x(2, 3), (x(2, 4), x(2, 4))))
_add_layer("GRUCell", (3, 4, True), lambda: (x(2, 3), x(2, 4)))
add("nn.UninitializedParameter", nn.UninitializedParameter, lambda: (True,))
method("UninitializedParameter.materialize", nn.UninitializedParameter, lambda: ((2, 3),))
add("nn.RNNBase", nn.RNNBase, lambda: ("GRU", 3, 4, 1, True, True))
add("nn.RNNCellBase", nn.RNNCellBase, lambda: (3, 4, True, 2))
_add_layer("MultiheadAttention", (4, 2, 0.0, True, False, False, 4, 4, True), lambda: (x(2, 3, 4),) * 3)

# -- modules --------------------------------------------------------------------------------------

add("nn.Sequential", nn.Sequential, lambda: (nn.Linear(3, 2), nn.ReLU()))
add("nn.Sequential()()", lambda given: model()(given), lambda: (x(),))
add("nn.ModuleList", nn.ModuleList, lambda: ([nn.ReLU()],))
add("nn.ModuleDict", nn.ModuleDict, lambda: ({"a": nn.ReLU()},))
add("nn.ParameterDict", nn.ParameterDict, lambda: ({"a": constant()},))
add("nn.ParameterList", nn.ParameterList, lambda: ([constant()],))
add("nn.fused_pairs", nn.fused_pairs, lambda: (model(),))
add("nn.recompute_batch_statistics", nn.recompute_batch_statistics, lambda: (nn.BatchNorm1d(3), [x()]))
add("nn.summarize", nn.summarize, lambda: (model(), (3,)))
add("nn.graph_of", nn.graph_of, lambda: (model(), x()))
method("Module.to", model, lambda: ("cpu",))
method("Module.load_state_dict", model, lambda: (model().state_dict(),))
method("Module.register_buffer", model, lambda: ("buffer", constant()))
method("Module.register_parameter", model, lambda: ("parameter", nn.Parameter(constant())))
method("Module.add_module", model, lambda: ("inner", nn.ReLU()))
method("Module.apply", model, lambda: (lambda module: None,))
method("Module.get_submodule", model, lambda: ("0",))
method("Module.get_parameter", model, lambda: ("0.weight",))
method("Module.get_buffer", lambda: nn.BatchNorm1d(3), lambda: ("running_mean",))
method("Module.append", model, lambda: (nn.ReLU(),))
method("Module.extend", model, lambda: ([nn.ReLU()],))
method("Module.__getitem__", model, lambda: (0,))
method("Module.__setitem__", model, lambda: (0, nn.ReLU()))
method("ModuleDict.update", nn.ModuleDict, lambda: ({"a": nn.ReLU()},))
method("ModuleDict.__getitem__", lambda: nn.ModuleDict({"a": nn.ReLU()}), lambda: ("a",))
method("ModuleDict.__setitem__", nn.ModuleDict, lambda: ("a", nn.ReLU()))
method("ParameterList.append", nn.ParameterList, lambda: (constant(),))
method("ParameterList.__getitem__", lambda: nn.ParameterList([constant()]), lambda: (0,))
add(
    "setattr(parameter)",
    lambda value: setattr(nn.BatchNorm1d(3), "weight", value),
    lambda: (nn.Parameter(constant(3)),),
)
add("setattr(buffer)", lambda value: setattr(nn.BatchNorm1d(3), "running_mean", value), lambda: (constant(3),))
for _name in init.__all__:
    if _name.rstrip("_") in ("sparse", "constant"):
        add(f"init.{_name}", getattr(init, _name), lambda: (constant(), 0.5))
    elif _name.rstrip("_") == "dirac":
        add(f"init.{_name}", getattr(init, _name), lambda: (constant(2, 3, 3, 3), 1))
    elif _name != "calculate_gain":
        add(f"init.{_name}", getattr(init, _name), lambda: (constant(),))
add("init.calculate_gain", init.calculate_gain, lambda: ("relu",))
add("utils.clip_grad_norm_", utils.clip_grad_norm_, lambda: (with_gradients(), 1.0))
add("utils.clip_grad_norm", utils.clip_grad_norm, lambda: (with_gradients(), 1.0))
add("utils.parameters_to_vector", utils.parameters_to_vector, lambda: (parameters(),))
add("utils.vector_to_parameters", utils.vector_to_parameters, lambda: (constant(8), parameters()))
for _name in ("weight_norm", "spectral_norm"):
    add(f"utils.{_name}", getattr(utils, _name), lambda: (nn.Linear(3, 2), "weight"))
add("utils.remove_weight_norm", utils.remove_weight_norm, lambda: (utils.weight_norm(nn.Linear(3, 2)), "weight"))
add("utils.remove_spectral_norm", utils.remove_spectral_norm, lambda: (utils.spectral_norm(nn.Linear(3, 2)), "weight"))
add("utils.clip_grad_value_", utils.clip_grad_value_, lambda: (with_gradients(), 1.0))

add("utils.rnn.pad_sequence", utils.rnn.pad_sequence, lambda: ([x(3, 2), x(1, 2)], True, 0.5, "left"))
add("utils.rnn.unpad_sequence", utils.rnn.unpad_sequence, lambda: (x(), [3, 1], True))
add("nn.DataParallel", nn.DataParallel, lambda: (model(), None))

# -- optimisers and schedules ---------------------------------------------------------------------

for _name in ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "LAMB", "Adadelta", "Adamax", "NAdam", "RAdam"):
    add(f"optim.{_name}", getattr(optim, _name), lambda: (parameters(), 0.1))
add("optim.Muon", optim.Muon, lambda: ([nn.Linear(2, 3).weight], 0.1))
add("optim.Lookahead", optim.Lookahead, lambda: (optimizer(), 3, 0.5))
method("Muon.add_param_group", lambda: optim.Muon([nn.Linear(2, 3).weight]), lambda: ({"params": [x(2, 2)]},))
add("optim.decay_groups", optim.decay_groups, lambda: (model(), 0.1))
add("optim.l2_penalty", optim.l2_penalty, lambda: (optimizer(),))
method("SGD.step", optimizer, lambda: (lambda: 1.0,))
method("SGD.load_state_dict", optimizer, lambda: (optimizer().state_dict(),))
method("SGD.add_param_group", optimizer, lambda: ({"params": parameters()},))
add("optim.LBFGS", optim.LBFGS, lambda: (parameters(), 0.1, 4, 5, 1e-7, 1e-9, 3, "strong_wolfe"))
add("swa_utils.AveragedModel", swa_utils.AveragedModel, lambda: (model(), "cpu"))
add("swa_utils.SWALR", swa_utils.SWALR, lambda: (optimizer(), 0.1, 3, "cos"))
add("swa_utils.update_bn", swa_utils.update_bn, lambda: ([x()], nn.BatchNorm1d(3)))
add("swa_utils.get_ema_avg_fn", swa_utils.get_ema_avg_fn, lambda: (0.9,))
add("swa_utils.get_ema_multi_avg_fn", swa_utils.get_ema_multi_avg_fn, lambda: (0.9,))
SCHEDULES: dict[str, tuple[Any, ...]] = {
    "ConstantLR": (0.5, 3),
    "CosineAnnealingLR": (3, 0.0),
    "CosineAnnealingWarmRestarts": (3, 1, 0.0),
    "CyclicLR": (0.1, 0.2),
    "ExponentialLR": (0.9,),
    "LambdaLR": (lambda step: 1.0,),
    "LinearLR": (0.5, 1.0, 3),
    "MultiStepLR": ([2, 3], 0.1),
    "MultiplicativeLR": (lambda step: 1.0,),
    "OneCycleLR": (0.1, 10),
    "PolynomialLR": (3, 1.0),
    "ReduceLROnPlateau": ("min", 0.1),
    "StepLR": (2, 0.1),
}
for _name, _options in SCHEDULES.items():
    add(f"lr_scheduler.{_name}", getattr(lr_scheduler, _name), _with_optimizer(_options))
method("ReduceLROnPlateau.step", lambda: lr_scheduler.ReduceLROnPlateau(optimizer()), lambda: (1.0,))
add("lr_scheduler.ChainedScheduler", lr_scheduler.ChainedScheduler, lambda: ([lr_scheduler.StepLR(optimizer(), 1)],))


def _sequence() -> tuple[Any, ...]:
    made = optimizer()
    return made, [lr_scheduler.StepLR(made, 1), lr_scheduler.StepLR(made, 2)], [3]


add("lr_scheduler.SequentialLR", lr_scheduler.SequentialLR, _sequence)

# -- data, models, training -----------------------------------------------------------------------

add("data.TensorDataset", data.TensorDataset, lambda: (np.zeros((6, 3)), np.zeros(6)))
add("data.ConcatDataset", data.ConcatDataset, lambda: ([dataset()],))
add("data.Subset", data.Subset, lambda: (dataset(), [0, 1]))
add("data.random_split", data.random_split, lambda: (dataset(), [4, 2]))
add("data.DataLoader", lambda given, size: next(iter(data.DataLoader(given, size))), lambda: (dataset(), 2))
add(
    "data.DeviceLoader",
    lambda given, size: next(iter(data.DeviceLoader(given, size, device="cpu"))),
    lambda: (data.TensorDataset(np.zeros((6, 1, 2, 2), np.float32), np.zeros(6, np.int64)), 2),
)
method("TensorDataset.__getitem__", dataset, lambda: (0,))
method("Subset.__getitem__", lambda: data.Subset(dataset(), [0, 1]), lambda: (0,))
method("ConcatDataset.__getitem__", lambda: data.ConcatDataset([dataset()]), lambda: (0,))
add("utils.data.TensorDataset", utils_data.TensorDataset, lambda: (constant(), constant()))
add("utils.data.StackDataset", utils_data.StackDataset, lambda: (dataset(), dataset()))
add("utils.data.ConcatDataset", utils_data.ConcatDataset, lambda: ([dataset()],))
add("utils.data.Subset", utils_data.Subset, lambda: (dataset(), [0, 1]))
add("utils.data.random_split", utils_data.random_split, lambda: (dataset(), [4, 2]))
add("utils.data.SequentialSampler", utils_data.SequentialSampler, lambda: (dataset(),))
add("utils.data.RandomSampler", utils_data.RandomSampler, lambda: (dataset(), True, 3, gpunn.Generator(0)))
add("utils.data.SubsetRandomSampler", utils_data.SubsetRandomSampler, lambda: ([1, 2], gpunn.Generator(0)))
add(
    "utils.data.WeightedRandomSampler",
    utils_data.WeightedRandomSampler,
    lambda: ([0.5, 0.5], 3, True, gpunn.Generator(0)),
)
add("utils.data.BatchSampler", utils_data.BatchSampler, lambda: ([0, 1, 2], 2, False))
add("utils.data.DataLoader", utils_data.DataLoader, lambda: (dataset(), 2, False))
add("utils.data.ConcatDataset.__getitem__", lambda i: utils_data.ConcatDataset([dataset()])[i], lambda: (0,))
add("utils.data.TensorDataset.__getitem__", lambda i: utils_data.TensorDataset(constant())[i], lambda: (0,))
for _name, _options in {
    "ColorJitter": (0.1, 0.1, 0.1),
    "Cutout": (2,),
    "Normalize": (0.5, 0.5),
    "RandomCrop": (4,),
    "RandomHorizontalFlip": (0.5,),
    "RandomVerticalFlip": (0.5,),
}.items():
    add(f"transforms.{_name}", getattr(transforms, _name), _fixed(_options))
method(
    "RandomHorizontalFlip.__call__", transforms.RandomHorizontalFlip, lambda: (images().detach(), gpunn.Generator(0))
)
for _name, _options in {
    "CenterCrop": (2,),
    "ColorJitter": (0.1, 0.1, 0.1, 0.1),
    "Grayscale": (3,),
    "Normalize": ((0.5,), (0.5,)),
    "ConvertImageDtype": ("float64",),
    "FiveCrop": (2,),
    "GaussianBlur": (3, 0.5),
    "RandomAdjustSharpness": (2, 0.5),
    "RandomAffine": (5, (0.1, 0.1), (0.5, 1.0), 5),
    "RandomAutocontrast": (0.5,),
    "RandomEqualize": (0.5,),
    "RandomInvert": (0.5,),
    "RandomPerspective": (0.5, 0.5),
    "RandomPosterize": (2, 0.5),
    "RandomSolarize": (100, 0.5),
    "TenCrop": (2, True),
    "Pad": (2, 1),
    "RandomCrop": (2, 1),
    "RandomErasing": (0.5,),
    "RandomGrayscale": (0.5,),
    "RandomHorizontalFlip": (0.5,),
    "RandomResizedCrop": (2,),
    "RandomRotation": (10,),
    "RandomVerticalFlip": (0.5,),
    "Resize": (2,),
    "ToPILImage": ("RGB",),
}.items():
    add(f"vision.{_name}", getattr(vision, _name), _fixed(_options))
add("vision.Compose", vision.Compose, lambda: ([],))
add("vision.Lambda", vision.Lambda, lambda: (abs,))
add("vision.RandomApply", vision.RandomApply, lambda: ([], 0.5))
add("vision.RandomChoice", vision.RandomChoice, lambda: ([abs], [1.0]))
add("vision.RandomOrder", vision.RandomOrder, lambda: ([],))
for _name, _options in {
    "adjust_brightness": (0.5,),
    "adjust_contrast": (0.5,),
    "adjust_saturation": (0.5,),
    "convert_image_dtype": ("float64",),
    "five_crop": (2,),
    "gaussian_blur": (3, 0.5),
    "invert": (),
    "solarize": (0.5,),
    "ten_crop": (2, True),
    "center_crop": (2,),
    "crop": (0, 0, 2, 2),
    "erase": (0, 0, 1, 1, 0.5),
    "hflip": (),
    "normalize": ((0.5,), (0.5,)),
    "pad": (1,),
    "resize": (2,),
    "resized_crop": (0, 0, 2, 2, 3),
    "rgb_to_grayscale": (1,),
    "to_pil_image": (),
    "vflip": (),
}.items():
    add(
        f"vision.functional.{_name}",
        getattr(vision.functional, _name),
        lambda given=_options: (constant(3, 4, 5), *given),  # type: ignore[misc]
    )
add("vision.ops.MLP", vision_ops.MLP, lambda: (3, [4, 2]))
add("vision.ops.Conv2dNormActivation", vision_ops.Conv2dNormActivation, lambda: (3, 4, 3, 1))
add("vision.ops.Permute", vision_ops.Permute, lambda: ([1, 0],))
add("vision.ops.SqueezeExcitation", vision_ops.SqueezeExcitation, lambda: (3, 4))
add("vision.ops.StochasticDepth", vision_ops.StochasticDepth, lambda: (0.5, "row"))
add("vision.ops.stochastic_depth", vision_ops.stochastic_depth, lambda: (x(), 0.5, "row"))
add("vision.utils.make_grid", vision_utils.make_grid, lambda: (constant(3, 4, 5), 2, 1))
add("models.MLP", models.MLP, lambda: ((1, 4, 4), 3, (5,)))
add("models.LeNet5", models.LeNet5, lambda: (1, 10, (2, 3), 5, (28, 28)))
add("models.Perceptron", models.Perceptron, lambda: (3,))
add("models.ResNet9", models.ResNet9, lambda: (3, 10, 4))
add("models.CifarSpeedNet", models.CifarSpeedNet, lambda: (3, 10, (4, 5, 6)))
add("models.ResNetCifar", models.ResNetCifar, lambda: (8, "A", 3, 10))
add("models.build", models.build, lambda: ("mlp", (1, 4, 4), 10))
add("models.find", models.find, lambda: ("mlp",))


def _trainer(made: Any, chosen: Any) -> train.Trainer:
    return train.Trainer(made, chosen, device="cpu", log=None)


def _model_and_optimizer() -> tuple[Any, ...]:
    made = model()
    return made, optim.SGD(made.parameters(), 0.1)


add("Trainer", _trainer, _model_and_optimizer)
add(
    "Trainer.fit",
    lambda given, epochs: _trainer(*_model_and_optimizer()).fit(given, epochs=epochs),
    lambda: (loader(), 1),
)
add("train.evaluate", train.evaluate, lambda: (model(), loader()))
add("train.EarlyStopping", train.EarlyStopping, lambda: ("test_loss",))
add("train.layer_health", train.layer_health, lambda: (model(), loader()))

# -- methods of a tensor --------------------------------------------------------------------------

METHODS: dict[str, tuple[Any, ...]] = {
    "all": (1,),
    "any": (1,),
    "add": (x,),
    "amax": (1,),
    "amin": (1,),
    "argmax": (1,),
    "argmin": (1,),
    "backward": (lambda: gpunn.ones(2, 3),),
    "bmm": (),
    "broadcast_to": ((2, 3),),
    "chunk": (2, 0),
    "clamp": (0, 1),
    "div": (x,),
    "addmm": (lambda: x(2, 4), lambda: x(4, 3)),
    "cumsum": (1,),
    "index_add": (1, lambda: whole(0, 1), lambda: x(2, 2)),
    "scatter": (1, lambda: gpunn.tensor([[0], [1]]), 1.0),
    "scatter_add": (1, lambda: gpunn.tensor([[0], [1]]), x),
    "sort": (1,),
    "topk": (2, 1),
    "diag": (1,),
    "diagonal": (1, 0, 1),
    "isclose": (x,),
    "lerp": (x, 0.5),
    "logsumexp": (1,),
    "mv": (lambda: x(3),),
    "nan_to_num": (0.0,),
    "repeat_interleave": (2, 1),
    "roll": (1, 0),
    "equal": (x,),
    "expand": (2, 3),
    "expand_as": (x,),
    "flatten": (0, 1),
    "flip": (0,),
    "gather": (1, lambda: gpunn.tensor([[0], [1]])),
    "ge": (x,),
    "index_select": (0, lambda: whole(0, 1)),
    "log_softmax": (1,),
    "lt": (x,),
    "masked_fill": (mask, 1.0),
    "masked_select": (mask,),
    "matmul": (lambda: x(3, 2),),
    "max": (1,),
    "maximum": (x,),
    "mean": (1,),
    "min": (1,),
    "minimum": (x,),
    "mm": (lambda: x(3, 2),),
    "movedim": (0, 1),
    "mul": (x,),
    "narrow": (0, 0, 1),
    "norm": (2, 1),
    "permute": (1, 0),
    "pow": (2,),
    "prod": (1,),
    "register_hook": (lambda: lambda gradient: None,),
    "repeat": (2, 2),
    "reshape": (3, 2),
    "reshape_as": (lambda: x(3, 2),),
    "select": (0, 0),
    "size": (0,),
    "softmax": (1,),
    "split": (1, 0),
    "squeeze": (0,),
    "std": (1,),
    "sub": (x,),
    "sum": (1,),
    "take_along_dim": (lambda: gpunn.tensor([[0], [1]]), 1),
    "to": ("cpu",),
    "transpose": (0, 1),
    "tril": (0,),
    "triu": (0,),
    "unbind": (0,),
    "unflatten": (1, (3, 1)),
    "unsqueeze": (0,),
    "var": (1,),
    "view": (3, 2),
    "view_as": (lambda: x(3, 2),),
    "where": (mask, x),
    "__add__": (x,),
    "__getitem__": (0,),
    "__lt__": (x,),
    "__matmul__": (lambda: x(3, 2),),
    "__mul__": (x,),
    "__pow__": (2,),
    "__radd__": (x,),
    "__rmatmul__": (lambda: x(3, 2),),
    "__rsub__": (1.0,),
    "__truediv__": (x,),
}
IN_PLACE: dict[str, tuple[Any, ...]] = {
    "add_": (constant,),
    "addcmul_": (constant, constant),
    "lerp_": (constant, 0.5),
    "clamp_": (0, 1),
    "copy_": (constant,),
    "div_": (constant,),
    "fill_": (1.0,),
    "masked_fill_": (mask, 1.0),
    "scatter_": (1, lambda: gpunn.tensor([[0], [1]]), 1.0),
    "scatter_add_": (1, lambda: gpunn.tensor([[0], [1]]), constant),
    "mul_": (constant,),
    "sub_": (constant,),
    "__setitem__": (0, 1.0),
}


def _making(given: tuple[Any, ...]) -> Callable[[], tuple[Any, ...]]:
    return lambda: tuple(value() if callable(value) else value for value in given)


OF_LINES: dict[str, tuple[Any, ...]] = {name: (lambda: x(3),) for name in ("dot", "ger", "outer")}


for _make, _methods in ((x, METHODS), (constant, IN_PLACE), (lambda: x(3), OF_LINES)):
    for _name, _options in _methods.items():
        if _options:
            method(f"Tensor.{_name}", _make, _making(_options))
