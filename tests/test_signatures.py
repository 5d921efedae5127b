"""Every keyword of PyTorch's function, method or class of the same name is honoured, or refused by our own error.

Nothing is believed: each keyword is given to PyTorch's function, together with what has to be given, and then to ours.
The results have to be equal, or the error one of the table in ``gpunn/differences.py``.
"""

from __future__ import annotations

import functools
import inspect
import io
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunn as typed
from gpunn import differences
from gpunn.errors import DeviceError, GpunnError, UsageError
from tests.parity import torch
from tests.torch_signatures import NUMPY_NAMES, Overload, overloads

gpunn: Any = typed

pytestmark = [
    pytest.mark.parity,
    # Of PyTorch's older names, and what its loaders say of this machine.
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]

# -- values ---------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A dtype, in either library."""

    name: str


class Ints(NamedTuple):
    """An integer tensor."""

    values: Any


class Many(NamedTuple):
    """Several tensors."""

    arrays: tuple[Any, ...]


class Of(NamedTuple):
    """Something of the library's own: ``make(library)``."""

    make: Any


def _leaf(library: Any) -> Any:
    leaf = library.tensor(X, requires_grad=True)
    leaf.grad = library.tensor(Y)
    return leaf


def _on_tape(library: Any) -> Any:
    return library.tensor(X, requires_grad=True) * 1


@functools.cache
def _shared_leaf(library: Any) -> Any:
    return _leaf(library)


def _saved(library: Any) -> Any:
    file = io.BytesIO()
    library.save(library.tensor(X), file)
    file.seek(0)
    return file


_RNG = np.random.Generator(np.random.Philox(7))
X, Y = _RNG.uniform(0.5, 3, (2, 3, 3)).astype(np.float32)
MASK = np.array([[True, False, True], [False, True, True], [True, True, False]])
IMAGES = _RNG.uniform(-1, 1, (2, 4, 6, 6)).astype(np.float32)
LINES = _RNG.uniform(-1, 1, (2, 4, 8)).astype(np.float32)
VOLUMES = _RNG.uniform(-1, 1, (2, 4, 5, 6, 6)).astype(np.float32)
OUT = object()  # a tensor like the result

# What a parameter of this name is given, unless VALUES says otherwise for the function.
COMMON: dict[str, Any] = {
    **dict.fromkeys(("input", "self", "x", "a", "x1", "tensor", "obj", "ext_tensor", "data"), X),
    **dict.fromkeys(("other", "x2", "mat2", "target", "tensor2"), Y),
    "alpha": 2,
    "as_tuple": True,
    "atol": 0.5,
    "axis": 1,
    "bias": True,
    "chunks": 2,
    "condition": MASK,
    "copy": True,
    "correction": 0,
    "decimals": 1,
    "destination": 1,
    "device": "cpu",
    "diagonal": 1,
    "dim": 1,
    "dim0": 0,
    "dim1": 1,
    "dims": (0,),
    "dtype": Kind("float64"),
    "end_dim": 1,
    "eps": 1e-3,
    "equal_nan": True,
    "exponent": 2,
    "fill_value": 2.0,
    "force": True,
    "generator": Of(lambda library: library.Generator()),
    "implicit": False,
    "index": Ints([[0, 1, 0]]),
    "indices": Ints([[0, 1, 0]]),
    "inplace": False,
    "keepdim": True,
    "keepdims": True,
    "layout": Of(lambda library: torch.strided),
    "length": 1,
    "mask": MASK,
    "max": 2.0,
    "memory_format": Of(lambda library: torch.contiguous_format),
    "min": 1.0,
    "mode": True,
    "non_blocking": True,
    "out": OUT,
    "out_dtype": Kind("float64"),
    "p": 3,
    "pin_memory": False,
    "reduce": True,
    "reduction": "sum",
    "repeats": (2, 1),
    "requires_grad": True,
    "rounding_mode": "floor",
    "rtol": 0.5,
    "shape": (9,),
    "size": (3, 3),
    "size_average": False,
    "sizes": (1, 3),
    "source": 0,
    "sparse_grad": True,
    "split_size": 2,
    "split_size_or_sections": 2,
    "start": 0,
    "start_dim": 0,
    "stride": 1,
    "tensors": Many((X, Y)),
    "training": True,
    "unbiased": False,
    "value": 2.0,
    "_stacklevel": 2,
}
_CONVOLUTION: dict[str, Any] = {"padding": 1, "dilation": 2, "groups": 1, "stride": 2}
_TRANSPOSED: dict[str, Any] = {**_CONVOLUTION, "bias": np.ones(6, np.float32), "output_padding": 1}
_UNFOLDED: dict[str, Any] = {"kernel_size": 3, "dilation": 1, "padding": 1, "stride": 2}
_CLASSES: dict[str, Any] = {"target": Ints([0, 2, 1]), "ignore_index": 2, "label_smoothing": 0.1, "weight": X[0]}
_BITS: dict[str, Any] = {**dict.fromkeys(("input", "self"), Ints([[1, 6], [3, 0]])), "other": Ints([[5, 2], [3, 1]])}
VALUES: dict[str, dict[str, Any]] = {
    "all": {"input": MASK, "self": MASK},
    "arange": {"start": 1, "end": 7, "step": 2, "dtype": Kind("float32")},
    "as_tensor": {"data": X},
    **dict.fromkeys(("bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor"), _BITS),
    "bmm": {"input": X[None], "self": X[None], "mat2": Y[None], "x": X[None], "a": X[None], "x1": X[None]},
    "clamp_": {"min": 1.0},
    "eye": {"n": 3, "m": 2},
    "flip": {"dims": (0, 1)},
    "from_numpy": {"ndarray": Of(lambda library: X)},
    "full": {"size": (2, 3), "names": None},
    "normal_": {"mean": 1.0, "std": 2.0},
    "numpy": {"self": Of(_on_tape)},
    "register_hook": {"self": Of(_on_tape), "hook": Of(lambda library: lambda gradient: None)},
    "backward": {"self": Of(_on_tape), "gradient": X, "retain_graph": True, "create_graph": True, "inputs": None},
    "index_select": {"index": Ints([0, 1])},
    "linspace": {"start": 0, "end": 1, "steps": 5},
    "manual_seed": {"seed": 3},
    "narrow": {"start": 1},
    "norm": {"p": 3},
    "permute": {"dims": (1, 0)},
    "remainder": {"self": X},
    "pow": {"exponent": X},
    "randint": {"low": 0, "high": 5, "size": (2, 3), "dtype": Kind("float32")},
    "randint_like": {"low": 0, "high": 5, "dtype": Kind("int32")},
    "randperm": {"n": 5, "dtype": Kind("float32")},
    "rand_like": {},
    "requires_grad_": {"requires_grad": True},
    "scalar_tensor": {"s": 2.0},
    "select": {"index": 1},
    "save": {
        "obj": X,
        "f": Of(lambda library: io.BytesIO()),
        "pickle_module": Of(lambda library: pickle),
        "pickle_protocol": 2,
        "_use_new_zipfile_serialization": True,
        "_disable_byteorder_record": False,
    },
    "load": {
        "f": Of(_saved),
        "map_location": "cpu",
        "pickle_module": Of(lambda library: pickle),
        "weights_only": False,
        "mmap": False,
    },
    "seed": {},
    "set_detect_anomaly": {"mode": False},
    "set_num_threads": {"num": 1},
    "set_rng_state": {"new_state": Of(lambda library: library.get_rng_state())},
    "squeeze": {"input": X[:, None], "self": X[:, None], "x": X[:, None], "a": X[:, None], "x1": X[:, None]},
    "take_along_dim": {"indices": Ints([[0, 1, 0]])},
    "to": {"device": "cpu", "other": Y.astype(np.float64)},
    "type": {"dtype": Kind("float64")},
    "type_as": {"other": Y.astype(np.float64)},
    "uniform_": {"from": 0.0, "to": 1.0},
    "unflatten": {"sizes": (3, 1)},
    "view": {"size": (9,), "dtype": Kind("int32")},
    "masked_select": {},
    # -- nn.functional
    "adaptive_avg_pool1d": {"input": LINES, "output_size": 3},
    "adaptive_avg_pool2d": {"input": IMAGES, "output_size": 3},
    "adaptive_max_pool2d": {"input": IMAGES, "output_size": 3, "return_indices": True},
    "avg_pool1d": {"input": LINES},
    "avg_pool2d": {"input": IMAGES, "divisor_override": 3},
    "max_pool1d": {"input": LINES},
    "max_pool2d": {"input": IMAGES},
    "batch_norm": {
        "input": IMAGES,
        **{name: np.ones(4, np.float32) for name in ("running_mean", "running_var", "weight", "bias")},
        "momentum": 0.5,
    },
    "binary_cross_entropy": {"input": X / 4, "target": Y / 4, "weight": Y},
    "binary_cross_entropy_with_logits": {"target": Y / 4, "weight": Y, "pos_weight": Y},
    "conv1d": {
        "input": LINES,
        "weight": np.ones((6, 4, 3), np.float32),
        "bias": np.ones(6, np.float32),
        **_CONVOLUTION,
    },
    "conv2d": {
        "input": IMAGES,
        "weight": np.ones((6, 4, 3, 3), np.float32),
        "bias": np.ones(6, np.float32),
        **_CONVOLUTION,
    },
    "conv3d": {
        "input": VOLUMES,
        "weight": np.ones((6, 4, 3, 3, 3), np.float32),
        "bias": np.ones(6, np.float32),
        **_CONVOLUTION,
    },
    "conv_transpose3d": {"input": VOLUMES, "weight": np.ones((4, 6, 3, 3, 3), np.float32), **_TRANSPOSED},
    "adaptive_avg_pool3d": {"input": VOLUMES, "output_size": 3},
    "adaptive_max_pool3d": {"input": VOLUMES, "output_size": 3, "return_indices": True},
    "avg_pool3d": {"input": VOLUMES, "divisor_override": 3},
    "max_pool3d": {"input": VOLUMES},
    **{
        f"max_unpool{n}d": {
            "input": np.ones((1, 2, *(2,) * n), np.float32),
            "indices": Ints(np.arange(2 * 2**n).reshape(1, 2, *(2,) * n) % 2**n),
            "kernel_size": 2,
            "stride": 2,
            "padding": 0,
            "output_size": (5,) * n,
        }
        for n in (1, 2, 3)
    },
    "lp_pool3d": {"input": np.abs(VOLUMES), "norm_type": 3.0, "kernel_size": 3, "stride": 2, "ceil_mode": True},
    "conv_transpose1d": {"input": LINES, "weight": np.ones((4, 6, 3), np.float32), **_TRANSPOSED},
    "conv_transpose2d": {"input": IMAGES, "weight": np.ones((4, 6, 3, 3), np.float32), **_TRANSPOSED},
    "cross_entropy": _CLASSES,
    "nll_loss": _CLASSES,
    **{name: {"p": 0.0} for name in ("dropout", "dropout1d", "dropout2d")},
    "dropout3d": {"p": 0.0, "input": IMAGES},
    "channel_shuffle": {"input": IMAGES, "groups": 2},
    "pixel_shuffle": {"input": IMAGES, "upscale_factor": 2},
    "pixel_unshuffle": {"input": IMAGES, "downscale_factor": 2},
    "celu": {"alpha": 0.5},
    "adaptive_max_pool1d": {"input": LINES, "output_size": 3, "return_indices": True},
    "bilinear": {"input1": X, "input2": Y, "weight": np.ones((2, 3, 3), np.float32), "bias": X[0, :2]},
    "fold": {**_UNFOLDED, "input": np.ones((2, 18, 9), np.float32), "output_size": 5},
    "unfold": {"input": IMAGES, "self": X, "dimension": 1, "step": 2, "size": 2, **_UNFOLDED},
    "local_response_norm": {"input": IMAGES, "size": 3, "beta": 0.5, "k": 2.0},
    "lp_pool1d": {"input": LINES, "norm_type": 2, "kernel_size": 3, "stride": 2, "ceil_mode": True},
    "lp_pool2d": {"input": np.abs(IMAGES), "norm_type": 3.0, "kernel_size": 3, "stride": 2, "ceil_mode": True},
    **{name: {"lambd": 0.25} for name in ("hardshrink", "softshrink")},
    "rrelu": {"lower": 0.25, "upper": 0.25},
    "threshold": {"threshold": 1.0},
    **{name: {"p": 0.0} for name in ("alpha_dropout", "feature_alpha_dropout")},
    "glu": {"input": IMAGES},
    "cosine_similarity": {"x1": X, "x2": Y},
    "pairwise_distance": {"x1": X, "x2": Y},
    "normalize": {"p": 3.0},
    "rms_norm": {"normalized_shape": (3,), "weight": X[0]},
    "instance_norm": {
        "input": IMAGES,
        **{name: np.ones(4, np.float32) for name in ("running_mean", "running_var", "weight", "bias")},
        "use_input_stats": True,
        "momentum": 0.5,
    },
    "kl_div": {"log_target": True},
    "triplet_margin_loss": {"anchor": X, "positive": Y, "negative": X + 1, "margin": 0.5, "swap": True},
    "margin_ranking_loss": {"input1": X, "input2": Y, "target": np.sign(X - 1.5), "margin": 0.5},
    "hinge_embedding_loss": {"target": np.sign(X - 1.5), "margin": 0.5},
    "cosine_embedding_loss": {"input1": X, "input2": Y, "target": np.sign(X[0] - 1.5), "margin": 0.5},
    "soft_margin_loss": {"target": np.sign(X - 1.5)},
    "gaussian_nll_loss": {"var": Y, "full": True},
    "poisson_nll_loss": {"log_input": False, "full": True},
    "multilabel_soft_margin_loss": {"target": MASK.astype(np.float32), "weight": X[0]},
    "multi_margin_loss": {"target": Ints([0, 2, 1]), "p": 2, "margin": 0.5, "weight": X[0]},
    "triplet_margin_with_distance_loss": {
        "anchor": X,
        "positive": Y,
        "negative": X + 1,
        "margin": 0.5,
        "swap": True,
        "distance_function": Of(lambda library: lambda a, b: ((a - b) ** 2).sum(-1)),
    },
    "interpolate": {
        "input": IMAGES,
        "size": None,  # only one of these two can be given
        "scale_factor": 1.7,
        "mode": "bilinear",
        "align_corners": True,
        "recompute_scale_factor": True,
        "antialias": True,
    },
    "affine_grid": {"theta": np.ones((2, 2, 3), np.float32), "size": (2, 1, 3, 3), "align_corners": True},
    "grid_sample": {
        "input": IMAGES,
        "grid": np.linspace(-1.2, 1.2, 2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2),
        "mode": "nearest",
        "padding_mode": "border",
        "align_corners": True,
    },
    "gumbel_softmax": {"logits": X, "tau": 2.0, "hard": True, "eps": 1e-3, "dim": 0},
    "elu": {"alpha": 0.5},
    "embedding": {"input": Ints([0, 2]), "weight": X, "padding_idx": 1, "max_norm": 0.5, "norm_type": 1.0},
    "gelu": {"approximate": "tanh"},
    "group_norm": {"input": IMAGES, "num_groups": 2, **{n: np.ones(4, np.float32) for n in ("weight", "bias")}},
    "hardtanh": {"min_val": 1.0, "max_val": 2.0},
    "huber_loss": {"delta": 0.25, "weight": Y},
    "l1_loss": {"weight": Y},
    "mse_loss": {"weight": Y},
    "smooth_l1_loss": {"beta": 0.25},
    "layer_norm": {"normalized_shape": (3,), "weight": X[0], "bias": Y[0]},
    "leaky_relu": {"negative_slope": 0.25},
    "linear": {"weight": Y, "bias": Y[0]},
    "pad": {"pad": (1, 1), "mode": "constant", "value": 2.0},
    "prelu": {"weight": np.array([0.25], np.float32)},
    "softplus": {"beta": 0.5, "threshold": 1.0},
}
_VECTORS: dict[str, Any] = {**dict.fromkeys(("input", "self", "x", "a", "x1"), X[0])}
VALUES |= {
    "addmm": {"mat1": X, "mat2": Y, "beta": 2, "alpha": 3},
    "addmv": {**_VECTORS, "mat": X, "vec": Y[0], "beta": 2, "alpha": 3},
    "baddbmm": {"batch1": X[None], "batch2": Y[None], "beta": 2, "alpha": 3},
    "bincount": {**dict.fromkeys(("input", "self", "x", "a", "x1"), Ints([2, 0, 1])), "weights": X[0], "minlength": 5},
    "cross": {"dim": 0},
    "cumsum": {"dim": 1},
    "diag": {"diagonal": 1},
    "fmod": {"other": 0.5, "x2": 0.5},
    "index_add": {"index": Ints([0, 2, 0]), "source": Y, "alpha": 2},
    "index_add_": {"index": Ints([0, 2, 0]), "source": Y, "alpha": 2},
    "get_autocast_dtype": {"device_type": "cpu"},
    "multinomial": {"num_samples": 2, "replacement": True},
    "normal": {"mean": X, "std": 2.0, "size": (2, 3)},
    **{f"scatter{end}": {"src": Y, "value": 2.5, "reduce": "add"} for end in ("", "_", "_add", "_add_")},
    **{name: {"descending": True, "stable": True} for name in ("sort", "argsort")},
    "topk": {"k": 2, "largest": False, "sorted": True},
    "bernoulli_": {"p": 0.5},
    "bernoulli": {"input": X / 4, "self": X / 4, "p": 0.5},
    "unique": {"sorted": True, "return_inverse": True, "return_counts": True},
    "diagonal": {"offset": 1, "dim1": -1, "dim2": -2},
    "dot": {**_VECTORS, "tensor": Y[0], "other": Y[0], "x2": Y[0]},
    "einsum": {"equation": "ij,jk->ik", "operands": Many((X, Y))},
    "ger": {**_VECTORS, "vec2": Y[0]},
    "meshgrid": {"tensors": Many((X[0], Y[0])), "indexing": "xy"},
    "lerp": {"end": Y, "weight": 0.25},
    "mv": {"vec": Y[0]},
    "nan_to_num": {"nan": 1.0, "posinf": 2.0, "neginf": 3.0},
    "one_hot": {"input": Ints([0, 2]), "tensor": Ints([0, 2]), "num_classes": 4},
    "outer": {**_VECTORS, "vec2": Y[0]},
    "repeat_interleave": {"repeats": 2, "output_size": 6},
    "roll": {"shifts": 1, "dims": 1},
}
_ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
VALUES |= {
    "nn.utils.rnn": {"sequences": Many((_ROWS, _ROWS[:1])), "padded_sequences": _ROWS, "lengths": Ints([2, 0])},
    "pad_sequence": {"batch_first": True, "padding_value": 0.5, "padding_side": "left"},
    "unpad_sequence": {"batch_first": False},
}
_INSIDE: dict[str, Any] = {**dict.fromkeys(("input", "self", "x", "a", "x1"), X / 4)}
VALUES |= {
    **{f"{name}{end}": _INSIDE for end in ("", "_") for name in ("acos", "arccos", "arcsin", "arctanh")},
    **{f"{name}{end}": _INSIDE for end in ("", "_") for name in ("asin", "atanh", "erfinv", "logit")},
    **{f"addc{name}{end}": {"tensor1": Y, "tensor2": X, "value": 2} for name in ("mul", "div") for end in ("", "_")},
    "addmm_": {"mat1": X, "mat2": Y, "beta": 2, "alpha": 3},
    "addmv_": {**_VECTORS, "mat": X, "vec": Y[0], "beta": 2, "alpha": 3},
    "baddbmm_": {"self": X[None], "batch1": X[None], "batch2": Y[None], "beta": 2, "alpha": 3},
    "clamp_max_": {"max": 2.0},
    "clamp_min_": {"min": 2.0},
    "float_power_": {"self": X.astype(np.float64)},
    "fmod_": {"other": 0.5, "x2": 0.5},
    "heaviside": {"values": Y},
    "heaviside_": {"values": Y},
    "lerp_": {"end": Y, "weight": 0.25},
    "moveaxis": {"source": 0, "destination": 1},
    "nan_to_num_": {"nan": 1.0, "posinf": 2.0, "neginf": 3.0},
    "swapaxes": {"axis0": 0, "axis1": 1},
    "new": {},
    "use_deterministic_algorithms": {"mode": True, "warn_only": False},
    "set_float32_matmul_precision": {"precision": "highest"},
    "set_num_interop_threads": {"num": 1},
    "is_nonzero": dict.fromkeys(("input", "self", "x", "a", "x1"), X[:1, :1]),
}
_SORTED = np.sort(X[0])
VALUES |= {
    "addbmm": {"batch1": X[None], "batch2": Y[None], "beta": 2, "alpha": 3},
    "addbmm_": {"batch1": X[None], "batch2": Y[None], "beta": 2, "alpha": 3},
    "addr": {"vec1": X[0], "vec2": Y[0], "beta": 2, "alpha": 3},
    "addr_": {"vec1": X[0], "vec2": Y[0], "beta": 2, "alpha": 3},
    "block_diag": {"tensors": Many((X, Y))},
    "bucketize": {"boundaries": X[0] * 0 + 1, "right": True, "out_int32": True},
    "cartesian_prod": {"tensors": Many((X[0], Y[0]))},
    "cdist": {"x1": X, "x2": Y, "compute_mode": "use_mm_for_euclid_dist"},
    "chain_matmul": {"matrices": Many((X, Y))},
    "combinations": {**_VECTORS, "r": 2, "with_replacement": True},
    "cumprod_": {"dim": 1, "dtype": Kind("float32")},
    "diag_embed": {"offset": 1, "dim1": 0, "dim2": 0},
    "diagflat": {"offset": 1},
    "diff": {"n": 2, "prepend": X, "append": Y},
    "histc": {"bins": 5, "min": 0.5, "max": 2.5},
    **{f"index_{name}": {"index": Ints([0, 2])} for name in ("fill", "fill_", "copy", "copy_")},
    "index_copy": {"index": Ints([0, 2]), "source": Y[:, :2]},
    "index_copy_": {"index": Ints([0, 2]), "source": Y[:, :2]},
    "kthvalue": {"k": 2},
    "masked_scatter": {"source": Y},
    "masked_scatter_": {"source": Y},
    "matrix_power": {"n": 3},
    "quantile": {"q": 0.3, "interpolation": "lower"},
    "rot90": {"k": 1, "dims": (0, 1)},
    "searchsorted": {"sorted_sequence": _SORTED, "input": Y, "self": 1.5, "side": "right"},
    "take": {"index": Ints([3, 0])},
    "tensor_split": {"indices": (1,), "sections": 2, "tensor_indices_or_sections": Ints([1])},
    "hsplit": {"indices": (1,), "sections": 3},
    "vsplit": {"indices": (1,), "sections": 3},
    "dsplit": {"input": X[None], "self": X[None], "x": X[None], "a": X[None], "x1": X[None]},
    "tensordot": {"a": X, "b": Y, "dims": 1},
    "tile": {"dims": (2, 1)},
    **{name: {"row": 2, "col": 3, "offset": 1, "dtype": Kind("int32")} for name in ("tril_indices", "triu_indices")},
    **{name: {"y": X, "x": Y, "dx": 0.5} for name in ("trapezoid", "trapz")},
    "vander": {**_VECTORS, "N": 2, "increasing": True},
    "vdot": {**_VECTORS, "other": Y[0], "x2": Y[0]},
}
VALUES["searchsorted"] |= {"right": True, "out_int32": True, "sorter": Ints(np.argsort(_SORTED))}
VALUES["dsplit"] |= {"indices": (1,), "sections": 3}
_A_MODULE = Of(lambda library: library.nn.ReLU())
VALUES |= {
    "nn.init": {"a": 0.25, "b": 0.5, "mode": "fan_out", "nonlinearity": "relu", "gain": 2.0, "mean": 1.0, "std": 2.0},
    "calculate_gain": {"nonlinearity": "leaky_relu", "param": 0.5},
    "constant_": {"val": 2.0},
    "dirac_": {"tensor": LINES, "groups": 2},
    "sparse_": {"sparsity": 0.5},
    "remove_spectral_norm": {"module": Of(lambda library: library.nn.utils.spectral_norm(library.nn.Linear(3, 3)))},
    "remove_weight_norm": {"module": Of(lambda library: library.nn.utils.weight_norm(library.nn.Linear(3, 3)))},
    "nn.utils": {
        "parameters": Of(lambda library: [_leaf(library)]),
        "max_norm": 0.5,
        "clip_value": 0.5,
        "module": Of(lambda library: library.nn.Linear(3, 3)),
        "name": "weight",
        "n_power_iterations": 2,
        "vec": np.arange(9, dtype=np.float32),
        "foreach": True,
    },
    "clip_grad_norm": {"norm_type": 1.0, "error_if_nonfinite": True},
    "clip_grad_norm_": {"norm_type": 1.0, "error_if_nonfinite": True},
    "grad": {
        "inputs": Of(lambda library: [_shared_leaf(library)]),
        "outputs": Of(lambda library: (_shared_leaf(library) ** 2).sum()),
        "grad_outputs": Of(lambda library: [library.tensor(2.0)]),
        **dict.fromkeys(
            ("retain_graph", "create_graph", "allow_unused", "is_grads_batched", "materialize_grads"), True
        ),
        "only_inputs": True,
    },
    "gradcheck": {
        "func": Of(lambda library: library.exp),
        "inputs": Of(lambda library: [library.tensor(X[:, :1].astype(np.float64), requires_grad=True)]),
        "raise_exception": False,
        "nondet_tol": 0.5,
        "check_backward_ad": True,
        **dict.fromkeys(("check_undefined_grad", "check_grad_dtypes", "fast_mode", "check_batched_grad"), True),
        **dict.fromkeys(("check_batched_forward_grad", "check_forward_ad"), False),
        "masked": True,
    },
    "nn.Module": {
        "module": _A_MODULE,
        "name": "added",
        "fn": Of(lambda library: lambda module: None),
        "hook": Of(lambda library: lambda *args: None),
        "param": Of(lambda library: library.nn.Parameter(library.tensor(X))),
        "target": "0",
        "memo": Of(lambda library: set()),
        "destination": Of(lambda library: {}),
        "state_dict": Of(lambda library: OBJECTS["nn.Module"](library).state_dict()),
        "prefix": "head",
        **dict.fromkeys(("recurse", "remove_duplicate", "persistent", "set_to_none"), False),
        **dict.fromkeys(("keep_vars", "strict", "assign", "prepend", "with_kwargs", "always_call"), True),
    },
    "get_buffer": {"target": "1.running_mean"},
    "get_parameter": {"target": "0.weight"},
    "optim.SGD": {
        "closure": Of(lambda library: lambda: 2.5),
        "param_group": Of(lambda library: {"params": [library.tensor(X, requires_grad=True)], "foreach": True}),
        "set_to_none": False,
        "state_dict": Of(lambda library: OBJECTS["optim.SGD"](library).state_dict()),
    },
    "optim.lr_scheduler.StepLR": {
        "epoch": 3,
        "state_dict": Of(lambda library: OBJECTS["optim.lr_scheduler.StepLR"](library).state_dict()),
    },
}
for _name in ("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d"):
    VALUES[_name] |= {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}
    VALUES[_name] |= {"dilation": 1, "return_indices": True}
VALUES["scaled_dot_product_attention"] = {
    "query": LINES,
    "key": LINES * 2,
    "value": LINES + 1,
    "attn_mask": LINES[0, :, :4],
    "dropout_p": 0.0,
    "is_causal": True,
    "scale": 0.5,
    "enable_gqa": False,
}
VALUES["embedding"] |= {"scale_grad_by_freq": True, "sparse": True}
# The values are drawn, or whatever was in memory.
RANDOM = frozenset(("empty", "empty_like", "new_empty", "normal_", "uniform_", "rand", "rand_like", "randint", "randn"))
RANDOM |= {
    "randn_like",
    "randperm",
    "randint_like",
    "kaiming_normal_",
    "kaiming_uniform_",
    "xavier_normal_",
    "xavier_uniform_",
}
RANDOM |= {"orthogonal_", "sparse_", "trunc_normal_"} | {
    "parameters",
    "named_parameters",
    "state_dict",
    "get_parameter",
}
RANDOM |= {"bernoulli", "bernoulli_", "gumbel_softmax", "multinomial", "normal"}

# PyTorch's products are in bfloat16, and each rounds by 2^-9. A keyword that shows moves a parameter by 0.05 or more.
ROUGH = {"Muon": 0.01}


def given(library: Any, value: Any) -> Any:
    """The value as this library takes it."""
    if isinstance(value, np.ndarray):
        return library.tensor(value.copy())
    if isinstance(value, Kind):
        return getattr(library, value.name)
    if isinstance(value, Ints):
        return library.tensor(np.array(value.values))
    if isinstance(value, Many):
        return [given(library, v) for v in value.arrays]
    return value.make(library) if isinstance(value, Of) else value


def plain(result: Any) -> Any:
    """A result for comparison: arrays, Python's values, and tuples of them."""
    if isinstance(result, dict):
        result = tuple(result.items())
    if isinstance(result, tuple | list | Iterator):
        return tuple(plain(r) for r in result)
    return result.detach().numpy() if isinstance(result, typed.Tensor | torch.Tensor) else result


def empty_like(library: Any, result: Any) -> Any:
    """Tensors to write such a result into."""
    if isinstance(result, tuple):
        return tuple(empty_like(library, r) for r in result)
    return library.zeros(result.shape, dtype=getattr(library, str(result.dtype).split(".")[-1]))


def same(name: str, mine: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple):
        assert isinstance(mine, tuple)
        assert len(mine) == len(theirs)
        for a, b in zip(mine, theirs, strict=True):
            same(name, a, b)
    elif isinstance(theirs, np.ndarray):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        if name not in RANDOM:
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=ROUGH.get(name, 2e-6))  # tens of roundings
    elif isinstance(theirs, float):
        assert mine == pytest.approx(theirs, rel=1e-12, nan_ok=True)  # some roundings
    elif isinstance(theirs, bool | int | str | type(None)):
        assert mine == theirs
    # what is left (generators, dtypes' names) each library has of its own


# -- functions and methods ------------------------------------------------------------------------


class Case(NamedTuple):
    """A keyword, and PyTorch's ways to call the function that have it."""

    place: str
    name: str
    keyword: str
    ways: tuple[Overload, ...]


# Where functions and methods are, and what to call the place in a test's name.
PLACES = {"": "gpunn", "nn.functional": "functional", "Tensor": "Tensor", "nn.init": "init", "nn.utils": "utils"}
PLACES |= {"nn.utils.rnn": "rnn"}
PLACES |= {"autograd": "autograd", "nn.Module": "Module", "optim.SGD": "SGD", "optim.lr_scheduler.StepLR": "StepLR"}
# Where these places are classes: an instance whose methods are called.
OBJECTS: dict[str, Any] = {
    "nn.Module": lambda library: library.nn.Sequential(library.nn.Linear(3, 3), library.nn.BatchNorm1d(3)),
    "optim.SGD": lambda library: library.optim.SGD([_leaf(library)], lr=0.5),
    "optim.lr_scheduler.StepLR": lambda library: library.optim.lr_scheduler.StepLR(
        library.optim.SGD([_leaf(library)], lr=0.5), 2
    ),
}
REAL_NAME = {numpys: name for name, several in NUMPY_NAMES.items() for numpys in several}


def library_thing(library: Any, place: str) -> Any:
    for part in place.split(".") if place else ():
        library = getattr(library, part)
    return library


# Tested in tests/test_program_names.py: they change what holds for the whole process, and PyTorch's compile brings in a
# compiler, which takes seconds.
ELSEWHERE = {("", "compile"), ("", "set_default_dtype"), ("", "set_printoptions"), ("", "is_autocast_enabled")}
ELSEWHERE |= {("", "set_float32_matmul_precision"), ("", "can_cast"), ("", "promote_types"), ("", "result_type")}
# They would hold for the tests behind them.
ELSEWHERE |= {("", "set_default_device"), ("", "set_precision"), ("", "use_deterministic_algorithms")}
ELSEWHERE |= {("Tensor", "new")}  # PyTorch's stub says nothing that it takes by name


def cases() -> list[Any]:
    found: dict[tuple[str, str, str], list[Overload]] = {}
    for place in PLACES:
        ours, theirs = library_thing(typed, place), library_thing(torch, place)
        for name in [n for n in dir(ours) if n[0] != "_"] if inspect.isclass(ours) else ours.__all__:
            # Of Tensor dir() also lists what is not there, and says so.
            mine, other = getattr(ours, name, None), getattr(theirs, name, None)
            if (place, name) in ELSEWHERE:
                continue
            if other is None or not callable(mine) or inspect.isclass(mine) or inspect.isclass(other):
                continue
            for overload in overloads(other, name, "TensorBase" if place == "Tensor" else ""):
                keywords = [n for n in overload.names if n != "self" or not inspect.isclass(ours)]
                if overload.builtin:
                    keywords += [numpys for n in overload.names for numpys in NUMPY_NAMES.get(n, ())]
                for keyword in keywords:
                    found.setdefault((place, name, keyword), []).append(overload)
    return [
        pytest.param(Case(*which, tuple(ways)), id="-".join((PLACES[which[0]], *which[1:])))
        for which, ways in found.items()
    ]


def value_of(case: Case, name: str) -> Any:
    if name == "self" and case.place != "Tensor":
        return 6 if case.name.startswith("bitwise") else 2.0  # in these overloads it is a number
    real = REAL_NAME.get(name, name)
    for known in (
        VALUES.get(f"{case.place}.{case.name}", {}),
        VALUES.get(case.name, {}),
        VALUES.get(case.place, {}),
        COMMON,
    ):
        for each in (name, real):
            if each in known:
                return known[each]
    raise LookupError(f"the test has no value for {name} of {case.name}")


def arguments(case: Case, way: Overload) -> dict[str, Any]:
    """What the function is given by keyword: all it needs, and the one in question."""
    instead = REAL_NAME.get(case.keyword) if case.keyword not in way.names else None
    names = [n for n in way.names if n in way.needed and n not in (case.keyword, instead)]
    names += [n for n in ALSO.get(case.name, ()) if n in way.names and n not in (*names, case.keyword, instead)]
    is_method = case.place == "Tensor" or case.place in OBJECTS
    return {n: value_of(case, n) for n in (*names, case.keyword) if not (n == "self" and is_method)}


def call(library: Any, case: Case, values: dict[str, Any]) -> Any:
    named = {n: given(library, v) for n, v in values.items() if v is not OUT}
    if case.place in OBJECTS:
        function = getattr(OBJECTS[case.place](library), case.name)
    elif case.place == "Tensor":
        function = getattr(given(library, value_of(case, "self")), case.name)
    else:
        function = getattr(library_thing(library, case.place), case.name)
    if values[case.keyword] is not OUT:
        return function(**named)
    out = empty_like(library, function(**named))
    result = function(**named, out=out)
    assert result is out or all(a is b for a, b in zip(result, out, strict=True))
    return result


# What has to be given though its default says otherwise, or makes results the same.
ALSO = {
    **dict.fromkeys(("arange", "randint", "randperm"), ("dtype",)),
    "backward": ("gradient",),
    "load": ("weights_only",),
    "clamp": ("min",),
    "clamp_": ("min",),
    "clip": ("min",),
    "clip_": ("min",),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), ("p",)),
    "feature_alpha_dropout": ("p",),
    "rrelu": ("lower", "upper"),
    **dict.fromkeys(("fold", "unfold"), ("padding", "stride")),
    "conv_transpose1d": ("stride",),
    "conv_transpose2d": ("stride",),
    "conv_transpose3d": ("stride",),
    "instance_norm": ("running_mean", "running_var"),
    "interpolate": ("scale_factor", "mode"),
    "diagonal": ("dim1", "dim2"),
    "histc": ("max",),
    "repeat_interleave": ("dim",),
    "log_softmax": ("dim",),
    "softmax": ("dim",),
    "type": ("dtype",),
}
# What PyTorch's stubs name, and PyTorch itself does not take.
NOT_TAKEN = {
    ("", "add", "self"),
    *(
        ("", name, "self")
        for name in ("addbmm", "addcdiv", "addcmul", "addmm", "addr", "addmv", "baddbmm", "float_power")
    ),
    ("", "chain_matmul", "out"),  # it wants the matrices one by one, which have no names
    *(("", f"tri{which}_indices", "requires_grad") for which in "lu"),
    ("", "set_num_interop_threads", "num"),
    ("Tensor", "cumsum_", "dtype"),
    ("Tensor", "pin_memory", "device"),  # this build of it knows no GPU
    ("Tensor", "true_divide", "out"),
    ("", "from_numpy", "ndarray"),
    ("", "full", "names"),
    ("", "is_tensor", "obj"),
    ("", "numel", "self"),
    ("", "typename", "obj"),
    # With the tensor that mean is here; see test_multinomial.py.
    *(("", "normal", name) for name in ("device", "dtype", "layout", "pin_memory", "requires_grad", "size")),
    ("", "meshgrid", "indexing"),  # without tensors, which have no name
    ("nn.functional", "one_hot", "num_classes"),  # it says input for what its signature calls tensor
    ("nn.functional", "one_hot", "tensor"),
    ("", "set_num_threads", "num"),
    ("", "sub", "self"),
    ("Tensor", "add", "out"),
    ("Tensor", "floor_divide", "out"),
    ("Tensor", "mul", "out"),
    ("Tensor", "new_tensor", "pin_memory"),
    ("Tensor", "sub", "out"),
    ("Tensor", "requires_grad_", "mode"),
    ("Tensor", "to", "other"),
    ("Tensor", "to", "x2"),
    # This build of it knows no GPU; see test_cuda_takes_pytorchs_keywords.
    *(("", name, "out_dtype") for name in ("addmm", "baddbmm", "bmm")),
    ("", "mm", "out_dtype"),
    ("Tensor", "cuda", "device"),
    ("Tensor", "cuda", "memory_format"),
    ("Tensor", "cuda", "non_blocking"),
    ("nn.Module", "cuda", "device"),
    # It wants other values of the other arguments; see test_gradients_of_gradients.
    ("autograd", "grad", "is_grads_batched"),
}


@pytest.mark.parametrize("case", cases())
def test_keyword_is_honoured_or_refused(case: Case) -> None:
    taken = []
    for way in case.ways:
        values = arguments(case, way)
        try:
            taken.append((values, plain(call(torch, case, values))))
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            reason = error
    if (case.place, case.name, case.keyword) in NOT_TAKEN:
        assert not taken
        return
    assert taken, f"PyTorch does not take these values: {reason}"
    for values, theirs in taken:
        try:
            mine = plain(call(gpunn, case, values))
        except GpunnError as error:
            row = differences.refusal(case.name, case.keyword)
            if row is None or row.why not in str(error):
                raise
        else:
            same(case.name, mine, theirs)


# -- layers, losses, optimisers, schedules --------------------------------------------------------


def _optimizer(library: Any) -> Any:
    return library.optim.SGD([_leaf(library)], lr=0.5, momentum=0.5)


def _schedules(library: Any) -> Any:
    optimizer = _optimizer(library)
    schedule = library.optim.lr_scheduler
    return optimizer, [schedule.StepLR(optimizer, 1), schedule.ExponentialLR(optimizer, 0.5)]


@functools.cache
def _one_pair(library: Any) -> Any:
    return _schedules(library)


_THERE = {"data": "utils.data"}  # what is elsewhere in PyTorch
NEW: dict[str, Any] = {
    "parameters": None,
    "momentum_decay": 0.25,
    "rho": 0.75,
    "T_0": 3,
    "T_max": 4,
    "T_mult": 2,
    "affine": False,
    "align_corners": True,
    "alpha": 0.5,
    "amsgrad": True,
    "anneal_strategy": "linear",
    "approximate": "tanh",
    "base_lr": 0.25,
    "base_momentum": 0.25,
    "beta": 0.5,
    "betas": (0.5, 0.75),
    "bias": False,
    "capturable": False,
    "ceil_mode": True,
    "centered": True,
    "cooldown": 1,
    "count_include_pad": False,
    "cycle_momentum": False,
    "dampening": 0.25,
    "data": X,
    "decoupled_weight_decay": True,
    "defaults": Of(lambda library: {}),
    "delta": 0.5,
    "device": "cpu",
    "differentiable": True,
    "dilation": 1,
    "dim": 1,
    "downscale_factor": 2,
    "div_factor": 5.0,
    "divisor_override": 3,
    "dtype": Kind("float64"),
    "elementwise_affine": False,
    "embedding_dim": 3,
    "end_dim": 2,
    "end_factor": 0.75,
    "epochs": 3,
    "eps": 0.25,
    "eta_min": 0.125,
    "factor": 0.5,
    "final_div_factor": 5.0,
    "foreach": True,
    "fused": True,
    "gamma": 0.25,
    "groups": 2,
    "ignore_index": 1,
    "in_channels": 4,
    "in_features": 4,
    "in1_features": 4,
    "in2_features": 3,
    "init": 0.125,
    "initial_accumulator_value": 0.5,
    "inplace": True,
    "kernel_size": 3,
    "label_smoothing": 0.25,
    "last_epoch": -1,
    "log_target": True,
    "lr": 0.25,
    "lr_decay": 0.25,
    "lr_lambda": Of(lambda library: lambda epoch: 0.5**epoch),
    "k": 2.0,
    "keepdim": True,
    "lambd": 0.25,
    "lower": 0.25,
    "upper": 0.75,
    "margin": 0.25,
    "max_lr": 2.0,
    "max_momentum": 0.75,
    "max_norm": 1.0,
    "max_val": 0.5,
    "max_value": 0.5,
    "maximize": True,
    "milestones": [2],
    "min_lr": 0.125,
    "min_val": -0.5,
    "min_value": -0.5,
    "mode": "max",
    "modules": None,
    "momentum": 0.5,
    "negative_slope": 0.25,
    "nesterov": True,
    "norm_type": 1.0,
    "normalized_shape": (4,),
    "num_channels": 4,
    "num_embeddings": 5,
    "num_features": 4,
    "num_groups": 2,
    "num_parameters": 4,
    "optimizer": Of(_optimizer),
    "out_channels": 6,
    "out_features": 2,
    "output_padding": 1,
    "output_size": 3,
    "p": 0.25,
    "padding": 1,
    "padding_idx": 1,
    "padding_mode": "reflect",
    "params": Of(lambda library: [_leaf(library)]),
    "patience": 1,
    "pct_start": 0.5,
    "pos_weight": Y,
    "power": 2.0,
    "recompute_scale_factor": True,
    "reduce": False,
    "reduction": "sum",
    "requires_grad": False,
    "return_indices": True,
    "scale_factor": 2.0,
    "scale_fn": Of(lambda library: lambda x: 0.5),
    "scale_grad_by_freq": True,
    "scale_mode": "iterations",
    "size": (3, 4),
    "size_average": False,
    "sparse": True,
    "swap": True,
    "start_dim": 0,
    "start_factor": 0.5,
    "step_size": 2,
    "step_size_down": 3,
    "step_size_up": 2,
    "steps_per_epoch": 4,
    "stride": 2,
    "three_phase": True,
    "threshold": 0.5,
    "threshold_mode": "abs",
    "total_iters": 3,
    "total_steps": 12,
    "track_running_stats": False,
    "unflattened_size": (2, 2),
    "upscale_factor": 2,
    "value": 2.0,
    "values": None,
    "weight": X,
    "weight_decay": 0.25,
    "_freeze": True,
    "_weight": np.ones((5, 3), np.float32),
}
_LOADER: dict[str, Any] = {
    "dataset": Of(lambda library: [(library.tensor(X[0]),)] * 5),
    "batch_size": 2,
    "batch_sampler": [[0, 1], [2]],
    "collate_fn": Of(lambda library: lambda items: items[0]),
    "drop_last": True,
    "generator": Of(lambda library: library.Generator()),
    "in_order": False,
    "multiprocessing_context": "spawn",
    "num_workers": 1,
    "persistent_workers": True,
    "pin_memory": False,
    "pin_memory_device": "",
    "prefetch_factor": 3,
    "sampler": [2, 0],
    "shuffle": True,
    "timeout": 1,
    "worker_init_fn": Of(lambda library: print),
}
_OF_WORKERS = ("num_workers", "prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout")
_CELL: dict[str, Any] = {"input_size": 3, "hidden_size": 4, "bias": False, "nonlinearity": "relu"}
_RECURRENT: dict[str, Any] = {
    "input_size": 3,
    "hidden_size": 4,
    "num_layers": 2,
    "bias": False,
    "batch_first": True,
    "dropout": 0.25,
    "bidirectional": True,
}
_TRANSFORMER_LAYER: dict[str, Any] = {
    "d_model": 4,
    "nhead": 2,
    "dim_feedforward": 8,
    "dropout": 0.25,
    "activation": "gelu",
    "layer_norm_eps": 0.25,
    "batch_first": True,
    "norm_first": True,
}
NEW_OF: dict[str, dict[str, Any]] = {
    "GaussianNLLLoss": {"full": True},
    "MultiMarginLoss": {"p": 2, "weight": X[0]},
    "MultiLabelSoftMarginLoss": {"weight": X[0]},
    "PoissonNLLLoss": {"log_input": False, "full": True},
    "TripletMarginWithDistanceLoss": {"distance_function": Of(lambda library: library.nn.PairwiseDistance(3.0))},
    "Muon": {"ns_coefficients": (3.0, -4.0, 1.5), "ns_steps": 2, "adjust_lr_fn": "match_rms_adamw"},
    "LBFGS": {
        "max_iter": 3,
        "max_eval": 4,
        "tolerance_grad": 1e-3,
        "tolerance_change": 1e-3,
        "history_size": 2,
        "line_search_fn": "strong_wolfe",
    },
    "ChainedScheduler": {"schedulers": Of(lambda library: _one_pair(library)[1]), "optimizer": None},
    "SequentialLR": {
        "optimizer": Of(lambda library: _one_pair(library)[0]),
        "schedulers": Of(lambda library: _one_pair(library)[1]),
    },
    "DataLoader": _LOADER,
    "ConcatDataset": {"datasets": [[1, 2], [3]]},
    "Subset": {"dataset": [1, 2, 3], "indices": [0, 2]},
    "ChainDataset": {"datasets": []},
    "SequentialSampler": {"data_source": [1, 2, 3]},
    "RandomSampler": {
        "data_source": [1, 2, 3],
        "replacement": True,
        "num_samples": 6,
        "generator": Of(lambda library: library.Generator()),
    },
    "SubsetRandomSampler": {"indices": [5, 7], "generator": Of(lambda library: library.Generator())},
    "WeightedRandomSampler": {
        "weights": [0.0, 2.0, 0.0],
        "num_samples": 3,
        "replacement": True,
        "generator": Of(lambda library: library.Generator()),
    },
    "BatchSampler": {"sampler": [4, 5, 6], "batch_size": 2, "drop_last": True},
    "DistributedSampler": {
        "dataset": [1, 2, 3],
        "num_replicas": 2,
        "rank": 1,
        "shuffle": False,
        "seed": 3,
        "drop_last": True,
    },
    "CyclicLR": {"mode": "triangular2", "base_momentum": 0.25},
    "DataParallel": {"module": _A_MODULE, "device_ids": [0], "output_device": 0, "dim": 1},
    **{f"{lazy}ConvTranspose{n}d": {"padding_mode": "zeros"} for lazy in ("", "Lazy") for n in (1, 2, 3)},
    "Upsample": {"mode": "bilinear"},
    "LocalResponseNorm": {"size": 3},
    "TransformerEncoderLayer": _TRANSFORMER_LAYER,
    "TransformerEncoder": {
        "encoder_layer": Of(lambda library: library.nn.TransformerEncoderLayer(4, 2, 8)),
        "num_layers": 2,
        "norm": None,
        "enable_nested_tensor": False,
        "mask_check": False,
    },
    "TransformerDecoderLayer": _TRANSFORMER_LAYER,
    "TransformerDecoder": {
        "decoder_layer": Of(lambda library: library.nn.TransformerDecoderLayer(4, 2, 8)),
        "num_layers": 2,
        "norm": None,
    },
    "Transformer": {
        **_TRANSFORMER_LAYER,
        "d_model": 8,  # for the 8 heads that there are by default
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "custom_encoder": None,
        "custom_decoder": None,
    },
    "RNNBase": {"mode": "RNN_RELU", **_RECURRENT, "proj_size": 0},
    "RNN": {**_RECURRENT, "nonlinearity": "relu"},
    "LSTM": {**_RECURRENT, "proj_size": 2},
    "GRU": _RECURRENT,
    **{f"{name}Cell": _CELL for name in ("RNN", "LSTM", "GRU")},
    "RNNCellBase": {**_CELL, "num_chunks": 2},
    "SyncBatchNorm": {"process_group": "world"},
    "MultiheadAttention": {
        "embed_dim": 4,
        "num_heads": 2,
        "dropout": 0.0,
        "add_bias_kv": True,
        "add_zero_attn": True,
        "kdim": 3,
        "vdim": 5,
        "batch_first": True,
    },
}
# What has to be given as well.
NEW_ALSO = {
    **{f"{lazy}ConvTranspose{n}d": ("stride", "padding_mode") for lazy in ("", "Lazy") for n in (1, 2, 3)},
    "CyclicLR": ("cycle_momentum",),
    **dict.fromkeys(("RNNBase", "RNN", "LSTM", "GRU"), ("num_layers",)),  # else PyTorch warns of dropout
    "DistributedSampler": ("num_replicas", "rank"),
    "Muon": ("lr",),  # a step that is large beside PyTorch's roundings
    "OneCycleLR": ("total_steps",),
    "SGD": ("momentum",),
}


def new_cases() -> list[Any]:
    found = []
    for place in ("nn", "optim", "optim.lr_scheduler", "data", "utils.data"):
        ours, theirs = library_thing(typed, place), library_thing(torch, _THERE.get(place, place))
        for name in ours.__all__:
            mine, other = getattr(ours, name), getattr(theirs, name, None)
            if inspect.isclass(mine) and other is not None and not inspect.isabstract(mine):
                (way,) = overloads(other, name)
                found += [
                    pytest.param(Case(place, name, keyword, (way,)), id=f"{name}-{keyword}") for keyword in way.names
                ]
    return found


def make(library: Any, case: Case) -> Any:
    (way,), known = case.ways, {**NEW, **NEW_OF.get(case.name, {})}
    names = [n for n in way.names if n in way.needed and n != case.keyword]
    names += [n for n in NEW_ALSO.get(case.name, ()) if n not in (*names, case.keyword)]
    names += ["num_workers"] if case.keyword in _OF_WORKERS[1:] else []
    named = {n: given(library, known[n]) for n in (*names, case.keyword)}
    place = case.place if library is gpunn else _THERE.get(case.place, case.place)
    return getattr(library_thing(library, place), case.name)(**named)


def behaviour(case: Case, made: Any) -> Any:
    """What a keyword may have changed: attributes, parameters, rates, batches."""
    if case.place in ("data", "utils.data"):
        if case.name in ("RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "BatchSampler"):
            return sorted(made) if case.keyword != "replacement" else len(list(made))
        if case.name != "DataLoader" or case.keyword in _OF_WORKERS:  # PyTorch's would start processes
            return len(made)
        return tuple(tuple(x.shape) for (x,) in made)
    if case.place == "nn":
        state = made.state_dict() if hasattr(made, "state_dict") else {}
        shown = {
            k: (None if "Uninitialized" in type(v).__name__ else tuple(v.shape), str(v.dtype).split(".")[-1])
            for k, v in state.items()
        }
        kept = getattr(made, case.keyword, None)
        kept = kept if isinstance(kept, bool | int | float | str | tuple) else None
        if differences.accepts_any(case.name, case.keyword):
            return plain(shown)
        text = str(made).replace("NonDynamicallyQuantizableLinear", "Linear")  # a Linear, of MultiheadAttention
        return plain((shown, kept, None if case.name == "Parameter" else text))
    if case.place == "optim" and case.keyword != "differentiable":  # with which PyTorch wants no leaves
        (group,) = made.param_groups
        if case.name in ("LBFGS", "Muon"):
            made.step(lambda: (group["params"][0] ** 2).sum().detach())
            return plain((group["params"][0], *(value for name, value in group.items() if name != "params")))
        made.step()
        return plain((group["params"][0], group["lr"], group["maximize"]))
    rates: list[Any] = []
    for _ in range(5 if case.place != "optim" else 0):
        made.step(0.5) if case.name == "ReduceLROnPlateau" else made.step()
        rates.append(plain(tuple(made.get_last_lr())))
    return tuple(rates)


@pytest.mark.parametrize("case", new_cases())
def test_keyword_of_a_class_is_honoured_or_refused(case: Case) -> None:
    theirs = behaviour(case, make(torch, case))
    try:
        mine = behaviour(case, make(gpunn, case))
    except GpunnError as error:
        row = differences.refusal(case.name, case.keyword)
        if row is None or row.why not in str(error):
            raise
    else:
        same(case.name, mine, theirs)


# -- the tables -----------------------------------------------------------------------------------


def test_the_tables_have_no_row_too_many() -> None:
    """What they name are keywords of PyTorch's."""
    known = {(case.values[0].name, case.values[0].keyword) for case in (*cases(), *new_cases())}
    torch = pytest.importorskip("torch")
    of_ranks = {name: getattr(torch.distributed, name, None) for name in gpunn.distributed.__all__}
    of_ranks |= {"DistributedDataParallel": torch.nn.parallel.DistributedDataParallel}
    for name, thing in of_ranks.items():
        if inspect.isfunction(thing) or name == "DistributedDataParallel":
            known |= {(name, keyword) for keyword in inspect.signature(thing).parameters}
    known |= {("Work.wait", "timeout")}  # of C++, without a signature
    rows: list[Any] = [*differences.ACCEPTED, *differences.REFUSED]
    for row in rows:
        if row.keyword != "names" and row.where != ("Generator",):  # which the stubs leave out
            assert {(where, row.keyword) for where in row.where} <= known, row
    assert {(name, "out") for name in differences.OUT} <= known


def test_cuda_takes_pytorchs_keywords() -> None:
    """Wherever there is no GPU, it is that which is told."""
    x, layer = gpunn.ones(2), gpunn.nn.Linear(2, 2)
    if gpunn.cuda.is_available():
        assert x.cuda(device=0, non_blocking=True, memory_format=None).device is gpunn.device("cuda:0")
        assert layer.cuda(device="cuda:0").weight.device is gpunn.device("cuda:0")
        return
    for call in (
        lambda: x.cuda(device=None, non_blocking=True, memory_format=None),
        lambda: x.cuda(1),
        lambda: layer.cuda(device="cuda:1"),
    ):
        with pytest.raises(DeviceError):
            call()


def test_gradients_of_several_at_once() -> None:
    leaf = gpunn.ones(2, requires_grad=True)
    with pytest.raises(UsageError, match="grad: is_grads_batched=True is not supported"):
        gpunn.autograd.grad(leaf * 2, leaf, gpunn.ones(3, 2), is_grads_batched=True)


def test_backward_gives_gradients_to_inputs_alone() -> None:
    def of(library: Any) -> list[Any]:
        a, b, c = (library.tensor(X, requires_grad=True) for _ in range(3))
        b.grad = library.tensor(Y)
        loss = (a * b * c).sum()
        loss.backward(inputs=[b, c], retain_graph=True)
        loss.backward(inputs=c)
        return [None if t.grad is None else t.grad.numpy() for t in (a, b, c)]

    for mine, theirs in zip(of(gpunn), of(torch), strict=True):
        same("backward", mine, theirs)
    with pytest.raises(UsageError, match="backward: inputs: expected at least one tensor"):
        gpunn.ones(1, requires_grad=True).backward(inputs=[])


def test_zeros_for_what_is_not_used() -> None:
    a, b = gpunn.ones(2, requires_grad=True), gpunn.ones(3, requires_grad=True)
    used, unused = gpunn.autograd.grad(a.sum(), [a, b], materialize_grads=True)
    assert (used.tolist(), unused.tolist()) == ([1, 1], [0, 0, 0])


def test_hooks_in_front_and_with_keywords() -> None:
    def of(library: Any) -> list[Any]:
        seen: list[Any] = []

        class Scaled(library.nn.Module):
            def forward(self, x: Any, factor: float = 1.0) -> Any:
                return x * factor

        layer = Scaled()
        layer.register_forward_pre_hook(lambda module, args: seen.append("second"))
        layer.register_forward_pre_hook(lambda module, args: seen.append("first"), prepend=True)
        layer.register_forward_pre_hook(lambda module, args, kwargs: (args, {"factor": 3.0}), with_kwargs=True)
        layer.register_forward_hook(
            lambda module, args, kwargs, output: seen.append((kwargs["factor"], output.tolist())), with_kwargs=True
        )
        handle = layer.register_forward_hook(lambda module, args, output: output + 1, prepend=True)
        seen.append(layer(library.tensor(X[0]), factor=2.0).tolist())
        handle.remove()
        seen.append(layer(library.tensor(X[0])).tolist())
        return seen

    assert of(gpunn) == of(torch)
    layer = gpunn.nn.ReLU()
    layer.register_forward_pre_hook(lambda module, args, kwargs: 1, with_kwargs=True)
    with pytest.raises(UsageError, match="ReLU: expected a hook with_kwargs to return None or"):
        layer(gpunn.tensor(X))


def test_layers_take_their_input_by_pytorchs_name() -> None:
    def of(library: Any) -> list[Any]:
        nn, x, images = library.nn, library.tensor(X), library.tensor(IMAGES)
        layers = [nn.ReLU(), nn.Softmax(1), nn.Flatten(0), nn.Sequential(nn.Tanh(), nn.ELU()), nn.Identity()]
        found = [layer(input=x) for layer in layers]
        found += [layer(input=images) for layer in (nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ZeroPad2d(1))]
        return [*found, nn.MSELoss()(input=x, target=library.tensor(Y))]

    for mine, theirs in zip(of(gpunn), of(torch), strict=True):
        same("forward", plain(mine), plain(theirs))

    class Own(gpunn.nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    with pytest.raises(TypeError, match="unexpected keyword argument 'input'"):
        Own()(input=gpunn.ones(1))


def test_optimisers_take_named_parameters() -> None:
    def of(library: Any) -> Any:
        leaf = _leaf(library)
        optimizer = library.optim.SGD([("weight", leaf)], lr=0.5)
        optimizer.step()
        return plain(leaf)

    same("step", of(gpunn), of(torch))
    with pytest.raises(UsageError, match=r"Adam: lr: expected a number >= 0; got tensor\(0.5\). Pass its .item\(\)"):
        gpunn.optim.Adam([_leaf(gpunn)], lr=gpunn.tensor(0.5))


def test_generators_serve_every_device() -> None:
    generator = gpunn.Generator(device="cuda")
    assert generator.manual_seed(3).seed == 3
