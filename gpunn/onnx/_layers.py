"""Linear layers, normalisation, activations, attention and embeddings in ONNX."""

from __future__ import annotations

import math

import numpy as np

from gpunn.onnx._graph import Constant, Graph, Size, Value
from gpunn.onnx._table import Arguments, activated, cast, lowers, one_like, reshaped
from gpunn.ops.absolute_relu import absolute_relu
from gpunn.ops.batch_norm import batch_norm
from gpunn.ops.dropout import dropout
from gpunn.ops.elu import elu
from gpunn.ops.embedding import embedding
from gpunn.ops.erf import erf
from gpunn.ops.gelu import gelu
from gpunn.ops.group_norm import group_norm
from gpunn.ops.hardtanh import hardtanh, relu6
from gpunn.ops.layer_norm import layer_norm
from gpunn.ops.leaky_relu import leaky_relu
from gpunn.ops.linear import linear
from gpunn.ops.log_softmax import log_softmax
from gpunn.ops.logsigmoid import logsigmoid
from gpunn.ops.maxout import maxout
from gpunn.ops.prelu import prelu
from gpunn.ops.relu import relu
from gpunn.ops.scaled_dot_product_attention import scaled_dot_product_attention
from gpunn.ops.sigmoid import sigmoid
from gpunn.ops.silu import silu
from gpunn.ops.softmax import softmax
from gpunn.ops.softplus import softplus
from gpunn.ops.step import step
from gpunn.ops.tanh import tanh

# -- products ---------------------------------------------------------------------------------------


@lowers(linear)
def _linear(g: Graph, a: Arguments) -> str:
    bias = [] if a.bias is None else [a.bias.name]
    if a.x.ndim == 2:
        y = g.node("Gemm", [a.x.name, a.weight.name, *bias], transB=1)
    else:
        y = g.node("MatMul", [a.x.name, g.node("Transpose", [a.weight.name], perm=[1, 0])])
        y = g.node("Add", [y, *bias]) if bias else y
    return activated(g, y, a.activation)


@lowers(embedding)
def _embedding(g: Graph, a: Arguments) -> str:
    if a.max_norm is not None:
        raise g.refuse("max_norm changes the weights as they are read: expected None.")
    return g.node("Gather", [a.weight.name, cast(g, a.input, np.dtype(np.int64))], axis=0)


# -- normalisation ----------------------------------------------------------------------------------


@lowers(batch_norm)
def _batch_norm(g: Graph, a: Arguments) -> str:
    channels, dtype = g.fixed(a.x.shape[1], "the number of channels"), a.x.dtype
    scale = g.constant(np.ones(channels, dtype)) if a.weight is None else a.weight.name
    shift = g.constant(np.zeros(channels, dtype)) if a.bias is None else a.bias.name
    if not a.training:
        inputs = [a.x.name, scale, shift, a.running_mean.name, a.running_var.name]
        y = g.node("BatchNormalization", inputs, epsilon=float(a.eps))
    elif a.running_mean is not None:
        raise g.refuse("it is in training mode and changes its running estimates: expected model.eval().")
    else:  # the statistics of the batch itself, also at test time
        axes = g.numbers(0, *range(2, a.x.ndim))
        centred = g.node("Sub", [a.x.name, g.node("ReduceMean", [a.x.name, axes])])
        variance = g.node("ReduceMean", [g.node("Mul", [centred, centred]), axes])
        deviation = g.node("Sqrt", [g.node("Add", [variance, one_like(g, a.x, a.eps)])])
        shape = g.numbers(channels, *(1,) * (a.x.ndim - 2))
        y = g.node("Div", [centred, deviation])
        y = g.node("Mul", [y, g.node("Reshape", [scale, shape])])
        y = g.node("Add", [y, g.node("Reshape", [shift, shape])])
    if a.residual is not None:
        y = g.node("Add", [y, a.residual.name])
    return activated(g, y, a.activation)


@lowers(layer_norm)
def _layer_norm(g: Graph, a: Arguments) -> str:
    given = a.normalized_shape
    lengths = g.fixed(tuple(given) if isinstance(given, tuple | list) else (given,), "normalized_shape")
    scale = g.constant(np.ones(lengths, a.x.dtype)) if a.weight is None else a.weight.name
    bias = [] if a.bias is None else [a.bias.name]
    return g.node("LayerNormalization", [a.x.name, scale, *bias], axis=-len(lengths), epsilon=float(a.eps))


@lowers(group_norm)
def _group_norm(g: Graph, a: Arguments) -> str:
    groups, channels, dtype = int(a.num_groups), a.x.shape[1], a.x.dtype
    grouped = g.node("Reshape", [a.x.name, g.numbers(0, groups, -1)])
    one, nothing = g.constant(np.ones(groups, dtype)), g.constant(np.zeros(groups, dtype))
    y = g.node("InstanceNormalization", [grouped, one, nothing], epsilon=float(a.eps))
    y = reshaped(g, y, (a.x.shape[0], groups, None), a.x.shape)  # type: ignore[arg-type]
    shape = g.numbers(channels, *(1,) * (a.x.ndim - 2))
    if a.weight is not None:
        y = g.node("Mul", [y, g.node("Reshape", [a.weight.name, shape])])
    return y if a.bias is None else g.node("Add", [y, g.node("Reshape", [a.bias.name, shape])])


@lowers(dropout)
def _dropout(g: Graph, a: Arguments) -> str:
    if a.training and a.p > 0:
        raise g.refuse("it is in training mode, and draws a mask: expected model.eval().")
    return a.x.name


# -- activations --------------------------------------------------------------------------------------


@lowers(relu)
def _relu(g: Graph, a: Arguments) -> str:
    return g.node("Relu", [a.x.name])


@lowers(absolute_relu)
def _absolute_relu(g: Graph, a: Arguments) -> str:
    return g.node("Abs", [a.x.name])


@lowers(leaky_relu)
def _leaky_relu(g: Graph, a: Arguments) -> str:
    return g.node("LeakyRelu", [a.x.name], alpha=float(a.negative_slope))


@lowers(elu)
def _elu(g: Graph, a: Arguments) -> str:
    return g.node("Elu", [a.x.name], alpha=float(a.alpha))


@lowers(prelu)
def _prelu(g: Graph, a: Arguments) -> str:
    count = a.weight.shape[0] if a.weight.ndim else 1
    if count == 1:
        slope = g.node("Reshape", [a.weight.name, g.numbers(*(1,) * a.x.ndim)])
    else:
        slope = g.node("Reshape", [a.weight.name, g.numbers(count, *(1,) * (a.x.ndim - 2))])
    return g.node("PRelu", [a.x.name, slope])


@lowers(sigmoid)
def _sigmoid(g: Graph, a: Arguments) -> str:
    return g.node("Sigmoid", [a.x.name])


@lowers(tanh)
def _tanh(g: Graph, a: Arguments) -> str:
    return g.node("Tanh", [a.x.name])


@lowers(silu)
def _silu(g: Graph, a: Arguments) -> str:
    return g.node("Mul", [a.x.name, g.node("Sigmoid", [a.x.name])])


@lowers(erf)
def _erf(g: Graph, a: Arguments) -> str:
    return g.node("Erf", [a.x.name])


@lowers(gelu)
def _gelu(g: Graph, a: Arguments) -> str:
    x = a.x.name
    if a.approximate == "tanh":
        cube = g.node("Mul", [g.node("Mul", [x, x]), x])
        inner = g.node("Add", [x, g.node("Mul", [cube, one_like(g, a.x, 0.044715)])])
        gate = g.node("Tanh", [g.node("Mul", [inner, one_like(g, a.x, math.sqrt(2 / math.pi))])])
    else:
        gate = g.node("Erf", [g.node("Mul", [x, one_like(g, a.x, math.sqrt(0.5))])])
    half = g.node("Mul", [x, one_like(g, a.x, 0.5)])
    return g.node("Mul", [half, g.node("Add", [gate, one_like(g, a.x, 1)])])


@lowers(hardtanh)
def _hardtanh(g: Graph, a: Arguments) -> str:
    return g.node("Clip", [a.x.name, one_like(g, a.x, a.min_val), one_like(g, a.x, a.max_val)])


@lowers(relu6)
def _relu6(g: Graph, a: Arguments) -> str:
    return g.node("Clip", [a.x.name, one_like(g, a.x, 0), one_like(g, a.x, 6)])


@lowers(softplus)
def _softplus(g: Graph, a: Arguments) -> str:
    x, beta = a.x, float(a.beta)
    scaled = x.name if beta == 1 else g.node("Mul", [x.name, one_like(g, x, beta)])
    y = g.node("Softplus", [scaled])
    y = y if beta == 1 else g.node("Div", [y, one_like(g, x, beta)])
    beyond = g.node("Greater", [scaled, one_like(g, x, a.threshold)])
    return g.node("Where", [beyond, x.name, y])


@lowers(logsigmoid)
def _logsigmoid(g: Graph, a: Arguments) -> str:
    return g.node("Neg", [g.node("Softplus", [g.node("Neg", [a.x.name])])])


@lowers(step)
def _step(g: Graph, a: Arguments) -> str:
    above = g.node("Greater" if a.strict else "GreaterOrEqual", [a.x.name, one_like(g, a.x, 0)])
    y = cast(g, Value(above, a.x.shape, np.dtype(np.bool_)), a.dtype)
    return g.node("Where", [g.node("IsNaN", [a.x.name]), a.x.name, y])


@lowers(maxout)
def _maxout(g: Graph, a: Arguments) -> str:
    axis, k = int(a.dim) % a.x.ndim, int(a.k)
    n = g.fixed(a.x.shape[axis], "the axis")
    pieces = reshaped(g, a.x.name, a.x.shape, (*a.x.shape[:axis], n // k, k, *a.x.shape[axis + 1 :]))
    return g.node("ReduceMax", [pieces, g.numbers(axis + 1)], keepdims=0)


@lowers(softmax)
def _softmax(g: Graph, a: Arguments) -> str:
    return _along(g, "Softmax", a, 1)


@lowers(log_softmax)
def _log_softmax(g: Graph, a: Arguments) -> str:
    return _along(g, "LogSoftmax", a, 0)


def _along(g: Graph, node: str, a: Arguments, of_one: int) -> str:
    if not a.x.ndim:  # a single number, which ONNX has no axis for
        return g.node("Identity", [g.constant(np.asarray(of_one, a.dtype))])
    return g.node(node, [cast(g, a.x, a.dtype)], axis=int(a.dim))


# -- attention ----------------------------------------------------------------------------------------


@lowers(scaled_dot_product_attention)
def _attention(g: Graph, a: Arguments) -> str:
    if a.dropout_p:
        raise g.refuse("dropout_p draws a mask: expected 0.")
    query, key, value = a.query, a.key, a.value
    keys, values = key.name, value.name
    if a.enable_gqa:
        keys, values = (_repeated_heads(g, v, query.shape[-3]) for v in (key, value))
    features = g.fixed(query.shape[-1], "the number of features")
    scale = 1 / math.sqrt(features or 1) if a.scale is None else float(a.scale)
    turned = [*range(query.ndim - 2), query.ndim - 1, query.ndim - 2]
    scores = g.node(
        "MatMul", [g.node("Mul", [query.name, one_like(g, query, scale)]), g.node("Transpose", [keys], perm=turned)]
    )
    mask = a.attn_mask
    if a.is_causal:
        seen = g.node("Expand", [g.constant(np.ones((1, 1), query.dtype)), g.lengths((query.shape[-2], key.shape[-2]))])
        visible = g.node("Cast", [g.node("Trilu", [seen], upper=0)], to=9)
        scores = g.node("Where", [visible, scores, one_like(g, query, -math.inf)])
    elif mask is not None and mask.dtype.kind == "b":
        scores = g.node("Where", [mask.name, scores, one_like(g, query, -math.inf)])
    elif mask is not None:
        scores = g.node("Add", [scores, cast(g, mask, query.dtype)])
    return g.node("MatMul", [g.node("Softmax", [scores], axis=-1), values])


def _repeated_heads(g: Graph, value: Value, heads: object) -> str:
    """Each head as often as the query has heads for it."""
    own, wanted = value.shape[-3], heads
    if isinstance(own, Size) or isinstance(wanted, Size) or isinstance(value, Constant):
        raise g.refuse("enable_gqa: expected a fixed number of heads.")
    assert isinstance(wanted, int)
    places = g.constant(np.repeat(np.arange(own), wanted // own))
    return g.node("Gather", [value.name, places], axis=value.ndim - 3)
