"""What a wrong argument does: typical mistakes, the exception each raises, and the words that its message must have.

The words are the place (layer or op), the argument, what was expected, what came, and the fix where there is one. That
nothing else than our exceptions comes out, whatever is wrong, is tested in ``tests/test_wrong_arguments.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import autograd, data, models, nn, optim, train
from gpunn.data import transforms
from gpunn.errors import (
    ArgumentError,
    DataError,
    DeviceError,
    DTypeError,
    GpunnError,
    GraphError,
    LabelError,
    RangeError,
    ShapeError,
    StateDictError,
    UnknownNameError,
    UsageError,
)
from gpunn.nn import functional as F
from gpunn.nn import init, utils
from gpunn.optim import lr_scheduler
from tests.calls import constant, dataset, images, loader, mask, model, optimizer, parameters, sequences, whole, x
from tests.test_wrong_arguments import Foreign

# What it is, the call, what it raises, and the message's words, with | between them.
Mistake = tuple[str, Callable[[], Any], type[GpunnError], str]


def wrong(value: Any) -> Any:
    """A value where the checker of types would refuse it, as it should."""
    return value


TENSORS: list[Mistake] = [
    (
        "a number into relu",
        lambda: F.relu(wrong(3)),
        ArgumentError,
        "relu: x: | expected a Tensor | the number 3 | gpunn.tensor(",
    ),
    (
        "a list into exp",
        lambda: gpunn.exp(wrong([1.0])),
        ArgumentError,
        "exp: x: | got a list of float | gpunn.tensor(",
    ),
    (
        "None into a layer",
        lambda: nn.Linear(3, 2)(None),
        ArgumentError,
        "Linear: x: | expected a Tensor | got None | return something",
    ),
    ("a list into a layer", lambda: nn.Conv2d(4, 2, 3)([1]), ArgumentError, "Conv2d: x: | got a list | gpunn.tensor("),
    ("a class into a function", lambda: F.relu(wrong(nn.ReLU)), ArgumentError, "relu: x: | the class ReLU | instance"),
    ("a layer into a function", lambda: F.relu(wrong(nn.ReLU())), ArgumentError, "relu: x: | got ReLU | Call it"),
    ("a module into a function", lambda: F.relu(wrong(nn)), ArgumentError, "relu: x: | the module gpunn.nn"),
    (
        "a function into a layer",
        lambda: nn.Tanh()(constant),
        ArgumentError,
        "Tanh: x: | the function constant | Call it",
    ),
    (
        "another library's array",
        lambda: nn.MSELoss()(x(), Foreign()),
        ArgumentError,
        "MSELoss: target: | Foreign of shape (2, 3) | from_dlpack",
    ),
    (
        "another library's array into a layer",
        lambda: nn.ReLU()(Foreign()),
        ArgumentError,
        "ReLU: x: | Foreign | from_dlpack",
    ),
    ("numbers alone", lambda: gpunn.add(1, 2), DTypeError, "add: | expected a tensor | int and int"),
    ("an operand that is a string", lambda: x() + "a", ArgumentError, "add: | a number or a Tensor | the string 'a'"),
    ("None as an operand", lambda: x() + None, ArgumentError, "add: | a number or a Tensor | got None"),
    ("None minus a tensor", lambda: None - x(), ArgumentError, "sub: | a number or a Tensor | got None"),
    ("a string times a tensor", lambda: "a" * x(), ArgumentError, "mul: | the string 'a'"),
    ("a tensor times a list", lambda: x() * [1, 2], ArgumentError, "mul: | a list of int | gpunn.tensor("),
    ("a tensor @ a list", lambda: x() @ [1, 2, 3], ArgumentError, "matmul: | a list of int | gpunn.tensor("),
    ("a list @ a tensor", lambda: [1, 2] @ x(), ArgumentError, "matmul: | a list of int"),
    ("a tensor @ a number", lambda: x() @ 2, ArgumentError, "matmul: | expected two Tensors | Use *"),
    ("a complex operand", lambda: x() * 1j, ArgumentError, "mul: | got a complex"),
    ("less than a string", lambda: x() < "a", ArgumentError, "lt: | the string 'a'"),
    ("and with a string", lambda: mask() & "a", ArgumentError, "and: | the string 'a'"),
    ("another library's array as an operand", lambda: x() + Foreign(), ArgumentError, "add: | Foreign | from_dlpack"),
    ("shapes that do not broadcast", lambda: x() + x(4), ShapeError, "add: | (2, 3) and (4,) | broadcast"),
    ("a product with a number", lambda: gpunn.matmul(x(), wrong(3)), ArgumentError, "matmul: | expected | int"),
    ("matrices that do not fit", lambda: x() @ x(), ShapeError, "matmul: | (2, 3) and (2, 3)"),
    ("mm of a batch", lambda: gpunn.mm(x(1, 2, 3), x(3, 2)), ShapeError, "mm: | two matrices | matmul broadcasts"),
    ("bmm of matrices", lambda: gpunn.bmm(x(), x(3, 2)), ShapeError, "bmm: | (N, M, K)"),
    (
        "cat of a tensor",
        lambda: gpunn.cat(wrong(constant())),
        ArgumentError,
        "cat: tensors: | a list of Tensors | cat([x, y])",
    ),
    ("cat of nothing", lambda: gpunn.cat([]), UsageError, "cat: | at least one tensor | got none"),
    (
        "stack with None",
        lambda: gpunn.stack([x(), wrong(None)]),
        DTypeError,
        "stack: | expected Tensors | NoneType (number 1)",
    ),
    ("cat of shapes that do not fit", lambda: gpunn.cat([x(), x(2, 4)]), ShapeError, "cat: | (2, 3) and (2, 4)"),
    (
        "where with numbers as the condition",
        lambda: gpunn.where(x(), 1, 2),
        DTypeError,
        "where: | bools as the condition | float32 | x != 0",
    ),
    (
        "where with a list as the condition",
        lambda: gpunn.where(wrong([True]), x(), x()),
        GpunnError,
        "where: | expected | list",
    ),
    (
        "masked_fill with a string",
        lambda: gpunn.masked_fill(x(), mask(), "a"),
        DTypeError,
        "masked_fill: | expected a number | str",
    ),
    (
        "gather with a list",
        lambda: x().gather(1, wrong([[0]])),
        GpunnError,
        "gather | index: | expected a Tensor | list",
    ),
    (
        "index_select with floats",
        lambda: x().index_select(1, constant(2)),
        DTypeError,
        "index_select: | index: | integers | float32",
    ),
    ("equal with a list", lambda: x().equal(wrong([1])), ArgumentError, "equal: | two Tensors | list"),
    (
        "allclose of shapes that do not fit",
        lambda: gpunn.allclose(x(), x(4)),
        ShapeError,
        "allclose: | (2, 3) and (4,)",
    ),
    ("clamp to a string", lambda: x().clamp("a"), GpunnError, "clamp | expected | str"),
    ("exp of integers", lambda: whole(1).exp(), DTypeError, "exp: | floating dtype | int64 | .float()"),
    ("mean of integers", lambda: whole(1).mean(), DTypeError, "mean: | floating dtype | .float()"),
    ("a fractional size", lambda: x().view(2.5), UsageError, "view: shape: | a whole number | 2.5"),
    ("a size that does not fit", lambda: x().reshape(4, 2), ShapeError, "reshape: | (4, 2) | (2, 3)"),
    ("two sizes to find", lambda: x().reshape(3, -1, -1), ShapeError, "reshape: | (3, -1, -1)"),
    ("an axis that does not exist", lambda: x().sum(dim=7), UsageError, "sum: dim: | (2, 3) | from -2 to 1 | got 7"),
    ("an axis that is a string", lambda: x().sum(dim=wrong("a")), UsageError, "sum: dim: | a whole number | 'a'"),
    ("a fractional axis", lambda: x().mean(dim=wrong(1.0)), UsageError, "mean: dim: | a whole number | 1.0"),
    ("one axis twice", lambda: x().sum(dim=(0, 0)), UsageError, "sum: dim: | each once | (0, 0)"),
    (
        "two axes without brackets",
        lambda: x().sum(0, wrong(1)),
        UsageError,
        "sum: keepdim: | True or False | dim=(0, 1)",
    ),
    ("two axes for max", lambda: x().max((0, 1)), UsageError, "max: dim: | one axis | amax"),
    ("argmax along no axis", lambda: x().argmax(5), UsageError, "argmax | got 5"),
    ("softmax without an axis", lambda: F.softmax(x()), UsageError, "softmax: dim: | got None | (N, C) it is 1"),
    ("softmax along no axis", lambda: F.softmax(x(), 2), UsageError, "softmax: dim: | axis 2 | (2, 3)"),
    ("transpose of no axis", lambda: x().transpose(0, 3), UsageError, "transpose | dim | got 3"),
    ("permute with too few axes", lambda: x().permute(0), GpunnError, "permute | (0,)"),
    ("unsqueeze at a string", lambda: x().unsqueeze(wrong("a")), GpunnError, "unsqueeze | dim | 'a'"),
    ("squeeze of no axis", lambda: x().squeeze(4), UsageError, "squeeze: dim: | got 4"),
    ("unflatten that does not fit", lambda: x().unflatten(1, (2, 2)), ShapeError, "unflatten | (2, 2)"),
    ("split into parts that do not fit", lambda: x().split([1, 1], 1), ShapeError, "split: | add up to 3"),
    ("a split of nothing", lambda: x().split(0), ShapeError, "split: | at least 1 | got 0"),
    ("chunks that are a string", lambda: x().chunk(wrong("a")), GpunnError, "chunk | chunks | 'a'"),
    ("expand that does not fit", lambda: x().expand(4, 3), ShapeError, "expand | (4, 3)"),
    ("repeat a negative number of times", lambda: x().repeat(-1, 2), GpunnError, "repeat | -1"),
    ("tril of a vector", lambda: x(3).tril(), ShapeError, "tril: | matrices | (3,)"),
    ("a fractional diagonal", lambda: x().tril(wrong(0.5)), UsageError, "tril: diagonal: | whole number | 0.5"),
    ("an index that is a fraction", lambda: x()[1.5], DTypeError, "index: | integers | float"),
    ("an index that is a string", lambda: x()["a"], DTypeError, "index: | integers | str"),
    ("an index outside", lambda: x()[5], RangeError, "index: | index 5 | length 2"),
    ("too many indices", lambda: x()[:, :, :, 0], RangeError, "index: | too many indices | (2, 3)"),
    ("a ragged index", lambda: x()[[[0], [0, 1]]], ShapeError, "index: | one length"),
    ("a mask of another shape", lambda: x()[constant(3, 2) > 0], ShapeError, "index: | (3, 2)"),
    ("a string assigned", lambda: constant().__setitem__(0, "a"), DTypeError, "numbers | 'a'"),
    ("size of no axis", lambda: x().size(4), RangeError, "size: dim: | (2, 3) | got 4"),
    ("an unknown device", lambda: x().to("gpu"), DeviceError, "to: | a device or a dtype | 'gpu'"),
    ("a misspelt dtype", lambda: x().to("floatt"), DeviceError, "to: | 'floatt' | did you mean 'float"),
    ("a list as a dtype", lambda: x().to(["a"]), DTypeError, "to: dtype: | ['a']"),
    ("complex", lambda: x().to("complex64"), DTypeError, "to: | complex64"),
    ("a GPU that does not exist", lambda: gpunn.device("cuda:99"), DeviceError, "cuda"),
    ("a GPU that is a list", lambda: x().cuda(wrong([0])), UsageError, "cuda: device: | a whole number | [0]"),
    ("a device that is a list", lambda: gpunn.device(wrong([0])), ArgumentError, "device: | a name such as | list"),
    ("a text as a tensor", lambda: gpunn.tensor("text"), DTypeError, "tensor | numbers"),
    ("a ragged list", lambda: gpunn.tensor([[1], [2, 3]]), GpunnError, "tensor | length"),
    ("a Tensor of a string", lambda: gpunn.Tensor(wrong("a")), GpunnError, "Tensor | str"),
    ("an array of strings", lambda: gpunn.as_tensor(np.array(["a"])), DTypeError, "as_tensor"),
    ("a negative size", lambda: gpunn.zeros(-1), GpunnError, "zeros: | -1"),
    ("a size that is a string", lambda: gpunn.ones("3"), GpunnError, "ones: | '3'"),
    ("full of a string", lambda: gpunn.full((2,), "a"), GpunnError, "full: | fill_value | number"),
    ("zeros like a list", lambda: gpunn.zeros_like(wrong([1])), GpunnError, "zeros_like | Tensor | list"),
    ("a step of 0", lambda: gpunn.arange(0, 3, 0), UsageError, "arange: | step | 0"),
    ("randint without numbers", lambda: gpunn.randint(3, 3, (2,)), UsageError, "randint: | 3"),
    ("a seed that is a string", lambda: gpunn.manual_seed(wrong("a")), UsageError, "manual_seed: | integer | 'a'"),
    (
        "threads that are a string",
        lambda: gpunn.set_num_threads(wrong("a")),
        GpunnError,
        "set_num_threads: | integer | 'a'",
    ),
    (
        "a generator that is a number",
        lambda: gpunn.rand(2, generator=wrong(3)),
        UsageError,
        "rand: | generator | int | gpunn.Generator(seed)",
    ),
    (
        "from_numpy of a list",
        lambda: gpunn.from_numpy(wrong([1.0])),
        DTypeError,
        "from_numpy | NumPy array | list | gpunn.tensor(",
    ),
]

GRADIENTS: list[Mistake] = [
    (
        "a gradient that is a string",
        lambda: x().backward(wrong("x")),
        ArgumentError,
        "backward: gradient: | a Tensor or None | 'x'",
    ),
    (
        "a gradient that is a number",
        lambda: x().backward(wrong(1.0)),
        ArgumentError,
        "backward: gradient: | the number 1.0 | gpunn.tensor(",
    ),
    ("a gradient of another shape", lambda: x().backward(gpunn.ones(3)), ShapeError, "backward: | (2, 3) | (3,)"),
    ("backward of a matrix", lambda: x().backward(), GraphError, "backward: | scalar | .sum()"),
    ("backward without a gradient", lambda: constant().sum().backward(), GraphError, "backward: | requires_grad=True"),
    (
        "a hook that is no function",
        lambda: x().register_hook(wrong(3)),
        ArgumentError,
        "register_hook: hook: | a function | int",
    ),
    ("requires_grad of integers", lambda: whole(1).requires_grad_(), DTypeError, "requires_grad_ | int64"),
    ("grad of a list", lambda: autograd.grad(wrong([1.0]), x()), GpunnError, "grad | outputs | Tensor"),
    (
        "grad with too few gradients",
        lambda: autograd.grad(x() * 2, x(), grad_outputs=()),
        UsageError,
        "grad: | 1 outputs | got 0",
    ),
    ("gradcheck without inputs", lambda: gpunn.gradcheck(gpunn.exp, ()), UsageError, "gradcheck: | at least one input"),
    ("gradcheck of float32", lambda: gpunn.gradcheck(gpunn.exp, x()), DTypeError, "gradcheck: | float64 | float32"),
    ("capture of a number", lambda: gpunn.capture(wrong(3)), ArgumentError, "capture: fn: | a function | int"),
    ("capture of a class", lambda: gpunn.capture(nn.Linear), ArgumentError, "capture: fn: | a function | type"),
]

LAYERS: list[Mistake] = [
    ("a string as a size", lambda: nn.Linear(wrong("3"), 2), UsageError, "Linear: in_features: | whole number | '3'"),
    ("no outputs", lambda: nn.Linear(3, 0), UsageError, "Linear: out_features: | at least 1 | got 0"),
    (
        "a bias that is a string",
        lambda: nn.Linear(3, 2, bias=wrong("False")),
        ArgumentError,
        "Linear: bias: | True or False | 'False'",
    ),
    (
        "fractional channels",
        lambda: nn.Conv2d(wrong(3.0), 8, 3),
        UsageError,
        "Conv2d: in_channels: | whole number | 3.0",
    ),
    ("a kernel that is a string", lambda: nn.Conv2d(3, 8, wrong("3")), UsageError, "Conv2d: kernel_size: | '3'"),
    ("a kernel of 0", lambda: nn.Conv2d(3, 8, 0), UsageError, "Conv2d: kernel_size: | got 0"),
    ("groups that do not divide", lambda: nn.Conv2d(3, 8, 3, groups=2), UsageError, "Conv2d | groups"),
    (
        "a padding of an unknown name",
        lambda: nn.Conv2d(3, 8, 3, padding="full"),
        UsageError,
        "Conv2d | padding | 'full'",
    ),
    ("a matrix into a convolution", lambda: nn.Conv2d(4, 2, 3)(x()), ShapeError, "Conv2d: | (N, C, H, W) | (2, 3)"),
    ("other channels", lambda: nn.Conv2d(3, 2, 3)(images()), ShapeError, "Conv2d: | 3 input channels | (2, 4, 6, 6)"),
    (
        "integers into a convolution",
        lambda: nn.Conv2d(4, 2, 3)(images().long()),
        DTypeError,
        "Conv2d: | int64 | .float()",
    ),
    (
        "a convolution larger than its image",
        lambda: nn.Conv2d(4, 2, 9)(images()),
        ShapeError,
        "Conv2d: | larger than the input",
    ),
    ("images into Conv1d", lambda: nn.Conv1d(4, 2, 3)(images()), ShapeError, "Conv1d: | (2, 4, 6, 6)"),
    ("other features", lambda: nn.Linear(4, 2)(x()), ShapeError, "Linear: | 4 input features | (2, 3) | flatten"),
    (
        "other features in a model",
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))(x()),
        ShapeError,
        "1 (Linear): | 5 input features",
    ),
    ("a list into a model", lambda: model()([1.0]), ArgumentError, "0 (Linear): x: | a list of float"),
    ("a pool of 0", lambda: nn.MaxPool2d(0), UsageError, "MaxPool2d: kernel_size: | got 0"),
    ("a pool of a tuple of one", lambda: nn.MaxPool2d(wrong((2,))), UsageError, "MaxPool2d: kernel_size: | two | (2,)"),
    ("pooling a matrix", lambda: nn.AvgPool2d(2)(x()), ShapeError, "AvgPool2d: | (N, C, H, W) | (2, 3)"),
    ("an output size of 0", lambda: nn.AdaptiveAvgPool2d(0)(images()), UsageError, "AdaptiveAvgPool2d | 0"),
    (
        "indices of floats",
        lambda: nn.Embedding(3, 2)(x()),
        DTypeError,
        "Embedding: input: | integers | float32 | int64",
    ),
    ("an index outside the table", lambda: nn.Embedding(3, 2)(whole(3)), RangeError, "Embedding: | index 3"),
    ("a list as indices", lambda: nn.Embedding(3, 2)([0]), ArgumentError, "Embedding: | a list of int | gpunn.tensor("),
    ("a probability of 2", lambda: nn.Dropout(2), UsageError, "Dropout: p: | 0 to 1 | got 2"),
    ("a probability that is a string", lambda: nn.Dropout(wrong("0.5")), GpunnError, "Dropout: p: | '0.5'"),
    ("batch norm of other channels", lambda: nn.BatchNorm2d(3)(images()), ShapeError, "BatchNorm2d: | (2, 4, 6, 6)"),
    (
        "an eps that is a string",
        lambda: nn.BatchNorm1d(3, eps=wrong("a")),
        UsageError,
        "BatchNorm1d: eps: | a number | 'a'",
    ),
    (
        "a momentum that is a list",
        lambda: nn.BatchNorm2d(3, momentum=wrong([0.1])),
        UsageError,
        "BatchNorm2d: momentum: | a number | [0.1]",
    ),
    ("groups that do not divide channels", lambda: nn.GroupNorm(3, 4), UsageError, "GroupNorm | 3 | 4"),
    ("another normalised shape", lambda: nn.LayerNorm(4)(x()), ShapeError, "LayerNorm: | (..., 4) | (2, 3)"),
    (
        "an axis that is a string in a layer",
        lambda: nn.Softmax(dim=wrong("a")),
        ArgumentError,
        "Softmax: dim: | a whole number | 'a'",
    ),
    (
        "a slope that is a list",
        lambda: nn.LeakyReLU(wrong([0.1])),
        ArgumentError,
        "LeakyReLU: negative_slope: | a number | a list",
    ),
    ("an unknown approximation", lambda: nn.GELU("tan")(x()), UsageError, "GELU | approximate | 'tan'"),
    ("maxout that does not divide", lambda: nn.Maxout(2)(x()), GpunnError, "Maxout | 2"),
    ("a padding of too many sides", lambda: nn.ZeroPad2d(wrong((1, 2, 3))), GpunnError, "ZeroPad2d | (1, 2, 3)"),
    ("a reflection wider than the image", lambda: nn.ReflectionPad2d(9)(images()), ShapeError, "ReflectionPad2d: | 9"),
    ("unflatten into something else", lambda: nn.Unflatten(1, (2, 2))(x()), ShapeError, "Unflatten | (2, 2)"),
    ("a mean that is a string", lambda: nn.Standardize("a"), ArgumentError, "Standardize: mean: | a number | str"),
    ("a deviation of 0", lambda: nn.Standardize(0.0, 0.0), UsageError, "Standardize: | positive deviations"),
    ("other channels in PReLU", lambda: nn.PReLU(2)(x()), ShapeError, "PReLU | 2 | (2, 3)"),
    ("prelu with a list", lambda: F.prelu(x(), wrong([0.1])), ArgumentError, "prelu: weight: | a list of float"),
    (
        "a local layer for another size",
        lambda: nn.LocallyConnected1d(4, 2, 3, 7)(sequences()),
        ShapeError,
        "LocallyConnected1d:",
    ),
    ("weight and input exchanged", lambda: F.linear(x(4), x()), ShapeError, "linear: | (2, 3) | (4,)"),
    (
        "a weight without axes",
        lambda: F.linear(x(), gpunn.tensor(1.0)),
        ShapeError,
        "linear: | (out_features, in_features) | ()",
    ),
    ("pad by a number", lambda: F.pad(images(), wrong(1)), GpunnError, "pad | expected | 1"),
]

LOSSES: list[Mistake] = [
    (
        "None as the target",
        lambda: nn.CrossEntropyLoss()(x(), None),
        ArgumentError,
        "CrossEntropyLoss: target: | expected a Tensor | got None",
    ),
    (
        "a list as the labels",
        lambda: nn.CrossEntropyLoss()(x(), [0, 1]),
        ArgumentError,
        "CrossEntropyLoss: target: | a list of int | gpunn.tensor(",
    ),
    (
        "labels of floats",
        lambda: F.cross_entropy(x(), constant(2)),
        DTypeError,
        "cross_entropy: target: | class indices | float32 | target.to('int64')",
    ),
    (
        "one-hot integers",
        lambda: F.cross_entropy(x(), gpunn.eye(2, 3).long()),
        ShapeError,
        "cross_entropy: | (2,) | (2, 3) | one-hot",
    ),
    (
        "target and scores exchanged",
        lambda: F.cross_entropy(whole(0, 1), x()),
        DTypeError,
        "cross_entropy: input: | floating | int64",
    ),
    (
        "a label beyond the classes",
        lambda: F.cross_entropy(x(), whole(0, 3)),
        LabelError,
        "cross_entropy: | label 3 | 3 classes",
    ),
    ("a negative label", lambda: nn.NLLLoss()(x(), whole(-1, 0)), LabelError, "NLLLoss: | label -1"),
    (
        "more labels than scores",
        lambda: nn.CrossEntropyLoss()(x(), whole(0, 1, 2)),
        ShapeError,
        "CrossEntropyLoss: | (2,) | (3,)",
    ),
    (
        "an unknown reduction",
        lambda: nn.CrossEntropyLoss(reduction="avg"),
        UsageError,
        "CrossEntropyLoss: reduction: | mean | 'avg'",
    ),
    ("a reduction that is a number", lambda: nn.MSELoss(reduction=wrong(3)), UsageError, "MSELoss: reduction: | 3"),
    (
        "an ignored index that is None",
        lambda: nn.NLLLoss(ignore_index=wrong(None)),
        ArgumentError,
        "NLLLoss: ignore_index: | a whole number | got None",
    ),
    (
        "a smoothing of 2",
        lambda: nn.CrossEntropyLoss(label_smoothing=2),
        UsageError,
        "CrossEntropyLoss | label_smoothing | 2",
    ),
    (
        "weights of another length",
        lambda: F.cross_entropy(x(), whole(0, 1), constant(2)),
        ShapeError,
        "cross_entropy: weight: | 3 classes | (2,)",
    ),
    (
        "a list as the weights",
        lambda: F.nll_loss(x(), whole(0, 1), wrong([1.0])),
        ArgumentError,
        "nll_loss: weight: | a Tensor or None | a list",
    ),
    (
        "a list as numbers",
        lambda: nn.MSELoss()(x(), [1, 2]),
        ArgumentError,
        "MSELoss: target: | a list of int | gpunn.tensor(",
    ),
    (
        "a target of another shape",
        lambda: F.mse_loss(x(), constant(1, 3)),
        ShapeError,
        "mse_loss: | (2, 3) | (1, 3) | reshape",
    ),
    ("None as the prediction", lambda: nn.L1Loss()(None, constant()), ArgumentError, "L1Loss: input: | got None"),
    (
        "scores where probabilities go",
        lambda: nn.BCELoss()(x() + 3, constant()),
        UsageError,
        "BCELoss: input: | 0 to 1 | sigmoid",
    ),
    (
        "a target of integers in BCELoss",
        lambda: nn.BCELoss()(x(2), whole(0, 1)),
        DTypeError,
        "BCELoss: target: | float32 | int64",
    ),
    (
        "a target that is no probability",
        lambda: nn.BCELoss()(x(), constant() + 1),
        UsageError,
        "BCELoss: target: | 0 to 1 | likely",
    ),
    ("a delta of 0", lambda: nn.HuberLoss(delta=0), UsageError, "HuberLoss: delta: | 0"),
    ("a negative beta", lambda: nn.SmoothL1Loss(beta=-1), UsageError, "SmoothL1Loss: beta: | -1"),
    (
        "a positive weight of another shape",
        lambda: F.binary_cross_entropy_with_logits(x(), constant(), pos_weight=constant(2)),
        GpunnError,
        "binary_cross_entropy_with_logits: pos_weight:",
    ),
]

MODULES: list[Mistake] = [
    (
        "a class in a Sequential",
        lambda: nn.Sequential(wrong(nn.Linear)),
        UsageError,
        "Sequential: | expected modules | parentheses",
    ),
    ("a number in a Sequential", lambda: nn.Sequential(wrong(3)), UsageError, "Sequential: | expected modules | int"),
    ("a list in a Sequential", lambda: nn.Sequential(wrong([nn.ReLU()])), UsageError, "Sequential: | list"),
    ("a number in a ModuleList", lambda: nn.ModuleList([wrong(1)]), UsageError, "ModuleList: | expected modules | int"),
    (
        "a ModuleList of a number",
        lambda: nn.ModuleList(wrong(3)),
        ArgumentError,
        "ModuleList | modules: | several layers or models | the number 3",
    ),
    ("a layer that is not there", lambda: model()[7], RangeError, "Sequential: | no module 7 | there are 3"),
    (
        "a name that is not there",
        lambda: nn.ModuleDict({"head": nn.ReLU()})["haed"],
        UnknownNameError,
        "ModuleDict: | 'haed' | did you mean 'head'",
    ),
    (
        "a path that is not there",
        lambda: model().get_submodule("0.inner"),
        UnknownNameError,
        "Sequential: | '0.inner' | Linear has no 'inner'",
    ),
    (
        "a parameter that is a layer",
        lambda: model().get_parameter("0"),
        UnknownNameError,
        "Sequential: | Linear | not a Parameter",
    ),
    (
        "a buffer with a dot",
        lambda: model().register_buffer("a.b", constant()),
        UsageError,
        "Sequential: | 'a.b' | without a dot",
    ),
    (
        "a buffer that is a list",
        lambda: model().register_buffer("a", wrong([1])),
        UsageError,
        "Sequential.a: | Tensor or None | list",
    ),
    (
        "a parameter that is a tensor",
        lambda: model().register_parameter("a", wrong(constant())),
        UsageError,
        "Sequential.a: | nn.Parameter | Tensor",
    ),
    (
        "a weight that is a number",
        lambda: setattr(nn.Linear(1, 1), "weight", 3),
        UsageError,
        "Linear.weight: | nn.Parameter | int",
    ),
    ("a Parameter of a ragged list", lambda: nn.Parameter([[1], [2, 3]]), DTypeError, "Parameter: | list"),
    ("a ParameterList of numbers", lambda: nn.ParameterList([wrong(1.0)]), UsageError, "ParameterList: | float"),
    (
        "a state that is a number",
        lambda: model().load_state_dict(wrong(3)),
        ArgumentError,
        "load_state_dict: state_dict: | a dict | the number 3",
    ),
    (
        "a state of another model",
        lambda: model().load_state_dict(nn.Linear(3, 2).state_dict()),
        StateDictError,
        "Sequential: | 0.weight",
    ),
    (
        "a state of lists",
        lambda: nn.Linear(1, 1).load_state_dict({"weight": [[1.0]], "bias": [1.0]}),
        StateDictError,
        "Linear: | 'weight' | list",
    ),
    ("a model to an unknown device", lambda: model().to("gpu"), DeviceError, "Sequential.to: | 'gpu'"),
    ("a model of integers", lambda: model().to("int64"), DTypeError, "Sequential.to: | floating dtype | int64"),
    ("a model to a list", lambda: model().to([1]), DTypeError, "Sequential.to: | [1]"),
    (
        "apply without a function",
        lambda: model().apply(wrong(3)),
        ArgumentError,
        "apply: fn: | a function | the number 3",
    ),
    (
        "a hook that is a string",
        lambda: model().register_forward_hook(wrong("a")),
        UsageError,
        "expected a hook that can be called | str",
    ),
    (
        "summarize without a model",
        lambda: nn.summarize(wrong(3), (3,)),
        ArgumentError,
        "summarize: model: | a layer or model | the number 3",
    ),
    (
        "an initialiser for a layer",
        lambda: init.normal_(wrong(nn.Linear(2, 2))),
        ArgumentError,
        "normal_: tensor: | expected a Tensor | got Linear",
    ),
    ("an initialiser for a vector", lambda: init.kaiming_uniform_(constant(3)), ShapeError, "two axes | (3,)"),
    ("an initialiser for integers", lambda: init.uniform_(whole(1)), DTypeError, "uniform_: | floating dtype | int64"),
    ("an unknown nonlinearity", lambda: init.calculate_gain("rellu"), UsageError, "'rellu'"),
    (
        "a mean that is NaN",
        lambda: init.trunc_normal_(constant(), mean=float("nan")),
        UsageError,
        "trunc_normal_: | finite | nan",
    ),
    (
        "clipping a model",
        lambda: utils.clip_grad_norm_(wrong(nn.Linear(1, 1)), 1),
        ArgumentError,
        "clip_grad_norm_: parameters: | Linear | model.parameters()",
    ),
    (
        "clipping arrays",
        lambda: utils.clip_grad_value_([wrong(np.ones(2))], 1),
        ArgumentError,
        "clip_grad_value_: | Tensors | ndarray",
    ),
    (
        "clipping to a string",
        lambda: utils.clip_grad_norm_([], wrong("1")),
        UsageError,
        "clip_grad_norm_: max_norm: | a number | '1'",
    ),
]

OPTIMISERS: list[Mistake] = [
    (
        "an optimiser of a model",
        lambda: optim.SGD(wrong(model())),
        ArgumentError,
        "SGD: params: | Sequential | model.parameters()",
    ),
    ("an optimiser of nothing", lambda: optim.SGD([]), UsageError, "SGD: | empty parameter list"),
    ("an optimiser of one tensor", lambda: optim.Adam(wrong(constant())), UsageError, "Adam: | one Tensor | list"),
    ("an optimiser of numbers", lambda: optim.AdamW([wrong(1.0)]), UsageError, "AdamW: | Tensors | float"),
    (
        "a rate that is a string",
        lambda: optim.SGD(parameters(), lr=wrong("0.1")),
        UsageError,
        "SGD: lr: | >= 0 | '0.1'",
    ),
    ("a negative rate", lambda: optim.RMSprop(parameters(), lr=-1), UsageError, "RMSprop: lr: | >= 0 | -1"),
    ("one beta", lambda: optim.Adam(parameters(), betas=wrong(0.9)), UsageError, "Adam: betas: | two numbers | 0.9"),
    ("a beta of 1", lambda: optim.LAMB(parameters(), betas=(0.9, 1.0)), UsageError, "LAMB: betas[1]: | < 1 | 1.0"),
    (
        "a negative decay",
        lambda: optim.Adagrad(parameters(), weight_decay=-1),
        UsageError,
        "Adagrad: weight_decay: | -1",
    ),
    (
        "a step of a number",
        lambda: optimizer().step(wrong(5)),
        ArgumentError,
        "SGD.step: closure: | a function or None | the number 5",
    ),
    (
        "a group that is a list",
        lambda: optimizer().add_param_group(wrong([1])),
        UsageError,
        "SGD: | a dict with 'params' | [1]",
    ),
    (
        "an optimiser's state that is empty",
        lambda: optimizer().load_state_dict({}),
        UsageError,
        "SGD.load_state_dict: | 'param_groups'",
    ),
    (
        "an optimiser's state of another model",
        lambda: optimizer().load_state_dict(optim.SGD([constant()], 0.1).state_dict()),
        UsageError,
        "SGD.load_state_dict: | another model",
    ),
    ("decay groups of a number", lambda: optim.decay_groups(wrong(3), 0.1), GpunnError, "decay_groups: | the number 3"),
    ("a penalty of numbers", lambda: optim.l2_penalty([wrong(1)]), ArgumentError, "l2_penalty: | an optimiser | int"),
    (
        "a schedule of a number",
        lambda: lr_scheduler.StepLR(wrong(3), 1),
        UsageError,
        "StepLR: | expected an optimiser | int",
    ),
    (
        "a schedule of a model",
        lambda: lr_scheduler.CosineAnnealingLR(wrong(model()), 3),
        UsageError,
        "CosineAnnealingLR: | an optimiser | Sequential",
    ),
    (
        "a negative step size",
        lambda: lr_scheduler.StepLR(optimizer(), -1),
        UsageError,
        "StepLR: step_size: | at least 1 | -1",
    ),
    (
        "a factor that is a string",
        lambda: lr_scheduler.ExponentialLR(optimizer(), wrong("a")),
        UsageError,
        "ExponentialLR: gamma: | 'a'",
    ),
    (
        "milestones that are a number",
        lambda: lr_scheduler.MultiStepLR(optimizer(), wrong(3)),
        ArgumentError,
        "MultiStepLR: milestones: | the number 3",
    ),
    (
        "a function that is a number",
        lambda: lr_scheduler.LambdaLR(optimizer(), wrong(0.1)),
        UsageError,
        "LambdaLR: lr_lambda: | a function | 0.1",
    ),
    (
        "a function that returns nothing",
        lambda: lr_scheduler.LambdaLR(optimizer(), wrong(lambda step: None)),
        UsageError,
        "LambdaLR: lr_lambda: | return a number | None",
    ),
    (
        "a division by 0",
        lambda: lr_scheduler.OneCycleLR(optimizer(), 0.1, 10, div_factor=0),
        UsageError,
        "OneCycleLR: div_factor: | > 0 | got 0",
    ),
    (
        "a plateau of a string",
        lambda: lr_scheduler.ReduceLROnPlateau(optimizer()).step(wrong("a")),
        GpunnError,
        "ReduceLROnPlateau.step | metrics | a number | 'a'",
    ),
    (
        "a plateau without a measure",
        lambda: lr_scheduler.ReduceLROnPlateau(optimizer()).step(),
        UsageError,
        "ReduceLROnPlateau.step: | a measure | none",
    ),
    ("a chain of a number", lambda: lr_scheduler.ChainedScheduler(wrong([3])), GpunnError, "ChainedScheduler"),
]

DATA: list[Mistake] = [
    ("a loader of a number", lambda: data.DataLoader(5), UsageError, "DataLoader: | __len__ and __getitem__ | int"),
    (
        "a loader of a class",
        lambda: data.DataLoader(data.Digits),
        UsageError,
        "DataLoader: | expected a dataset | type",
    ),
    (
        "batches of 0",
        lambda: data.DataLoader(dataset(), batch_size=0),
        UsageError,
        "DataLoader: | batch_size | at least 1 | got 0",
    ),
    (
        "batches of a string",
        lambda: data.DataLoader(dataset(), batch_size=wrong("4")),
        UsageError,
        "DataLoader: | batch_size | '4'",
    ),
    (
        "shuffle that is a string",
        lambda: data.DataLoader(dataset(), 2, shuffle=wrong("yes")),
        ArgumentError,
        "DataLoader: shuffle: | True or False | 'yes'",
    ),
    ("an empty dataset", lambda: data.DataLoader([]), DataError, "DataLoader: | empty"),
    (
        "None among the arrays",
        lambda: data.TensorDataset(constant(), None),
        UsageError,
        "TensorDataset: | argument 1 | NoneType",
    ),
    (
        "arrays of two lengths",
        lambda: data.TensorDataset(np.zeros(2), np.zeros(3)),
        ShapeError,
        "TensorDataset: | [2, 3]",
    ),
    ("an item that is not there", lambda: dataset()[6], RangeError, "TensorDataset: | index 6 | 6 items"),
    ("a split of a number", lambda: data.random_split(wrong(3), [1, 2]), UsageError, "random_split: | a dataset | int"),
    (
        "fractions that do not add up",
        lambda: data.random_split(dataset(), [0.5]),
        UsageError,
        "random_split: | add up to 1 | [0.5]",
    ),
    (
        "lengths that do not add up",
        lambda: data.random_split(dataset(), [4, 3]),
        UsageError,
        "random_split: | 6 items | 7",
    ),
    (
        "lengths that are strings",
        lambda: data.random_split(dataset(), wrong(["a"])),
        ArgumentError,
        "random_split: lengths: | numbers",
    ),
    ("a subset of nothing", lambda: data.Subset(None, [0]), UsageError, "Subset: | a dataset | NoneType"),
    ("a subset beyond the end", lambda: data.Subset(dataset(), [6]), RangeError, "Subset: | index 6 | 6 items"),
    (
        "a subset of fractions",
        lambda: data.Subset(dataset(), wrong([0.5])),
        UsageError,
        "Subset: | whole numbers | float64",
    ),
    ("a concatenation of numbers", lambda: data.ConcatDataset([1]), UsageError, "ConcatDataset: | a dataset | int"),
    ("a folder that is a number", lambda: data.ImageFolder(wrong(3)), GpunnError, "ImageFolder | expected | 3"),
    ("a file that is not there", lambda: data.NpzDataset("nowhere.npz"), DataError, "nowhere.npz"),
    (
        "a probability of 2 in a transform",
        lambda: transforms.RandomHorizontalFlip(2),
        UsageError,
        "RandomHorizontalFlip: p: | expected | got 2",
    ),
    ("a crop of a string", lambda: transforms.RandomCrop(wrong("a")), GpunnError, "RandomCrop | 'a'"),
    (
        "a transform of an array",
        lambda: transforms.Cutout(2)(wrong(np.zeros((1, 1, 4, 4))), gpunn.Generator(0)),
        ArgumentError,
        "Cutout.__call__: images: | expected a Tensor | ndarray | as_tensor",
    ),
    (
        "a transform of a matrix",
        lambda: transforms.RandomCrop(4)(constant(), gpunn.Generator(0)),
        ShapeError,
        "RandomCrop: | (N, C, H, W) | (2, 3)",
    ),
    ("a composition of a number", lambda: transforms.Compose([wrong(3)]), GpunnError, "Compose"),
]

MODELS: list[Mistake] = [
    ("a model of -1 classes", lambda: models.LeNet5(classes=-1), UsageError, "out_features | at least 1 | -1"),
    ("an MLP of a string", lambda: models.MLP(classes=wrong("10")), GpunnError, "'10'"),
    (
        "an image of one number",
        lambda: models.MLP(image=wrong(28)),
        ArgumentError,
        "MLP: image: | a tuple of 3 | the number 28",
    ),
    ("a depth that is none", lambda: models.ResNetCifar(depth=21), UsageError, "ResNetCifar | depth | 21"),
    ("a perceptron of nothing", lambda: models.Perceptron(wrong("a")), GpunnError, "Perceptron: in_features: | 'a'"),
    ("an unknown model", lambda: models.build("lenet6"), UsageError, "'lenet6'"),
    (
        "a trainer without an optimiser",
        lambda: train.Trainer(model(), wrong(0.1)),
        ArgumentError,
        "Trainer: optimizer: | Optimizer | the number 0.1",
    ),
    (
        "a trainer without a model",
        lambda: train.Trainer(wrong(3), optimizer()),
        ArgumentError,
        "Trainer: model: | a layer or model | the number 3",
    ),
    (
        "a trainer of another model",
        lambda: train.Trainer(model(), optimizer()),
        UsageError,
        "Trainer: | none of the model's parameters",
    ),
    ("a trainer on an unknown device", lambda: _trainer(device="gpu"), DeviceError, "'gpu'"),
    ("epochs that are a string", lambda: _trainer().fit(loader(), epochs=wrong("3")), GpunnError, "fit | epochs | '3'"),
    (
        "a loader that is a number",
        lambda: _trainer().fit(wrong(3), epochs=1),
        UsageError,
        "Trainer.fit: | expected a loader | int has no length",
    ),
    (
        "a loss that returns nothing",
        lambda: _trainer(loss=lambda scores, labels: None).fit(loader(), epochs=1),
        ArgumentError,
        "loss function | return a Tensor | NoneType",
    ),
    (
        "an evaluation of a number",
        lambda: train.evaluate(wrong(3), loader()),
        ArgumentError,
        "evaluate: model: | a layer or model | the number 3",
    ),
    (
        "a file of a number",
        lambda: gpunn.save_file(wrong(3), "nowhere"),
        ArgumentError,
        "save_file: tensors: | a dict | the number 3",
    ),
    ("a file of lists", lambda: gpunn.save_file({"a": wrong([1])}, "nowhere"), GpunnError, "save_file | 'a' | list"),
    (
        "a file that does not exist",
        lambda: gpunn.load_file("nowhere.safetensors"),
        DataError,
        "nowhere.safetensors | no such file",
    ),
]


def _trainer(**options: Any) -> train.Trainer:
    made = model()
    return train.Trainer(made, optim.SGD(made.parameters(), 0.1), **{"device": "cpu", "log": None, **options})


MISTAKES = [*TENSORS, *GRADIENTS, *LAYERS, *LOSSES, *MODULES, *OPTIMISERS, *DATA, *MODELS]


@pytest.mark.parametrize(("call", "kind", "words"), [pytest.param(*m[1:], id=m[0]) for m in MISTAKES])
def test_a_mistake_is_told(
    call: Callable[[], Any],
    kind: type[GpunnError],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    missing = [word for word in words.split(" | ") if word not in message]
    assert not missing, f"{missing} not in: {type(caught.value).__name__}: {message}"


def test_no_mistake_is_there_twice() -> None:
    assert len({m[0] for m in MISTAKES}) == len(MISTAKES) >= 160


ON_KERNELS: list[tuple[str, Callable[[str], Any], type[GpunnError], str]] = [
    ("a list", lambda d: F.relu(wrong([x().to(d)])), ArgumentError, "relu: x: | a list of Tensor"),
    ("None", lambda d: nn.Conv2d(4, 2, 3, device=d)(None), ArgumentError, "Conv2d: x: | got None"),
    ("a string", lambda d: x().to(d) * "a", ArgumentError, "mul: | the string 'a'"),
    ("an axis", lambda d: x().to(d).sum(3), UsageError, "sum: dim: | got 3"),
    ("another device", lambda d: nn.Linear(3, 2, device=d)(x()), DeviceError, "Linear: | cpu | .to("),
    ("a target elsewhere", lambda d: F.mse_loss(x().to(d), constant()), DeviceError, "mse_loss: | cpu | .to("),
    (
        "labels of floats",
        lambda d: F.cross_entropy(x().to(d), constant(2).to(d)),
        DTypeError,
        "cross_entropy: target: | float32",
    ),
    ("a label", lambda d: F.cross_entropy(x().to(d), whole(0, 3).to(d)).item(), LabelError, "cross_entropy: | label 3"),
    ("an index", lambda d: x().to(d)[5], RangeError, "index: | index 5 | length 2"),
]


@pytest.mark.parametrize(("call", "kind", "words"), [pytest.param(*m[1:], id=m[0]) for m in ON_KERNELS])
def test_a_mistake_is_told_where_kernels_run(
    kernels: str, call: Callable[[str], Any], kind: type[GpunnError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        call(kernels)
    missing = [word for word in words.split(" | ") if word not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
