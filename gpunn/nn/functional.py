"""The ops under the names of ``torch.nn.functional``.

Where they expect tensors they also take NumPy and CuPy arrays, as constants.
"""

from typing import TYPE_CHECKING, Any

from gpunn._interop import takes_arrays
from gpunn.composed.activations import celu, glu, hardsigmoid, hardswish, mish, selu, softsign, tanhshrink
from gpunn.composed.bilinear import bilinear
from gpunn.composed.conv3d import conv3d, conv_transpose3d
from gpunn.composed.distances import pdist
from gpunn.composed.dropout import alpha_dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from gpunn.composed.grid_sample import affine_grid, grid_sample
from gpunn.composed.gumbel_softmax import gumbel_softmax
from gpunn.composed.interpolate import interpolate
from gpunn.composed.likelihood import (
    gaussian_nll_loss,
    multi_margin_loss,
    multilabel_soft_margin_loss,
    poisson_nll_loss,
    triplet_margin_with_distance_loss,
)
from gpunn.composed.lp_pool import lp_pool1d, lp_pool2d, lp_pool3d
from gpunn.composed.norms import instance_norm, local_response_norm, normalize, rms_norm
from gpunn.composed.pool3d import adaptive_avg_pool3d, adaptive_max_pool3d, avg_pool3d, max_pool3d
from gpunn.composed.shrink import hardshrink, rrelu, softshrink, threshold
from gpunn.composed.shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from gpunn.composed.similarity import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    kl_div,
    margin_ranking_loss,
    pairwise_distance,
    soft_margin_loss,
    triplet_margin_loss,
)
from gpunn.composed.unfold import fold, unfold
from gpunn.ops.absolute_relu import absolute_relu
from gpunn.ops.adaptive_avg_pool1d import adaptive_avg_pool1d
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from gpunn.ops.adaptive_max_pool1d import adaptive_max_pool1d
from gpunn.ops.adaptive_max_pool2d import adaptive_max_pool2d
from gpunn.ops.avg_pool1d import avg_pool1d
from gpunn.ops.avg_pool2d import avg_pool2d
from gpunn.ops.batch_norm import batch_norm
from gpunn.ops.binary_cross_entropy import binary_cross_entropy
from gpunn.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from gpunn.ops.conv1d import conv1d
from gpunn.ops.conv2d import conv2d
from gpunn.ops.conv_transpose2d import conv_transpose1d, conv_transpose2d
from gpunn.ops.cross_entropy import cross_entropy
from gpunn.ops.dropout import dropout
from gpunn.ops.elu import elu
from gpunn.ops.embedding import embedding
from gpunn.ops.gelu import gelu
from gpunn.ops.group_norm import group_norm
from gpunn.ops.hardtanh import hardtanh, relu6
from gpunn.ops.huber_loss import huber_loss
from gpunn.ops.l1_loss import l1_loss
from gpunn.ops.layer_norm import layer_norm
from gpunn.ops.leaky_relu import leaky_relu
from gpunn.ops.linear import linear
from gpunn.ops.locally_connected1d import locally_connected1d
from gpunn.ops.locally_connected2d import locally_connected2d
from gpunn.ops.log_softmax import log_softmax
from gpunn.ops.logsigmoid import logsigmoid
from gpunn.ops.max_pool1d import max_pool1d
from gpunn.ops.max_pool2d import max_pool2d
from gpunn.ops.max_unpool2d import max_unpool1d, max_unpool2d, max_unpool3d
from gpunn.ops.maxout import maxout
from gpunn.ops.mse_loss import mse_loss
from gpunn.ops.nll_loss import nll_loss
from gpunn.ops.one_hot import one_hot
from gpunn.ops.pad import pad
from gpunn.ops.prelu import prelu
from gpunn.ops.probability_cross_entropy import probability_cross_entropy
from gpunn.ops.relu import relu
from gpunn.ops.reshape import flatten
from gpunn.ops.scaled_dot_product_attention import scaled_dot_product_attention
from gpunn.ops.sigmoid import sigmoid
from gpunn.ops.silu import silu
from gpunn.ops.smooth_l1_loss import smooth_l1_loss
from gpunn.ops.softmax import softmax
from gpunn.ops.softplus import softplus
from gpunn.ops.step import step
from gpunn.ops.tanh import tanh

__all__ = [
    "absolute_relu",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "feature_alpha_dropout",
    "flatten",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "locally_connected1d",
    "locally_connected2d",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "one_hot",
    "normalize",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "probability_cross_entropy",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "softshrink",
    "softsign",
    "step",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]

# Here, and for the ops in ``gpunn`` itself, instead of in every op: layers and ops call one another with tensors.
for _name in __all__:
    globals()[_name] = takes_arrays(globals()[_name])


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
