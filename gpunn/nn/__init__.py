"""Layers, containers and losses, under PyTorch's names."""

import importlib
from typing import TYPE_CHECKING, Any

from gpunn._calls import explains_all
from gpunn.nn import functional, init, utils
from gpunn.nn._recurrent import RNNBase
from gpunn.nn._uninitialized import UninitializedParameter
from gpunn.nn.activation import ELU, AbsoluteReLU, Hardtanh, LeakyReLU, Maxout, PReLU, ReLU, ReLU6, Step
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d
from gpunn.nn.attention import MultiheadAttention
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from gpunn.nn.bilinear import Bilinear
from gpunn.nn.composed_activation import CELU, GLU, SELU, Hardsigmoid, Hardswish, Mish, Softsign, Tanhshrink
from gpunn.nn.containers import ModuleDict, ModuleList, ParameterList, Sequential
from gpunn.nn.conv import Conv1d, Conv2d, Conv3d
from gpunn.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gpunn.nn.dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout
from gpunn.nn.elementwise_loss import BCELoss, BCEWithLogitsLoss, HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from gpunn.nn.embedding import Embedding
from gpunn.nn.flatten import Flatten, Unflatten
from gpunn.nn.fold import Fold, Unfold
from gpunn.nn.fusion import fused_pairs
from gpunn.nn.graph import Graph, graph_of
from gpunn.nn.groupnorm import GroupNorm
from gpunn.nn.identity import Identity
from gpunn.nn.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from gpunn.nn.layernorm import LayerNorm
from gpunn.nn.lazy import (
    LazyBatchNorm1d,
    LazyBatchNorm2d,
    LazyConv1d,
    LazyConv2d,
    LazyConvTranspose1d,
    LazyConvTranspose2d,
    LazyInstanceNorm1d,
    LazyInstanceNorm2d,
    LazyLinear,
)
from gpunn.nn.lazy3d import LazyBatchNorm3d, LazyConv3d, LazyConvTranspose3d, LazyInstanceNorm3d
from gpunn.nn.likelihood import (
    GaussianNLLLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    PoissonNLLLoss,
    TripletMarginWithDistanceLoss,
)
from gpunn.nn.linear import Linear
from gpunn.nn.local import LocallyConnected1d, LocallyConnected2d
from gpunn.nn.localresponsenorm import LocalResponseNorm
from gpunn.nn.loss import CrossEntropyLoss, NLLLoss, ProbabilityCrossEntropyLoss
from gpunn.nn.lp_pooling import LPPool1d, LPPool2d, LPPool3d
from gpunn.nn.module import Module
from gpunn.nn.padding import (
    CircularPad1d,
    CircularPad2d,
    ConstantPad1d,
    ConstantPad2d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReplicationPad1d,
    ReplicationPad2d,
    ZeroPad1d,
    ZeroPad2d,
)
from gpunn.nn.padding3d import CircularPad3d, ConstantPad3d, ReflectionPad3d, ReplicationPad3d, ZeroPad3d
from gpunn.nn.parallel import DataParallel
from gpunn.nn.parameter import Parameter
from gpunn.nn.parameter_dict import ParameterDict
from gpunn.nn.pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d
from gpunn.nn.pooling3d import AdaptiveAvgPool3d, AdaptiveMaxPool3d, AvgPool3d, MaxPool3d
from gpunn.nn.recurrent import GRU, LSTM, RNN
from gpunn.nn.recurrent_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from gpunn.nn.rmsnorm import RMSNorm
from gpunn.nn.shrink import Hardshrink, RReLU, Softshrink, Threshold
from gpunn.nn.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle
from gpunn.nn.similarity import (
    CosineEmbeddingLoss,
    CosineSimilarity,
    HingeEmbeddingLoss,
    KLDivLoss,
    MarginRankingLoss,
    PairwiseDistance,
    SoftMarginLoss,
    TripletMarginLoss,
)
from gpunn.nn.smooth_activation import GELU, LogSigmoid, Sigmoid, SiLU, Softplus, Tanh
from gpunn.nn.softmax import LogSoftmax, Softmax, Softmax2d
from gpunn.nn.standardize import Standardize
from gpunn.nn.statistics import recompute_batch_statistics
from gpunn.nn.summary import summarize
from gpunn.nn.syncbatchnorm import SyncBatchNorm
from gpunn.nn.transformer import TransformerEncoder, TransformerEncoderLayer
from gpunn.nn.transformer_decoder import Transformer, TransformerDecoder, TransformerDecoderLayer
from gpunn.nn.unpooling import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d
from gpunn.nn.upsample import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d

__all__ = [
    "AbsoluteReLU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AlphaDropout",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bilinear",
    "CELU",
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "DataParallel",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "ELU",
    "Embedding",
    "FeatureAlphaDropout",
    "Flatten",
    "Fold",
    "GELU",
    "GLU",
    "GRU",
    "GRUCell",
    "GaussianNLLLoss",
    "Graph",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "LPPool3d",
    "LSTM",
    "LSTMCell",
    "LPPool1d",
    "LPPool2d",
    "LayerNorm",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LocallyConnected1d",
    "LocallyConnected2d",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Maxout",
    "Mish",
    "Module",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MultiheadAttention",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PixelShuffle",
    "PixelUnshuffle",
    "PoissonNLLLoss",
    "ProbabilityCrossEntropyLoss",
    "RMSNorm",
    "RNN",
    "RNNBase",
    "RNNCell",
    "RNNCellBase",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softmax2d",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Standardize",
    "Step",
    "SyncBatchNorm",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "Unflatten",
    "Unfold",
    "UninitializedParameter",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "functional",
    "fused_pairs",
    "graph_of",
    "init",
    "recompute_batch_statistics",
    "summarize",
    "utils",
]

explains_all(globals())


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name == "modules":
            return importlib.import_module("gpunn.nn.modules")
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
